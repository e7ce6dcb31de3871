// The stateless cookie exchange (RFC 6347 §4.2.1). A client has to repeat what was sent to its address before anything
// is remembered about it. The cookie is an HMAC over the address, the port and the hello's version, random and
// session_id; the key behind it is another one in each period of time, and the one before it stays valid for a
// period longer. Workers with the same keys take each other's cookies: a listener that is added can change which of
// them a client's datagrams come to.

public import Wire

/// Answers first ClientHellos and recognises the ones that bring a valid cookie back.
public struct CookieExchange {
    /// What to do with a datagram that begins with a ClientHello.
    public enum Decision {
        /// The client has proven its address. The tag is the same for each repetition of this hello, and another for
        /// every other one.
        case proceed(AuthenticationTag)
        /// A HelloVerifyRequest of this many bytes stands in the reply buffer.
        case reply(Int)
        /// Nothing is to be sent.
        case drop(DropReason)
    }

    /// Bytes that the reply buffer must have.
    public static var replySize: Int { HelloVerifyRequest.size(cookieLength: AuthenticationTag.size) }
    /// How long a key makes new cookies; it accepts them for as long again.
    public static var keyLifetime: Duration { .seconds(60) }

    private let isRequired: Bool
    private let makeKey: (_ period: Int64) -> (any MessageAuthentication)?
    private var current: any MessageAuthentication
    private var previous: (any MessageAuthentication)?
    private var period: Int64

    /// The number of the period that `now` is in.
    public static func period(at now: Instant) -> Int64 { now.nanoseconds / keyLifetime.nanoseconds }

    /// Begins with `firstKey`, which is that of the period of `now`, and goes on with the keys that `makeKey` gives for
    /// later periods; if it gives none, a key serves longer. Where `isRequired` is false, every complete first hello may
    /// proceed at once.
    public init(
        isRequired: Bool, firstKey: any MessageAuthentication, now: Instant,
        makeKey: @escaping (_ period: Int64) -> (any MessageAuthentication)?
    ) {
        self.isRequired = isRequired
        self.makeKey = makeKey
        current = firstKey
        period = Self.period(at: now)
    }

    /// Decides about a datagram that begins with a ClientHello.
    public mutating func handle(
        _ datagram: borrowing RawSpan, from source: Endpoint, now: Instant, reply: inout MutableRawSpan
    ) -> Decision {
        let hello: ClientHello
        do {
            hello = try ClientHello(datagram)
        } catch .laterFragment {
            return .drop(.noAssociation)
        } catch {
            return .drop(.malformed)
        }
        rotate(now)
        let tag = tag(hello, in: datagram, from: source, under: current)
        guard isRequired else {
            return hello.messageSequence == 0 ? .proceed(tag) : .drop(.cookie)
        }
        // Only message 1 can bring a cookie: DTLSv1_listen would take one at 0 too, and then wait for ever. One that is
        // not valid is not answered with another HelloVerifyRequest, as RFC 6347 §4.2.1 would have it: the client would
        // take it for a repetition of message 0, or answer with message 2, which OpenSSL's server does not go on from.
        if hello.messageSequence == 1, hello.cookie.count == AuthenticationTag.size {
            if tag.matches(datagram, at: hello.cookie.lowerBound) { return .proceed(tag) }
            if let previous {
                let old = self.tag(hello, in: datagram, from: source, under: previous)
                if old.matches(datagram, at: hello.cookie.lowerBound) { return .proceed(old) }
            }
            return .drop(.cookie)
        }
        guard hello.messageSequence == 0 else { return .drop(.cookie) }
        guard
            let length = tag.withBytes({ cookie in
                HelloVerifyRequest.write(cookie: cookie, answering: hello.recordNumber, into: &reply)
            })
        else { return .drop(.malformed) }
        return .reply(length)
    }

    private mutating func rotate(_ now: Instant) {
        let period = Self.period(at: now)
        guard period != self.period, let fresh = makeKey(period) else { return }
        previous = period == self.period + 1 ? current : makeKey(period - 1)
        current = fresh
        self.period = period
    }

    private func tag(
        _ hello: ClientHello, in datagram: borrowing RawSpan, from source: Endpoint,
        under key: any MessageAuthentication
    ) -> AuthenticationTag {
        // Address 16, port 2, version 2, random 32, session_id 1 and at most 32: 85 bytes.
        withScratch(byteCount: 18 + hello.parameters.count) { input in
            input.write(source.address.high, at: 0)
            input.write(source.address.low, at: 8)
            input.write(source.port, at: 16)
            input.write(datagram.extracting(hello.parameters), at: 18)
            return key.tag(input.bytes)
        }
    }
}

extension AuthenticationTag {
    /// Whether the same bytes stand at `offset`.
    func matches(_ bytes: borrowing RawSpan, at offset: Int) -> Bool {
        guard let first = bytes.uint64(at: offset), let second = bytes.uint64(at: offset + 8),
            let third = bytes.uint64(at: offset + 16), let fourth = bytes.uint64(at: offset + 24)
        else { return false }
        return self == AuthenticationTag(words: [first, second, third, fourth])
    }

    /// Lends the tag's 32 bytes.
    func withBytes<Result>(_ body: (borrowing RawSpan) -> Result) -> Result {
        withScratch(byteCount: AuthenticationTag.size) { bytes in
            for index in 0..<4 { bytes.write(words[index], at: index * 8) }
            return body(bytes.bytes)
        }
    }
}
