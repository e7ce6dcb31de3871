// Why a peer has no association.

/// What keeps a peer out, by the name of the setting.
public enum AccessDenial: String, Sendable {
    /// Its address is in none of the prefixes.
    case source = "allow_from"
    /// Its identity fits none of the rules.
    case identity = "allow_peers"
}
