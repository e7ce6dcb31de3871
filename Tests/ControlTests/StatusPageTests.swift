// The status page as a browser shows it: what is in it, that nothing which peers choose becomes markup, and that it says so
// when nobody answers.

import Foundation
import TestSupport
import Testing

@testable import Control

private let browserIsInstalled = Program.isInstalled("chromium")

@Suite(.serialized) struct StatusPageTests {
    @Test(.enabled(if: Program.isInstalled("openssl"), "openssl is missing"))
    func `the policy names the hashes of the style and of the script`() async throws {
        for (content, hash) in [
            (StatusPage.script, StatusPage.scriptHash), (StatusPage.style, StatusPage.styleHash),
        ] {
            let file = try TemporaryDirectory()
            let digest = try await Program.run([
                "openssl", "dgst", "-sha256", "-r", file.write("\n" + content, "content"),
            ])
            let digits = Array(digest.said.prefix { $0 != " " })
            let bytes = stride(from: 0, to: digits.count - 1, by: 2).compactMap {
                UInt8(String(digits[$0...$0 + 1]), radix: 16)
            }
            #expect(hash == "sha256-" + Data(bytes).base64EncodedString(), "has to be this one")
            #expect(StatusPage.contentSecurityPolicy.contains("'\(hash)'"))
        }
    }

