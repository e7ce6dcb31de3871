// Where log lines go: standard error or the journal's socket. Without a journal the lines of its form go to standard error,
// with the prefix that the journal, or whoever reads there, understands.

import LinuxIO
import Logging
import Synchronization

/// Writes lines, from any thread.
final class LogSink: Sendable {
    private let form: LogForm
    private let file: LineFile
    private let journal: JournalSocket?
    private let lost = Atomic<Int>(0)

    /// Lines go to `file`, and those of the journal's form to the socket at `journalPath` while there is one.
    init(_ form: LogForm, file: LineFile, journalPath: String) {
        self.form = form
        self.file = file
        journal = form == .journal ? JournalSocket(path: journalPath) : nil
    }

    /// Writes a line.
    func write(_ line: LogLine) {
        switch form {
        case .text: file.write(line.text)
        case .json: file.write(line.json)
        case .journal: send(line)
        }
    }

    private func send(_ line: LogLine) {
        switch journal?.send(line.journalEntry) {
        case .sent: tellLost()
        // Waiting would stop a worker, and standard error leads to the same journal.
        case .busy: lost.add(1, ordering: .relaxed)
        case .refused, nil: file.write(line.prioritized)
        }
    }

    private func tellLost() {
        guard lost.load(ordering: .relaxed) > 0 else { return }
        let count = lost.exchange(0, ordering: .relaxed)
        guard count > 0 else { return }
        let line = LogLine(
            level: .warning, tunnels: [], message: "the journal was too busy and has not taken \(count) log lines",
            fields: [:])
        if case .busy = journal?.send(line.journalEntry) { lost.add(count, ordering: .relaxed) }
    }
}
