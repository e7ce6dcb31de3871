// A `[[tunnel]]` section as checked values. What the keys mean and where they apply stands in config/culvert.toml.

public import Wire

/// One tunnel.
public struct TunnelSettings: Equatable, Sendable {
    /// Which side of DTLS this end is.
    public enum Role: String, Sendable {
        /// Plaintext comes in, DTLS goes out.
        case client
        /// DTLS comes in, plaintext goes out.
        case server
    }

    /// What happens to a datagram that is too large for one packet of the path.
    public enum Oversize: String, CaseIterable, Sendable {
        /// IP fragments it.
        case fragment
        /// It is dropped and counted.
        case drop
    }

    /// Whether flows share an association, which takes culvert at both ends.
    public enum Sharing: String, CaseIterable, Sendable {
        /// Where the peer can.
        case auto
        /// Always; a peer that cannot is refused.
        case always
        /// Never.
        case never
    }

    /// When a client establishes the association that flows share.
    public enum Connect: String, CaseIterable, Sendable {
        /// When the daemon starts.
        case start
        /// With the first datagram.
        case firstDatagram = "first-datagram"
    }

    /// How long to wait between attempts to reach a server: doubling from `minimum` to `maximum`.
    public struct Reconnect: Equatable, Sendable {
        /// The wait after the first failure.
        public var minimum: Duration = .seconds(1)
        /// The longest wait.
        public var maximum: Duration = .seconds(60)

        /// The defaults.
        public init() {}
    }

    /// How the peer's life is watched (RFC 6520).
    public struct Heartbeat: Equatable, Sendable {
        /// How long the peer may be silent before it is asked.
        public var interval: Duration = .seconds(10)
        /// How long one request may stay unanswered.
        public var timeout: Duration = .seconds(2)
        /// How many requests follow an unanswered one before the peer is given up.
        public var retries = 6
        /// Whether the peer's requests are answered.
        public var answer = true

        /// The defaults.
        public init() {}
    }

    /// How the size of packets that the path carries is found (RFC 8899). Sizes are those of IP packets.
    public struct MTU: Equatable, Sendable {
        /// Whether the path is probed.
        public var discover = true
        /// What is assumed to get through where nothing larger does.
        public var minimum = 576
        /// The largest size that is tried.
        public var maximum = 1500
        /// How long after a search the next one looks for more.
        public var interval: Duration = .seconds(600)

        /// The defaults.
        public init() {}
    }

    /// The name and where it was given.
    public var locatedName: Located<String>
    /// Which side of DTLS this end is.
    public var role: Role
    /// Where this end receives: plaintext as a client, DTLS as a server.
    public var listen: Located<Endpoint>
    /// Where the datagrams go: DTLS as a client, plaintext as a server.
    public var forward: Located<TransportAddress>
    /// Who this end is; nil for a client that shows nothing, and for a server with pre-shared keys only.
    public var identity: IdentitySettings?
    /// Whom this end believes; nil for a client whose pre-shared key says it all, and for a server that asks nobody.
    public var trust: TrustSettings?
    /// Client: what the server's certificate must say, and the SNI when it is a name. By default the host of `forward`.
    /// Server: the name by which a client without shared mode asks for this tunnel among those on its address; nil for none.
    public var serverName: TransportAddress.Host?
    /// Whether flows share an association.
    public var sharing = Sharing.auto
    /// In shared mode, the name of what is asked for or answered to; by default the tunnel's own.
    public var service: String
    /// Client: when the association that flows share is established.
    public var connect = Connect.start
    /// From which severity on the tunnel's lines are logged; nil for the daemon's.
    public var logLevel: DaemonSettings.LogLevel?
    /// Server: whether a first ClientHello is answered with a cookie before anything is kept about it.
    public var cookieExchange = true
    /// Server: whether a peer without a certificate is refused. It does not concern peers with a pre-shared key.
    public var requireClientCertificate = true
    /// Whether a peer without the extended master secret (RFC 7627) is refused.
    public var requireExtendedMasterSecret = true
    /// OpenSSL names of cipher suites, the preferred first.
    public var ciphers = CipherSuites.standard
    /// Server: source addresses that may talk; empty for all.
    public var allowFrom: [IPPrefix] = []
    /// Proven identities that may talk, in both roles; empty for all that `trust` believes.
    public var allowPeers: [PeerPattern] = []
    /// How long a flow lives without a datagram in either direction.
    public var flowTimeout: Duration = .seconds(300)
    /// The most flows at a time.
    public var maxFlows = 16384
    /// The most associations at a time.
    public var maxAssociations = 16384
    /// Server: the most handshakes in progress at a time.
    public var maxHandshakes = 1024
    /// What happens to a datagram that is too large for one packet of the path.
    public var oversize = Oversize.fragment
    /// Client: the waits between attempts.
    public var reconnect = Reconnect()
    /// How the peer's life is watched.
    public var heartbeat = Heartbeat()
    /// How the path MTU is found.
    public var mtu = MTU()

    /// The name: 1 to 63 of `A-Z a-z 0-9 . _ -`, unique.
    public var name: String { locatedName.value }

    /// Makes a tunnel with defaults.
    public init(
        name: Located<String>, role: Role, listen: Located<Endpoint>,
        forward: Located<TransportAddress>, identity: IdentitySettings?, trust: TrustSettings?
    ) {
        self.locatedName = name
        service = name.value
        self.role = role
        self.listen = listen
        self.forward = forward
        self.identity = identity
        self.trust = trust
        if role == .client { serverName = forward.value.host }
    }
}
