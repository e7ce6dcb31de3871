// The terminal that a program runs in: its size, and a screen of the program's own for as long as a TerminalScreen lives.
// However that ends, short of SIGKILL, the terminal is left as it was found; signals have to be a SignalSource's for that.

internal import CLinux
internal import Glibc

/// What there is to know about terminals.
public enum Terminal {
    /// Whether a descriptor is a terminal's: 0 for standard input, 1 for standard output.
    public static func isTerminal(_ descriptor: CInt) -> Bool { isatty(descriptor) == 1 }

    /// How many characters a terminal shows in a row, and how many rows; nil where it does not say.
    public static func size(of descriptor: CInt) -> (columns: Int, rows: Int)? {
        var columns: UInt16 = 0
        var rows: UInt16 = 0
        guard unsafe culvert_terminal_size(descriptor, &columns, &rows) == 0, columns > 0, rows > 0 else { return nil }
        return (Int(columns), Int(rows))
    }
}

/// The terminal's second screen, without a cursor, and its keys as they are pressed, unseen. What was on the first screen comes
/// back with `restore`, or when the object goes.
public final class TerminalScreen {
    /// The keyboard's descriptor, for a `Poller`.
    public let descriptor: CInt = 0

    private let found: termios
    private var isRestored = false

    private static let enter = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l"
    private static let leave = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l"

    /// Takes over the terminal at standard input and output.
    ///
    /// Ctrl-C is a key then, and raises no signal.
    public init() throws(SystemError) {
        var settings = termios()
        guard unsafe tcgetattr(0, &settings) == 0 else { throw .last("tcgetattr") }
        found = settings
        settings.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG | IEXTEN)
        settings.c_iflag &= ~tcflag_t(IXON | ICRNL)
        guard unsafe tcsetattr(0, TCSADRAIN, &settings) == 0 else { throw .last("tcsetattr") }
        write(Self.enter)
    }

    deinit { restore() }

    /// Gives the terminal back as it was found; only the first call does something.
    public func restore() {
        guard !isRestored else { return }
        isRestored = true
        write(Self.leave)
        var settings = found
        _ = unsafe tcsetattr(0, TCSADRAIN, &settings)
    }

    /// Writes text and control sequences as they are.
    ///
    /// - Returns: whether there still is a terminal to write to.
    @discardableResult
    public func write(_ text: String) -> Bool { LineFile.standardOutput.write(bytes: Array(text.utf8)) }

    /// What was typed and not yet read; waits for it if need be. Nil when there is no terminal any more.
    public func read() -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 256)
        while true {
            let count = unsafe bytes.withUnsafeMutableBytes { unsafe Glibc.read(0, $0.baseAddress, $0.count) }
            if count > 0 { return Array(bytes.prefix(count)) }
            guard count < 0, errno == EINTR || errno == EAGAIN else { return nil }
            if errno == EAGAIN { return [] }
        }
    }
}
