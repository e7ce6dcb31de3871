// The transcripts in the documents, run as they stand there against a daemon whose day they show.

import Foundation
import TestSupport
import Testing

/// A fenced block of commands and what they say.
struct Transcript {
    /// A command line, and the lines that follow it.
    struct Step {
        var command: String
        var expected: [String] = []
    }

    var steps: [Step] = []

    /// The `console` blocks of a document.
    static func all(in text: String) -> [Transcript] {
        var transcripts: [Transcript] = []
        var isInside = false
        for line in text.components(separatedBy: "\n") {
            switch (isInside, line) {
            case (false, "```console"):
                isInside = true
                transcripts.append(Transcript())
            case (true, "```"): isInside = false
            case (true, _):
                if line.hasPrefix("$ ") {
                    transcripts[transcripts.count - 1].steps.append(Step(command: String(line.dropFirst(2))))
                } else if let last = transcripts[transcripts.count - 1].steps.indices.last {
                    transcripts[transcripts.count - 1].steps[last].expected.append(line)
                }
            case (false, _): break
            }
        }
        return transcripts
    }

    /// Whether lines are what a document shows, where a line of nothing but `…` stands for any number of lines.
    static func matches(_ lines: ArraySlice<String>, _ shown: ArraySlice<String>) -> Bool {
        guard let first = shown.first else { return lines.isEmpty }
        if first == "…" {
            return (lines.startIndex...lines.endIndex).contains { matches(lines[$0...], shown.dropFirst()) }
        }
        guard let line = lines.first else { return false }
        return matches(line, first) && matches(lines.dropFirst(), shown.dropFirst())
    }

    /// Whether `line` is what a document shows, where `…` stands for anything.
    static func matches(_ line: String, _ shown: String) -> Bool {
        if line == shown { return true }
        let parts = shown.components(separatedBy: "…")
        guard parts.count > 1, line.hasPrefix(parts[0]), line.hasSuffix(parts[parts.count - 1]) else { return false }
        var rest = line.dropFirst(parts[0].count)
        guard rest.count >= parts[parts.count - 1].count else { return false }
        rest = rest.dropLast(parts[parts.count - 1].count)
        for part in parts.dropFirst().dropLast() {
            guard let found = part.isEmpty ? rest.startIndex..<rest.startIndex : rest.range(of: part) else {
                return false
            }
            rest = rest[found.upperBound...]
        }
        return true
    }
}

@Suite struct TranscriptTests {
    private static let documents = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    @Test(
        .enabled(if: Program.isInstalled("curl"), "needs curl"), arguments: ["docs/OPERATIONS.md", "README.md"])
    func `the commands in the documents say what is written there`(document: String) async throws {
        let text = try String(contentsOf: Self.documents.appendingPathComponent(document), encoding: .utf8)
        let transcripts = Transcript.all(in: text)
        try #require(!transcripts.isEmpty)
        for transcript in transcripts {
            let daemon = try FakeDaemon()
            daemon.facts.withLock { facts in
                facts.reload.applied = ["tunnel 'syslog': allow_from changed"]
                facts.reload.unchanged = ["radius", "coap"]
                facts.reload.needsRestart = ["workers changed; restart the daemon to apply it"]
            }
            // One shell, so that each command sees how the one before it has ended.
            let mark = "end of \(UUID().uuidString)"
            var script = "export PATH=\(Self.directoryOfPrograms):$PATH\n"
            for step in transcript.steps {
                let command = step.command.replacingOccurrences(of: "/run/culvert/control.sock", with: daemon.socket)
                script += "\(command)\n{ code=$?; echo '\(mark)'; (exit $code); }\n"
            }
            let shell = try Program(
                ["/bin/bash", "-c", script],
                environment: ["CULVERT_SOCKET": daemon.socket, "COLUMNS": "80", "LC_ALL": "C.UTF-8"])
            shell.closeInput()
            try await shell.expectExit()
            let answers = shell.said.components(separatedBy: mark + "\n")
            try #require(answers.count == transcript.steps.count + 1, "\(shell)")
            for (step, answer) in zip(transcript.steps, answers) {
                let lines = answer.split(separator: "\n", omittingEmptySubsequences: false).map(String.init).dropLast()
                #expect(
                    Transcript.matches(lines, step.expected[...]),
                    "\(document): $ \(step.command)\nsays\n\(answer)\nand not\n\(step.expected.joined(separator: "\n"))"
                )
            }
        }
    }

    private static var directoryOfPrograms: String {
        URL(fileURLWithPath: Program.built("culvert")).deletingLastPathComponent().path
    }

    @Test func `a line matches what is shown only where it says the same`() {
        #expect(Transcript.matches("abc", "abc") && Transcript.matches("abc", "a…") && Transcript.matches("abc", "…"))
        #expect(Transcript.matches("a1b22c", "a…b…c") && Transcript.matches("a", "a…"))
        #expect(
            !Transcript.matches("abc", "ab") && !Transcript.matches("abc", "b…") && !Transcript.matches("a1c", "a…b…c"))
        #expect(!Transcript.matches("ab", "ab…b"))
        #expect(Transcript.matches(["a", "b", "c"], ["…", "b", "…"]) && Transcript.matches(["b"], ["…", "b", "…"]))
        #expect(!Transcript.matches(["a", "b", "c"], ["…", "b"]) && !Transcript.matches(["a"], ["a", "b"]))
    }
}
