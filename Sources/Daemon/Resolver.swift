// Names are resolved on separate threads, because the system's resolver blocks, for tens of seconds if its servers are
// gone, and the data path never waits.

import Configuration
import LinuxIO
import Synchronization
import Wire

/// Resolves names without blocking its callers.
final class Resolver: Sendable {
    typealias Answer = @Sendable (Result<[Endpoint], ResolutionError>) -> Void

    /// Who waits for which name: a name that is already being looked up is not looked up twice.
    private let waiting = Mutex<[TransportAddress: [Answer]]>([:])

    /// Looks up the host of `address`; `answer` is called once, from another thread.
    func resolve(_ address: TransportAddress, _ answer: @escaping Answer) {
        guard case .name(let host) = address.host else { return }
        let isFirst = waiting.withLock { waiting in
            waiting[address, default: []].append(answer)
            return waiting[address]?.count == 1
        }
        guard isFirst else { return }
        let thread = try? NativeThread.start(name: "resolver") { [self] in
            finish(
                address,
                Result { () throws(ResolutionError) in
                    try NameResolver.addresses(of: host, port: address.port)
                })
        }
        guard thread == nil else { return }
        finish(address, .failure(ResolutionError(host: host, reason: "no thread to be had")))
    }

    private func finish(_ address: TransportAddress, _ result: Result<[Endpoint], ResolutionError>) {
        let answers = waiting.withLock { $0.removeValue(forKey: address) ?? [] }
        for answer in answers { answer(result) }
    }
}
