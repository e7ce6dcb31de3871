// Who the two ends are: keys made for one run, believed by their pins.

import Glibc
import OpenSSL

/// What handshakes are done with.
struct CountingKeys {
    let client: HandshakeContext
    let server: HandshakeContext

    /// Makes keys; `isShared` offers shared mode.
    init(isShared: Bool) throws {
        let validity = Validity.days(2, from: Int64(time(nil)))
        let authority = try CertificateAuthority.create(
            commonName: "count", key: try PrivateKey.generate(.ecdsaP256), validity: validity)
        func credential(_ name: String) throws -> Credential {
            let key = try PrivateKey.generate(.ecdsaP256)
            let subject = try CertificateSubject(commonName: name, dnsNames: [name])
            return Credential(
                certificate: try authority.issue(to: subject, key: key, validity: validity), privateKey: key)
        }
        let (near, far) = (try credential("client"), try credential("count"))
        func options(_ own: Credential, peer: Credential) -> HandshakeContext.Options {
            var options = HandshakeContext.Options()
            options.credential = own
            options.pins = [peer.privateKey.pin]
            options.heartbeatMode = .peerAllowedToSend
            options.applicationProtocol = isShared ? "culvert/1" : nil
            return options
        }
        client = try HandshakeContext(.client, options(near, peer: far))
        server = try HandshakeContext(.server, options(far, peer: near))
    }
}
