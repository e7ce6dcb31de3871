// The addresses of a group's peer: given, or resolved from a name and asked for again when they are old. Addresses that
// were good once are better than none.

import DTLS
import Wire

/// What is known of where a client's associations go.
struct ForwardAddresses {
    private(set) var all: [Endpoint] = []
    /// Whether an answer is awaited.
    private(set) var isResolving = false
    /// Resolutions in a row that gave nothing.
    private(set) var failures = 0
    /// The name; nil where the address was given.
    let name: String?
    private var resolvedAt: Instant?

    init(_ target: ForwardTarget) {
        switch target {
        case .endpoint(let endpoint): (all, name) = ([endpoint], nil)
        case .name(let given): name = given
        }
    }

    /// Whether an attempt may begin without asking first.
    func isFresh(_ now: Instant) -> Bool {
        guard name != nil else { return true }
        return !all.isEmpty && (resolvedAt.map { now - $0 < .seconds(5) } ?? false)
    }

    /// Notes that the name is being resolved; false if it already was.
    mutating func ask() -> Bool {
        defer { isResolving = true }
        return !isResolving
    }

    /// Takes the answer, which may be empty.
    mutating func answer(_ resolved: [Endpoint], now: Instant) {
        isResolving = false
        guard !resolved.isEmpty else {
            failures += 1
            return
        }
        failures = 0
        all = resolved
        resolvedAt = now
    }
}
