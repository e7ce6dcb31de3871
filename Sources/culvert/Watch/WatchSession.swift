// The live screen as it runs: asks the daemon each second on a separate thread, so that keys work even if the daemon
// does not answer, and gives the terminal back however it ends.

import ArgumentParser
import Control
import FoundationEssentials
import LinuxIO
import Synchronization

/// `culvert status --watch`.
struct WatchSession {
    private let client: ControlClient
    private let poller: Poller
    private let signals: SignalSource
    private let bell: Wakeup
    /// What has been heard from the daemon and not yet been dealt with.
    private let news = News()

    private static let interval = 1.0
    private static let signalToken: UInt64 = 1
    private static let keyToken: UInt64 = 2
    private static let bellToken: UInt64 = 3

    /// Prepares to watch the daemon. It must be made before the process has threads, which would receive the signals.
    init(_ client: ControlClient) throws(SystemError) {
        self.client = client
        signals = try SignalSource([.terminate, .interrupt, .hangUp, .windowChange])
        poller = try Poller(capacity: 4)
        bell = try Wakeup()
    }

    /// Shows the screen until it is ended by a key, or by a signal, whose exit code it throws then.
    func run(_ first: WatchScreen.Sample, _ style: TextStyle) throws {
        let terminal = try TerminalScreen()
        defer { terminal.restore() }
        try poller.add(signals.descriptor, token: Self.signalToken)
        try poller.add(terminal.descriptor, token: Self.keyToken)
        try poller.add(bell.descriptor, token: Self.bellToken)
        _ = try NativeThread.start(name: "watch") { [client, news, bell] in
            while true {
                Pause.seconds(Self.interval)
                news.put(Self.look(client))
                bell.signal()
            }
        }
        var screen = WatchScreen()
        screen.add(first)
        try loop(&screen, terminal, style)
    }

    private func loop(_ screen: inout WatchScreen, _ terminal: TerminalScreen, _ style: TextStyle) throws {
        var decoder = KeyDecoder()
        while true {
            let size = Self.size
            let lines = screen.lines(size, style, at: Self.seconds).map { line in
                // What is behind the end of a line is cleared, so that nothing flickers. In the last column that would be the
                // line's own end.
                line.text(style) + (line.columns < size.columns ? "\u{1b}[K" : "")
            }
            guard terminal.write("\u{1b}[H" + lines.joined(separator: "\r\n")) else { return }
            var ready: Set<UInt64> = []
            try poller.wait(nanoseconds: Int64(Self.interval * 1e9)) { ready.insert($0) }
            if ready.contains(Self.signalToken) {
                while let signal = signals.next() {
                    if signal != .windowChange { throw ExitCode(128 + signal.number) }
                }
            }
            if ready.contains(Self.keyToken) {
                guard let bytes = terminal.read() else { return }
                for key in decoder.keys(bytes) {
                    guard screen.press(key, size, style) else { return }
                }
            }
            if ready.contains(Self.bellToken) {
                bell.drain()
                switch news.take() {
                case .success(let sample): screen.add(sample)
                case .failure(let error): screen.lose(Self.words(for: error))
                case nil: break
                }
            }
        }
    }

    /// Asks the daemon everything that the screen shows.
    static func look(_ client: ControlClient) -> Result<WatchScreen.Sample, ControlClientError> {
        do throws(ControlClientError) {
            return .success(
                WatchScreen.Sample(
                    status: try client.status(), tunnels: try client.tunnels(),
                    associations: try client.associations(PageQuery(limit: WatchScreen.longestList)), date: Date(),
                    seconds: seconds))
        } catch {
            return .failure(error)
        }
    }

    private static var seconds: Double { Double(MonotonicClock.now) / 1e9 }

    private static var size: WatchScreen.Size {
        let size = Terminal.size(of: 1) ?? (80, 24)
        return WatchScreen.Size(columns: size.columns, rows: size.rows)
    }

    private static func words(for error: ControlClientError) -> String {
        switch error {
        case .unreachable(_, let reason), .badResponse(_, let reason): reason
        case .notPermitted: "not permitted"
        case .timedOut: "timed out"
        case .refused(let problem): problem.detail
        }
    }

    /// From the thread that asks to the one that shows, which a slow terminal may hold up: only the newest is kept.
    private final class News: Sendable {
        private let newest = Mutex<Result<WatchScreen.Sample, ControlClientError>?>(nil)

        func put(_ one: Result<WatchScreen.Sample, ControlClientError>) { newest.withLock { $0 = one } }

        func take() -> Result<WatchScreen.Sample, ControlClientError>? { newest.withLock { $0.take() } }
    }
}
