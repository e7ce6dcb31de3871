// The keys of one epoch as bytes, as they come out of the key schedule and as another process may take them over.

/// The keys of both directions, as one end has them. A secret; its bytes are erased when the last copy goes.
public struct RecordKeys: Sendable {
    /// Where one direction's keys stand in the key block.
    struct Direction {
        /// The AEAD's key.
        var key: Range<Int>
        /// The fixed part of its nonce.
        var nonce: Range<Int>
    }

    let algorithm: AEADAlgorithm
    /// Client's key, server's key, client's fixed nonce, server's fixed nonce (RFC 5246 §6.3).
    let block: SecretBytes
    /// Whether this end is the server.
    let isServer: Bool

    /// Takes a key block of the algorithm's length.
    init(_ algorithm: AEADAlgorithm, block: SecretBytes, isServer: Bool) {
        self.algorithm = algorithm
        self.block = block
        self.isServer = isServer
    }

    /// What this end seals with.
    var sealing: Direction { direction(isServer: isServer) }

    /// What this end opens with.
    var opening: Direction { direction(isServer: !isServer) }

    private func direction(isServer: Bool) -> Direction {
        let (key, nonce) = (algorithm.keyLength, algorithm.fixedNonceLength)
        let keyStart = isServer ? key : 0
        let nonceStart = 2 * key + (isServer ? nonce : 0)
        return Direction(key: keyStart..<keyStart + key, nonce: nonceStart..<nonceStart + nonce)
    }
}