    @Test func `the page needs nothing from elsewhere and makes no markup out of text`() {
        for word in [
            "innerHTML", "outerHTML", "insertAdjacent", "document.write", "DOMParser", "eval(", "Function(", ".style",
            "srcdoc", "createContextualFragment", "javascript:",
        ] { #expect(!StatusPage.script.contains(word), "\(word)") }
        #expect(!StatusPage.style.contains("url(") && !StatusPage.style.contains("@import"))
        #expect(!StatusPage.html.contains(" style=") && !StatusPage.html.contains(" src="))
        #expect(!StatusPage.html.contains("https:"))
        #expect(StatusPage.html.matches(of: /<script/).count == 1 && StatusPage.html.matches(of: /<style/).count == 1)
        #expect(StatusPage.html.utf8.count < 64 * 1024)
    }

    @Test func `it is served over TCP with its own policy, and only to be read`() async throws {
        let server = try ControlServer.start(tcp: "127.0.0.1", port: 0, source: FakeSource())
        defer { server.stop() }
        let address = "http://\(server.address)/"
        let page = try await Program.run(["curl", "-sS", "-i", "--max-time", "10", address])
        #expect(page.said.hasPrefix("HTTP/1.1 200 "))
        #expect(page.said.contains("Content-Type: text/html; charset=utf-8\r\n"))
        #expect(page.said.contains("Content-Security-Policy: \(StatusPage.contentSecurityPolicy)\r\n"))
        #expect(page.said.matches(of: /Content-Security-Policy/).count == 1)
        #expect(page.said.contains("X-Content-Type-Options: nosniff\r\n"))
        #expect(page.said.hasSuffix(StatusPage.html))
        let posted = try await Program.run(["curl", "-sS", "-i", "--max-time", "10", "-d", "", address])
        #expect(posted.said.hasPrefix("HTTP/1.1 405 "))
    }

    @Test(.enabled(if: browserIsInstalled, "chromium is missing"))
    func `a browser shows tunnels, associations, rates, drops and certificates`() async throws {
        let server = try ControlServer.start(tcp: "127.0.0.1", port: 0, source: FakeSource(isBusy: true))
        defer { server.stop() }
        let browser = try await Browser.open("http://\(server.address)/", virtualSeconds: 60)
        #expect(browser.console.isEmpty, "no error, no breach of the policy")
        for text in [
            "2 of 5 tunnels up and encrypted, 3 need attention", "The peer has no service 'snmp-read'.",
            "The peer 203.0.113.40:5684 has not answered for 4 minutes.", "The certificate expires in 8 days",
            "Encrypted by DTLS 1.2 with ECDHE-ECDSA-AES128-GCM-SHA256 to ", "DNS:collector.example.net",
            "dtls://collector.example.net:6514", "14 of at most 4,096", "queue full", "source not allowed",
            "198.51.100.23:40112", "[2001:db8:4:12::9]:50001", "1,327 usable", "no heartbeat", "client, shared mode",
            "culvert 1.0.0, OpenSSL 3.0.22, up for 3 d 4 h, 2 workers", "live, every 2 s",
        ] { #expect(browser.text.contains(text), "\(text)") }
        #expect(!browser.text.contains(" other"), "all peers are named, and those of several associations once")
        #expect(browser.document.matches(of: /<article/).count == 5)
        #expect(browser.document.matches(of: /<tr role="row"><td/).count == 5)
        // Curves of many points: the rates of a minute.
        let curve = browser.document.firstMatch(of: /class="out-line" d="([^"]*)"/)?.output.1 ?? ""
        #expect(curve.matches(of: /L/).count > 10, "\(curve)")
        #expect(browser.text.contains("peak "))
        #expect(!browser.text.contains("NaN") && !browser.text.contains("undefined") && !browser.text.contains("null"))
    }

    @Test(.enabled(if: browserIsInstalled, "chromium is missing"))
    func `names that peers choose stay text`() async throws {
        let server = try ControlServer.start(tcp: "127.0.0.1", port: 0, source: FakeSource(isBusy: true))
        defer { server.stop() }
        let browser = try await Browser.open("http://\(server.address)/", virtualSeconds: 10)
        #expect(browser.console.isEmpty)
        #expect(browser.document.contains("<title>culvert</title>"))
        #expect(browser.text.contains(BusyDaemon.hostileName), "in full, as text")
        #expect(browser.text.contains("<b>east</b>"))
        #expect(!browser.document.contains("<img") && !browser.document.contains("<b>east"))
        #expect(browser.document.matches(of: /<script/).count == 1)
    }

    @Test(.enabled(if: browserIsInstalled, "chromium is missing"))
    func `the page says when the daemon answers too late`() async throws {
        var limits = ControlLimits()
        limits.response = .milliseconds(50)
        let source = FakeSource(holdsAnswers: true)
        let server = try ControlServer.start(tcp: "127.0.0.1", port: 0, source: source, limits: limits)
        defer { server.stop() }
        let browser = try await Browser.open("http://\(server.address)/", virtualSeconds: 5)
        #expect(browser.text.contains("The daemon cannot answer. Its HTTP status is 503; nothing is known yet."))
        #expect(browser.text.contains("no answer"))
        #expect(browser.document.contains("<title>no answer – culvert</title>"))
    }

    @Test(.enabled(if: browserIsInstalled, "chromium is missing"))
    func `the page keeps what it knows, marked as old, when the daemon is gone`() async throws {
        let source = FakeSource(isBusy: true)
        let server = try ControlServer.start(tcp: "127.0.0.1", port: 0, source: source)
        defer { server.stop() }
        async let opened = Browser.open("http://\(server.address)/", virtualSeconds: 3600)
        try await eventually("three looks", within: .seconds(60)) { source.looks >= 3 }
        try await blocking { server.stop() }
        let browser = try await opened
        #expect(browser.text.contains("The daemon does not answer. It cannot be reached; what is shown is from "))
        #expect(browser.document.contains(#"class="stale""#))
        #expect(browser.document.matches(of: /<article/).count == 5)
    }
}

/// A page in a browser without a window, after some time that the browser only pretends to have waited.
private struct Browser {
    /// The document as it has become, as markup.
    let document: String
    /// What a reader sees of it, the scripts and styles left out.
    let text: String
    /// What was said on the console: errors, and breaches of the page's policy.
    let console: [String]

    static func open(_ address: String, virtualSeconds: Int) async throws -> Browser {
        let profile = try TemporaryDirectory()
        let result = try await Program.run(
            [
                // Root has no sandbox; the page is ours, and no other can be reached.
                "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--user-data-dir=\(profile.path)",
                "--enable-logging=stderr", "--virtual-time-budget=\(virtualSeconds * 1000)", "--dump-dom", address,
            ], within: .seconds(60))
        let begin = try #require(result.said.range(of: "<!DOCTYPE html>"), "\(result.said)")
        let end = try #require(result.said.range(of: "</html>", options: .backwards), "\(result.said)")
        let document = String(result.said[begin.lowerBound..<end.upperBound])
        var text = document.replacing(/<(script|style)>[\s\S]*?<\/\1>/, with: "").replacing(/<[^>]*>/, with: "")
        for (entity, character) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&nbsp;", " "), ("&amp;", "&")] {
            text = text.replacing(entity, with: character)
        }
        let console = result.said.split(separator: "\n").filter { $0.contains("CONSOLE") }.map(String.init)
        return Browser(document: document, text: text, console: console)
    }
}
