// Which OpenSSL the process runs with; not necessarily the one that it was built with.

internal import COpenSSL

/// The version of OpenSSL.
public enum OpenSSLVersion {
    /// As in `OpenSSL 3.0.19 27 Jan 2026`.
    public static var text: String {
        guard let text = unsafe OpenSSL_version(OPENSSL_VERSION) else { return "OpenSSL" }
        return unsafe String(cString: text)
    }
}
