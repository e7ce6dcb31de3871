// CPU time of a process with all its threads and children, in nanoseconds, from the scheduler's own statistics
// (`/proc/PID/task/*/schedstat`): exact where the clock ticks of `/proc/PID/stat` are not.

import FoundationEssentials

/// CPU time in nanoseconds that the processes and their descendants have used so far. What cannot be read, because it
/// has ended meanwhile, counts as nothing.
func cpuTime(of pids: [Int32]) -> Int {
    var total = 0
    var waiting = pids
    var seen: Set<Int32> = []
    while let pid = waiting.popLast() {
        guard seen.insert(pid).inserted else { continue }
        let tasks = "/proc/\(pid)/task"
        for task in (try? FileManager.default.contentsOfDirectory(atPath: tasks)) ?? [] {
            total += words("\(tasks)/\(task)/schedstat").first.flatMap { Int($0) } ?? 0
            waiting += words("\(tasks)/\(task)/children").compactMap { Int32($0) }
        }
    }
    return total
}

private func words(_ path: String) -> [Substring] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return [] }
    return text.split { $0.isWhitespace }
}
