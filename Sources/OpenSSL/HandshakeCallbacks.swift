// What libssl calls during a handshake. Each function finds the OpenSSLHandshake that owns the SSL and leaves there
// why it refuses; nothing may trap or throw across C.

internal import COpenSSL
internal import DTLS
internal import Wire

extension OpenSSLHandshake {
    /// SSL_CTX_set_cert_verify_callback: whether the peer's chain is believed.
    static let verifyCertificate: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Int32 = {
        store, _ in
        guard let store = unsafe store, let ssl = unsafe culvert_verifying_ssl(store),
            let handshake = unsafe owner(of: ssl)
        else { return 0 }
        let options = handshake.context.options
        handshake.fault = unsafe PeerVerification(trust: options.trust, pins: options.pins).fault(in: store)
        return handshake.fault == nil ? 1 : 0
    }

    /// SSL_CTX_set_psk_client_callback: the identity, NUL-terminated, and the key of this client.
    static let giveKey:
        @convention(c) (
            OpaquePointer?, UnsafePointer<CChar>?, UnsafeMutablePointer<CChar>?, UInt32, UnsafeMutablePointer<UInt8>?,
            UInt32
        ) -> UInt32 = { ssl, _, identity, identityRoom, key, keyRoom in
            guard let handshake = unsafe ssl.flatMap({ unsafe owner(of: $0) }), let identity = unsafe identity,
                let key = unsafe key, let preShared = handshake.context.options.preSharedKey
            else { return 0 }
            let name = Array(preShared.identity.utf8CString)
            guard name.count <= Int(identityRoom) else { return 0 }
            unsafe identity.update(from: name, count: name.count)
            return unsafe copy(preShared.key, to: key, room: keyRoom)
        }

    /// SSL_CTX_set_psk_server_callback: the key of a client's identity. An identity that is not known gets a random
    /// key, so that a stranger cannot find out which ones are.
    static let findKey:
        @convention(c) (OpaquePointer?, UnsafePointer<CChar>?, UnsafeMutablePointer<UInt8>?, UInt32) -> UInt32 = {
            ssl, identity, key, keyRoom in
            guard let handshake = unsafe ssl.flatMap({ unsafe owner(of: $0) }), let identity = unsafe identity,
                let key = unsafe key
            else { return 0 }
            let name = unsafe String(cString: identity)
            let known = handshake.context.options.preSharedKeys?[name]
            handshake.claimedIdentity = (name, known != nil)
            guard let secret = known?.key ?? (try? SecretBytes.random(count: PreSharedKey.recommendedLength)) else {
                return 0
            }
            return unsafe copy(secret, to: key, room: keyRoom)
        }

    /// SSL_CTX_set_tlsext_servername_callback: acknowledges a name that decides something.
    static let judgeName: culvert_name_judge = { ssl, _, _ in
        guard let ssl = unsafe ssl, let handshake = unsafe owner(of: ssl), let name = unsafe handshake.serverName(ssl),
            handshake.context.options.serverNames.contains(name)
        else { return SSL_TLSEXT_ERR_NOACK }
        return SSL_TLSEXT_ERR_OK
    }

    /// SSL_CTX_set_keylog_callback.
    static let logKeys: @convention(c) (OpaquePointer?, UnsafePointer<CChar>?) -> Void = { ssl, line in
        guard let handshake = unsafe ssl.flatMap({ unsafe owner(of: $0) }), let line = unsafe line else { return }
        unsafe handshake.context.options.keyLog?(String(cString: line))
    }

    /// The heartbeat extension of the peer's hello: exactly one byte, and a mode that exists (RFC 6520 §2).
    static let readHeartbeatMode: culvert_extension_reader = { ssl, _, _, data, length, _, _, alert, _ in
        guard let handshake = unsafe ssl.flatMap({ unsafe owner(of: $0) }), length == 1, let data = unsafe data,
            let mode = unsafe HeartbeatMode(rawValue: data.pointee)
        else {
            unsafe alert?.pointee = SSL_AD_ILLEGAL_PARAMETER
            return 0
        }
        handshake.peerHeartbeatMode = mode
        return 1
    }

    /// SSL_CTX_set_alpn_select_cb: takes this end's application protocol where the client offers it. It is not called
    /// for a client without the extension.
    static let selectProtocol:
        @convention(c) (
            OpaquePointer?, UnsafeMutablePointer<UnsafePointer<UInt8>?>?, UnsafeMutablePointer<UInt8>?,
            UnsafePointer<UInt8>?, UInt32, UnsafeMutableRawPointer?
        ) -> Int32 = { ssl, selected, selectedLength, offered, offeredLength, _ in
            guard let handshake = unsafe ssl.flatMap({ unsafe owner(of: $0) }) else {
                return SSL_TLSEXT_ERR_ALERT_FATAL
            }
            let own = handshake.context.protocolList
            var match: UnsafeMutablePointer<UInt8>?
            var length: UInt8 = 0
            // Points into the first of the two lists where they have something in common.
            let result = unsafe SSL_select_next_proto(
                &match, &length, offered, offeredLength, own, UInt32(own.count))
            guard result == OPENSSL_NPN_NEGOTIATED else {
                guard handshake.context.options.requiresApplicationProtocol else { return SSL_TLSEXT_ERR_NOACK }
                handshake.fault = handshake.missingProtocol
                // libssl makes no_application_protocol of it (RFC 7301 §3.2).
                return SSL_TLSEXT_ERR_ALERT_FATAL
            }
            unsafe selected?.pointee = unsafe UnsafePointer(match)
            unsafe selectedLength?.pointee = length
            return SSL_TLSEXT_ERR_OK
        }

    /// SSL_CTX_set_client_hello_cb: refuses a client without ALPN.
    static let requireProtocol:
        @convention(c) (OpaquePointer?, UnsafeMutablePointer<Int32>?, UnsafeMutableRawPointer?) -> Int32 = {
            ssl, alert, _ in
            guard
                unsafe SSL_client_hello_get0_ext(
                    ssl, UInt32(TLSEXT_TYPE_application_layer_protocol_negotiation), nil, nil) == 1
            else {
                let handshake = unsafe ssl.flatMap({ unsafe owner(of: $0) })
                handshake?.fault = handshake?.missingProtocol
                unsafe alert?.pointee = SSL_AD_NO_APPLICATION_PROTOCOL
                return SSL_CLIENT_HELLO_ERROR
            }
            return SSL_CLIENT_HELLO_SUCCESS
        }

    private var missingProtocol: HandshakeFailure {
        HandshakeFailure(
            .mismatch, .noApplicationProtocol,
            detail: "the peer does not offer the application protocol '\(context.options.applicationProtocol ?? "")'")
    }

    /// The handshake that an SSL belongs to; it outlives the SSL.
    private static func owner(of ssl: OpaquePointer) -> OpenSSLHandshake? {
        guard let owner = unsafe culvert_owner(ssl) else { return nil }
        return unsafe Unmanaged<OpenSSLHandshake>.fromOpaque(owner).takeUnretainedValue()
    }

    private static func copy(_ secret: SecretBytes, to target: UnsafeMutablePointer<UInt8>, room: UInt32) -> UInt32 {
        guard secret.count <= Int(room) else { return 0 }
        return unsafe secret.bytes.withUnsafeBufferPointer { bytes in
            guard let start = bytes.baseAddress else { return 0 }
            unsafe target.update(from: start, count: bytes.count)
            return UInt32(bytes.count)
        }
    }
}
