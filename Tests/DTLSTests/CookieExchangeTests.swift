import DTLS
import Testing
import Wire

@Suite struct CookieExchangeTests {
    private enum Outcome: Equatable {
        case proceed(AuthenticationTag)
        case reply([UInt8])
        case drop(DropReason)

        var isProceed: Bool { if case .proceed = self { true } else { false } }
    }

    /// A CookieExchange whose keys are numbered as they are made.
    private final class Subject {
        var exchange: CookieExchange
        var keysLeft = Int.max

        init(isRequired: Bool = true) {
            weak var me: Subject?
            exchange = CookieExchange(isRequired: isRequired, firstKey: FakeKey(100), now: .at(0)) { period in
                guard let me, me.keysLeft > 0 else { return nil }
                me.keysLeft -= 1
                return FakeKey(100 + UInt64(period))
            }
            me = self
        }

        func handle(
            _ datagram: [UInt8], from source: Endpoint = CookieExchangeTests.source, at seconds: Double = 0
        ) -> Outcome {
            var reply = [UInt8](repeating: 0, count: CookieExchange.replySize)
            let decision = reply.withMutableBytes {
                exchange.handle(datagram.bytes, from: source, now: .at(seconds), reply: &$0)
            }
            switch decision {
            case .proceed(let tag): return .proceed(tag)
            case .reply(let length): return .reply(Array(reply[..<length]))
            case .drop(let reason): return .drop(reason)
            }
        }

        /// The cookie of the answer to a first hello.
        func cookie(
            from source: Endpoint = CookieExchangeTests.source, at seconds: Double = 0,
            hello: [UInt8] = FakePeer.hello()
        ) -> [UInt8] {
            guard case .reply(let datagram) = handle(hello, from: source, at: seconds) else { return [] }
            return Array(datagram[28...])
        }
    }

    static let source = Endpoint(address: IPAddress(ipv4: 0xc000_0201), port: 4000)

    @Test func `a first hello is answered with a cookie, under its own record number`() throws {
        let subject = Subject()
        guard case .reply(let datagram) = subject.handle(FakePeer.hello()) else {
            Issue.record("no answer")
            return
        }
        let header = try #require(readRecord(datagram))
        #expect(header.number == RecordNumber(epoch: 0, sequence: 40))
        #expect(header.version == .dtls10)
        #expect(datagram.count == 60)
        #expect(datagram[27] == 32)
        // Nothing is remembered: the same question has the same answer.
        #expect(subject.handle(FakePeer.hello()) == .reply(datagram))
    }

    @Test func `a hello that brings its cookie back may proceed, each time with the same tag`() {
        let subject = Subject()
        let second = FakePeer.hello(sequence: 1, cookie: subject.cookie())
        let decision = subject.handle(second)
        #expect(decision.isProceed)
        #expect(subject.handle(second) == decision)
        let other = FakePeer.hello(sequence: 1, cookie: subject.cookie(hello: FakePeer.hello(random: 8)), random: 8)
        #expect(subject.handle(other).isProceed)
        #expect(subject.handle(other) != decision)
    }

    @Test func `a cookie is good for its address, its port and its hello alone`() throws {
        let subject = Subject()
        let cookie = subject.cookie()
        let second = FakePeer.hello(sequence: 1, cookie: cookie)
        var elsewhere = Self.source
        elsewhere.port = 4001
        #expect(subject.handle(second, from: elsewhere) == .drop(.cookie))
        elsewhere = Endpoint(address: IPAddress(ipv4: 0xc000_0202), port: 4000)
        #expect(subject.handle(second, from: elsewhere) == .drop(.cookie))
        elsewhere = Endpoint(address: IPAddress(high: 1, low: Self.source.address.low), port: 4000)
        #expect(subject.handle(second, from: elsewhere) == .drop(.cookie))
        #expect(subject.handle(FakePeer.hello(sequence: 1, cookie: cookie, random: 8)) == .drop(.cookie))
        #expect(subject.handle(FakePeer.hello(sequence: 1, cookie: cookie, session: [1])) == .drop(.cookie))
        #expect(subject.handle(FakePeer.hello(sequence: 1, cookie: cookie, version: 0xff)) == .drop(.cookie))
        for index in cookie.indices {
            var damaged = cookie
            damaged[index] ^= 1
            #expect(subject.handle(FakePeer.hello(sequence: 1, cookie: damaged)) == .drop(.cookie))
        }
    }

