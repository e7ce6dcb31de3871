// A `[[tunnel]]` section as checked values. What the keys mean, and where they apply, is in config/culvert.toml.

public import Settings
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
    /// Server: the name by which a client in dedicated mode asks for this tunnel among those on its address; nil for
    /// none.
    public var serverName: TransportAddress.Host?
    /// Whether flows share an association.
    public var sharing = SharingPolicy.auto
    /// In shared mode, the name of what is asked for or answered to; by default the tunnel's own.
    public var service: String
    /// Client: when the association that flows share is established.
    public var connect = ConnectPolicy.start
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
    /// Who may talk: at a server by source address, and in both roles by proven identity among all that `trust` believes.
    public var access = AccessList()
    /// Bounds and timeouts.
    public var limits = TunnelLimits()
    /// What happens to a datagram that is too large for one packet of the path.
    public var oversize = OversizePolicy.fragment
    /// Client: the waits between attempts.
    public var reconnect = ReconnectPolicy()
    /// How the peer's life is watched.
    public var heartbeat = HeartbeatSettings()
    /// How the path MTU is found.
    public var mtu = PathMTUSettings()

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
