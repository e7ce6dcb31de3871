// What a tunnel has done in all and what state it is in, in one pass over the group's links and one over its flows. A
// status of fifty thousand associations must not hold up their datagrams, so little more is looked at than what goes
// into the sums.

import ContainersPreview
public import DTLS

/// One tunnel of a group on one worker.
public struct MemberTally: Sendable {
    /// What it has carried and dropped in all. Drops of an association that tunnels share count for the first of them.
    public var counters: TunnelCounters
    /// Why, and since when, the peer refuses its service; nil if it does not.
    public var refusal: ServiceRefusal?
    /// Client: what is wrong, from the first failure until it works. Server: why the last peer that called was not served.
    public var problem: TunnelProblem?
    /// How many associations it has, or shares, in each state.
    public var states: [AssociationSnapshot.State: Int] = [:]
    /// How many flows it has.
    public var flows = 0
    /// Whether it has an association that is shared.
    public var isShared = false
    /// Heartbeats that its associations have sent without an answer.
    public var heartbeatsLost: UInt64 = 0
    /// How many of its associations are established.
    public var peers = 0
    /// Their cipher suites.
    public var ciphers: [String] = []
    /// Who their peers are: the first ``identityLimit`` of them.
    public var identities: [PeerIdentity] = []

    /// The most peers that are told by name; no fewer than the control API names, or its list would pass for a whole one.
    public static var identityLimit: Int { 8 }

    init(counters: TunnelCounters, refusal: ServiceRefusal? = nil, problem: TunnelProblem? = nil) {
        self.counters = counters
        self.refusal = refusal
        self.problem = problem
    }

    /// Takes a link into account, except for what it has carried.
    mutating func add<Engine>(_ link: borrowing Link<Engine>, isShared: Bool) {
        states[link.state, default: 0] += 1
        if isShared { self.isShared = true }
        heartbeatsLost &+= link.keys.current.read { $0.value.heartbeat?.lost ?? 0 } ?? 0
        guard link.state == .established, let description = link.keys.description else { return }
        peers += 1
        if !ciphers.contains(description.cipherSuite) { ciphers.append(description.cipherSuite) }
        if identities.count < Self.identityLimit, !identities.contains(description.peer) {
            identities.append(description.peer)
        }
    }
}
