import Glibc
import Testing
import Wire

/// What the system's own reader makes of an address.
private func systemAddress(_ text: String) -> IPAddress? {
    var v4 = in_addr()
    if inet_pton(AF_INET, text, &v4) == 1 { return IPAddress(ipv4: UInt32(bigEndian: v4.s_addr)) }
    var v6 = [UInt8](repeating: 0, count: 16)
    guard inet_pton(AF_INET6, text, &v6) == 1 else { return nil }
    return IPAddress(high: v6.bytes.uint64(at: 0) ?? 0, low: v6.bytes.uint64(at: 8) ?? 0)
}

/// What the system's own writer makes of it.
private func systemText(_ address: IPAddress) -> String {
    var text = [CChar](repeating: 0, count: 64)
    var bytes = [UInt8](repeating: 0, count: 16)
    bytes.withMutableBytes { span in
        span.write(address.high, at: 0)
        span.write(address.low, at: 8)
    }
    if address.isIPv4 {
        inet_ntop(AF_INET, Array(bytes[12...]), &text, 64)
    } else {
        inet_ntop(AF_INET6, bytes, &text, 64)
    }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

@Suite struct IPAddressTests {
    /// Addresses with many zero groups, where the text form is interesting.
    private func randomAddress(_ random: inout SeededRandom) -> IPAddress {
        if Int.random(in: 0..<4, using: &random) == 0 {
            return IPAddress(ipv4: UInt32.random(in: 0 ... .max, using: &random))
        }
        let groups = (0..<8).map { _ in
            Bool.random(using: &random)
                ? 0 : UInt64.random(in: 0...0xffff, using: &random) >> UInt64.random(in: 0...15, using: &random)
        }
        return IPAddress(
            high: groups[..<4].reduce(0) { $0 << 16 | $1 }, low: groups[4...].reduce(0) { $0 << 16 | $1 })
    }

    @Test func `the text form is inet_ntop's and is read back`() {
        var random = SeededRandom(seed: 4)
        for _ in 0..<8000 {
            let address = randomAddress(&random)
            #expect(IPAddress(address.description) == address)
            // inet_ntop writes the deprecated IPv4-compatible addresses in a mixed form that RFC 5952 does not ask for.
            guard address.isIPv4 || address.high != 0 || address.low >> 32 != 0 else { continue }
            #expect(address.description == systemText(address))
        }
    }

    @Test func `what inet_pton reads is read alike, and nothing else is`() {
        var random = SeededRandom(seed: 5)
        let letters = Array("0123456789abcdefABCDEFg:::::....%/ +-[]x")
        var valid = 0
        for round in 0..<16_000 {
            var text = Array(randomAddress(&random).description)
            if round.isMultiple(of: 3), let colon = text.lastIndex(of: ":") {
                text = Array(text[...colon]) + Array("192.0.2.\(Int.random(in: 0...300, using: &random))")
            }
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                let place = Int.random(in: 0...text.count, using: &random)
                let letter = letters.randomElement(using: &random) ?? "0"
                switch Int.random(in: 0..<3, using: &random) {
                case 0: text.insert(letter, at: place)
                case 1 where place < text.count: text.remove(at: place)
                default: if place < text.count { text[place] = letter }
                }
            }
            let address = systemAddress(String(text))
            if address != nil { valid += 1 }
            #expect(IPAddress(String(text)) == address, "\(String(text))")
        }
        #expect(valid > 4000)
    }

    @Test(arguments: [
        "", ":", "::", ":::", "1::", "::1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8",
        "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "::ffff:192.0.2.1", "::192.0.2.1", "1.2.3.4::", "::1.2.3.4:5",
        "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "0000:0000:0000:0000:0000:ffff:255.255.255.255",
        "00000::1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", "1.2.3.-4", "1.2.3.+4", "1..3.4", " 1.2.3.4",
        "1.2.3.4 ",
        "0x1.2.3.4", "٣.1.1.1", "fe80::1%eth0", "[::1]", "::+1", "::-1", "::g", "1:", ":1", "::1:", "a\u{301}::1",
        "1.2.3.4\u{0}", "::1\u{301}", "1\u{301}.2.3.4", ":\u{301}:1", "0.0.0.0", "000.0.0.0", "00.0.0.0",
    ]) func `a text is read as inet_pton reads it`(text: String) {
        // inet_pton takes a NUL for the end.
        #expect(IPAddress(text) == (text.utf8.contains(0) ? nil : systemAddress(text)))
    }

    @Test(arguments: [
        ("2001:0DB8:0:0:0:0:2:1", "2001:db8::2:1"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("0:0:0:0:0:0:0:0", "::"),
        ("::ffff:192.0.2.1", "192.0.2.1"), ("0:0:0:0:0:0:0:1", "::1"), ("1:0:0:0:0:0:0:0", "1::"),
    ]) func `the canonical form is RFC 5952's`(text: String, canonical: String) {
        #expect(IPAddress(text)?.description == canonical)
    }

    @Test func `an address knows what kind it is`() throws {
        func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }
        #expect(try address("127.255.0.1").isLoopback)
        #expect(try address("::1").isLoopback)
        #expect(try !address("128.0.0.1").isLoopback)
        #expect(try address("::ffff:1.2.3.4").isIPv4)
        #expect(try !address("::1.2.3.4").isIPv4)
        #expect(try address("169.254.1.1").isLinkLocal)
        #expect(try address("febf::1").isLinkLocal)
        #expect(try !address("fec0::1").isLinkLocal)
        #expect(IPAddress.anyIPv4.isUnspecified)
        #expect(IPAddress.anyIPv6.isUnspecified)
        #expect(try !address("0.0.0.1").isUnspecified)
    }
}

