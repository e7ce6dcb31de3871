// What is wrong with a file of keys, certificates or the like: who, why and what to do, as a value, so
// that `culvert check` can show all of them and the daemon can log one line. Never holds key material.

/// One thing wrong, or soon to be wrong, with a credential file.
public struct CredentialProblem: Error, Hashable, Sendable, CustomStringConvertible {
    /// Whether the credential can be used in spite of it.
    public enum Severity: Hashable, Sendable {
        /// It cannot, or must not, be used.
        case error
        /// It can; somebody should look at it.
        case warning
    }

    /// The kinds of problem, for programs and tests.
    public enum Kind: Hashable, Sendable {
        /// There is no such file, or no file in such a directory.
        case missing
        /// The file exists and cannot be read.
        case unreadable
        /// The file could not be written.
        case unwritable
        /// A file that must not be overwritten is there already.
        case exists
        /// The content is not what it should be.
        case malformed
        /// A private key that wants a passphrase.
        case encrypted
        /// Others may read or change a secret.
        case exposed
        /// Its time is over.
        case expired
        /// Its time has not come.
        case notYetValid
        /// Its time is over soon.
        case expiresSoon
        /// Two files that do not belong together.
        case mismatched
        /// A key, hash or pre-shared key too weak to be accepted.
        case weak
        /// A certificate that may not be used for what it is used for.
        case unsuitable
        /// An identity that is not there.
        case unknownIdentity
        /// An identity that is there more than once.
        case duplicate
    }

    /// Whether it can be lived with.
    public let severity: Severity
    /// What kind it is.
    public let kind: Kind
    /// The file or directory, as it was named.
    public let path: String
    /// The line in the file, from 1, where that means something.
    public let line: Int?
    /// What is wrong, as in "is readable by everyone".
    public let reason: String
    /// What to do about it, as in "chmod 640 /etc/culvert/node.key".
    public let advice: String

    /// Makes a problem; an error unless said otherwise.
    public init(
        _ kind: Kind, _ severity: Severity = .error, path: String, line: Int? = nil, _ reason: String, advice: String
    ) {
        self.severity = severity
        self.kind = kind
        self.path = path
        self.line = line
        self.reason = reason
        self.advice = advice
    }

    /// One line: where, what is wrong, what to do.
    public var description: String {
        let place = line.map { "\(path):\($0)" } ?? path
        return "\(place): \(reason); \(advice)"
    }
}

/// What loading gave: a value if one could be made, and everything that is wrong with it.
///
/// A value with errors beside it (an expired certificate, say) is there so that more can be said about it;
/// whoever uses it has to look at `hasErrors` first.
public struct Loaded<Value: Sendable>: Sendable {
    /// The value, or nil when the files did not yield one; then there is at least one error.
    public let value: Value?
    /// Everything wrong, in the order it was found.
    public let problems: [CredentialProblem]

    /// Whether any of the problems is an error.
    public var hasErrors: Bool { problems.contains { $0.severity == .error } }

    init(_ value: Value?, _ problems: [CredentialProblem] = []) {
        self.value = value
        self.problems = problems
    }
}
