// What an administrator has to be told about a tunnel without asking.

import Control
import FoundationEssentials

/// What is wrong with a tunnel, or soon will be, in sentences.
struct TunnelWarnings {
    /// A sentence and how grave it is.
    struct Warning: Equatable {
        var text: String
        var ink: Ink
    }

    /// How long before it expires a certificate is mentioned; as in docs/alerts.yml.
    static let certificateNotice: Double = 21 * 86_400

    let list: [Warning]

    /// Looks at one tunnel. `drops` are those of each reason in the last `seconds`.
    init(
        _ summary: DaemonStatus.Summary, _ tunnel: TunnelStatus?, drops: [String: UInt64] = [:], in seconds: Double = 1,
        now: Date
    ) {
        var list: [Warning] = []
        if let problem = Self.problem(summary, tunnel, now: now) {
            let isDown = summary.state == .down
            let isBad = isDown || tunnel?.serviceRefused != nil
            list.append(
                Warning(text: (isDown ? "nothing passes: " : "") + problem, ink: isBad ? .bad : .warning))
        }
        if let certificate = tunnel?.certificate, let warning = Self.warning(of: certificate, now: now) {
            list.append(warning)
        }
        let dropped = drops.total
        if dropped > 0, seconds > 0, let most = drops.max(by: { ($0.value, $1.key) < ($1.value, $0.key) }) {
            let reason = drops.count > 1 ? "mostly \(most.key)" : most.key
            list.append(
                Warning(text: "dropping \(Figures.rate(Double(dropped) / seconds))/s now: \(reason)", ink: .warning))
        }
        self.list = list
    }

    /// Why datagrams do not pass, if anything is wrong. What the daemon itself says about a refused service is less.
    private static func problem(
        _ summary: DaemonStatus.Summary, _ tunnel: TunnelStatus?, now: Date
    ) -> String? {
        guard let tunnel, let refusal = tunnel.serviceRefused else {
            return summary.problem ?? (summary.state == .down ? "no association is established" : nil)
        }
        let time = Figures.duration(now.timeIntervalSince(refusal.since))
        return "the peer has refused the service '\(tunnel.service)' for \(time): \(refusal.message)"
    }

    private static func warning(of certificate: CertificateStatus, now: Date) -> Warning? {
        let left = certificate.notAfter.timeIntervalSince(now)
        let day = Figures.day(certificate.notAfter)
        if left <= 0 {
            return Warning(text: "the certificate \(certificate.subject) has expired on \(day)", ink: .bad)
        }
        guard left < certificateNotice else { return nil }
        let days = Int(left / 86_400)
        let soon = days == 0 ? "in less than a day" : "in \(Figures.number(days, "day"))"
        return Warning(text: "the certificate \(certificate.subject) expires \(soon), on \(day)", ink: .warning)
    }

    /// By how much each reason's count has grown from one look to the next.
    static func growth(of new: [String: UInt64], since old: [String: UInt64]) -> [String: UInt64] {
        var growth: [String: UInt64] = [:]
        for (reason, count) in new {
            // A daemon that was restarted counts from nothing.
            let before = old[reason] ?? 0
            if count > before { growth[reason] = count - before }
        }
        return growth
    }
}