    @Test(arguments: [0, 1, 31, 33, 64, 200]) func `a cookie of another length is refused`(count: Int) {
        let subject = Subject()
        let cookie = Array((subject.cookie() + [UInt8](repeating: 0, count: 200)).prefix(count))
        #expect(subject.handle(FakePeer.hello(sequence: 1, cookie: cookie)) == .drop(.cookie))
    }

    @Test func `message 0 is answered anew even with a valid cookie, and a message beyond 1 not at all`() {
        let subject = Subject()
        let cookie = subject.cookie()
        #expect(subject.cookie(hello: FakePeer.hello(sequence: 0, cookie: cookie)) == cookie)
        #expect(subject.handle(FakePeer.hello(sequence: 2, cookie: cookie)) == .drop(.cookie))
        #expect(subject.handle(FakePeer.hello(sequence: 2)) == .drop(.cookie))
    }

    @Test func `a cookie survives one rotation of the secret and not two`() {
        let subject = Subject()
        let second = FakePeer.hello(sequence: 1, cookie: subject.cookie(at: 59))
        let decision = subject.handle(second, at: 59.9)
        #expect(decision.isProceed)
        #expect(subject.handle(second, at: 60) == decision)
        #expect(subject.cookie(at: 61) != Array(second[61..<93]))
        #expect(subject.handle(second, at: 119.9) == decision)
        #expect(subject.handle(second, at: 120) == .drop(.cookie))
    }

    @Test func `whoever has the same keys takes the cookie, however long it has not been asked`() {
        let (subject, other) = (Subject(), Subject())
        let second = FakePeer.hello(sequence: 1, cookie: subject.cookie(at: 601))
        #expect(other.handle(second, at: 602).isProceed)
        let late = Subject()
        #expect(late.handle(second, at: 661).isProceed)
        #expect(late.handle(second, at: 720) == .drop(.cookie))
    }

    @Test func `a key that nobody asked for two lifetimes long accepts nothing any more`() {
        let subject = Subject()
        let second = FakePeer.hello(sequence: 1, cookie: subject.cookie(at: 1))
        #expect(subject.handle(second, at: 120) == .drop(.cookie))
        #expect(subject.handle(FakePeer.hello(sequence: 1, cookie: subject.cookie(at: 120)), at: 121).isProceed)
    }

    @Test func `without a fresh secret the old one serves on`() {
        let subject = Subject()
        subject.keysLeft = 0
        let second = FakePeer.hello(sequence: 1, cookie: subject.cookie(at: 10))
        #expect(subject.handle(second, at: 1000).isProceed)
        subject.keysLeft = 2
        #expect(subject.handle(second, at: 1001) == .drop(.cookie))
        #expect(subject.keysLeft == 0)
    }

    @Test func `a later fragment is left to the association, and a damaged hello to nobody`() {
        let subject = Subject()
        var fragment = FakePeer.hello()
        fragment[21] = 1
        fragment[24] -= 1
        #expect(subject.handle(fragment) == .drop(.noAssociation))
        #expect(subject.handle(Array(FakePeer.hello().dropLast())) == .drop(.malformed))
        #expect(subject.handle([]) == .drop(.malformed))
    }

    @Test func `where no cookie is asked for, a first hello proceeds and a second is refused`() {
        let subject = Subject(isRequired: false)
        let decision = subject.handle(FakePeer.hello())
        #expect(decision.isProceed)
        #expect(subject.handle(FakePeer.hello()) == decision)
        #expect(subject.handle(FakePeer.hello(random: 8)) != decision)
        #expect(subject.handle(FakePeer.hello(sequence: 1)) == .drop(.cookie))
        #expect(subject.handle(Array(FakePeer.hello().dropLast())) == .drop(.malformed))
    }
}