@Suite struct EndpointTests {
    @Test(arguments: [
        ("192.0.2.1:514", "192.0.2.1:514"), ("[2001:DB8::1]:65535", "[2001:db8::1]:65535"), ("[::]:0", "[::]:0"),
        ("[::ffff:192.0.2.1]:5", "192.0.2.1:5"), ("[0:0:0:0:0:ffff:192.0.2.1]:5", "192.0.2.1:5"),
    ]) func `an endpoint is read and printed`(text: String, canonical: String) {
        #expect(Endpoint(text)?.description == canonical)
        #expect(Endpoint(canonical) == Endpoint(text))
    }

    @Test(arguments: [
        "", ":", ":1", "1.2.3.4", "1.2.3.4:", "1.2.3.4:+514", "1.2.3.4:-1", "1.2.3.4:65536", "1.2.3.4: 5", "1.2.3.4:5 ",
        "1.2.3.4:0x5", "1.2.3.4:٥", "2001:db8::1:514", "[2001:db8::1]", "[2001:db8::1]514", "[2001:db8::1:514",
        "[1.2.3.4]:5",
        "[]:5", "[:5", "]:5", "[::1]]:5", "[[::1]]:5", "host:5", "1.2.3.4:99999999999999999999", "1.2.3.4:000514",
    ]) func `what is no endpoint is refused`(text: String) {
        #expect(Endpoint(text) == nil)
    }

    @Test func `a scope is printed`() throws {
        let address = try #require(IPAddress("fe80::1"))
        #expect(Endpoint(address: address, port: 514, scope: 2).description == "[fe80::1%2]:514")
    }

    @Test func `a datagram fits its packet`() throws {
        #expect(try #require(Endpoint("192.0.2.1:5")).datagramSize(linkMTU: 1500) == 1472)
        #expect(try #require(Endpoint("[2001:db8::1]:5")).datagramSize(linkMTU: 1500) == 1452)
    }
}

@Suite struct IPPrefixTests {
    @Test func `a prefix contains what shares its bits`() throws {
        var random = SeededRandom(seed: 6)
        for _ in 0..<2000 {
            let isIPv4 = Bool.random(using: &random)
            let bits = isIPv4 ? 32 : 128
            let length = Int.random(in: 0...bits, using: &random)
            let address =
                isIPv4
                ? IPAddress(ipv4: UInt32.random(in: 0 ... .max, using: &random))
                : IPAddress(high: 0x2001_0db8_0000_0000 | random.next() >> 32, low: random.next())
            let whole = (UInt128(address.high) << 64) | UInt128(address.low)
            let mask = length + 128 - bits == 0 ? 0 : UInt128.max << UInt128(bits - length)
            func part(_ value: UInt128) -> IPAddress {
                IPAddress(high: UInt64(truncatingIfNeeded: value >> 64), low: UInt64(truncatingIfNeeded: value))
            }
            let prefix = try #require(IPPrefix("\(part(whole & mask))/\(length)"))
            #expect(prefix.contains(address))
            #expect(prefix.contains(part(whole & mask | ~mask)))
            #expect(IPPrefix(prefix.description) == prefix)
            if length > 0 { #expect(!prefix.contains(part(whole ^ (UInt128(1) << UInt128(bits - length))))) }
            if length < bits { #expect(IPPrefix("\(part(whole & mask | 1))/\(length)") == nil) }
        }
    }

    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1/32"), ("::1", "::1/128"), ("0.0.0.0/0", "0.0.0.0/0"), ("::/0", "::/0"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"), ("2001:db8::/32", "2001:db8::/32"),
        ("2001:db8::/64", "2001:db8::/64"),
    ]) func `a prefix is read and printed`(text: String, canonical: String) {
        #expect(IPPrefix(text)?.description == canonical)
    }

    @Test(arguments: [
        "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0.1/8",
        "::1/127", "::/129",
        "10.0.0.0/ 8", "10.0.0.0/0x8", "10.0.0.0/9999999999999999999999", "10.0.0.0/٨", "::ffff:10.0.0.0/8", "host/8",
    ]) func `what is no prefix is refused`(text: String) {
        #expect(IPPrefix(text) == nil)
    }

    @Test func `IPv4 and IPv6 ranges are apart, but for the whole`() throws {
        let address = try #require(IPAddress("192.0.2.1"))
        #expect(try !#require(IPPrefix("2001:db8::/32")).contains(address))
        #expect(try !#require(IPPrefix("0.0.0.0/0")).contains(#require(IPAddress("2001:db8::1"))))
        #expect(try #require(IPPrefix("::/0")).contains(address))
    }
}
