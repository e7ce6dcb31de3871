// What the tests of keys and certificates share: a directory of their own and the `openssl` program, which
// judges everything that is made here.

import Foundation
import OpenSSL
import Testing

/// A directory that goes away with the object.
final class Scratch: Sendable {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("culvert-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }

    /// Writes a file with a mode; the result is its path.
    @discardableResult
    func write(_ text: String, _ name: String, mode: Int = 0o600) throws -> String {
        try write(Data(text.utf8), name, mode: mode)
    }

    @discardableResult
    func write(_ data: Data, _ name: String, mode: Int = 0o600) throws -> String {
        try data.write(to: URL(fileURLWithPath: self(name)))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: self(name))
        return self(name)
    }

    @discardableResult
    func write(_ secret: SecretBytes, _ name: String, mode: Int = 0o600) throws -> String {
        try write(Data(secret.array), name, mode: mode)
    }

    func text(_ name: String) throws -> String {
        try String(contentsOfFile: self(name), encoding: .utf8)
    }

    func mode(_ name: String) throws -> Int {
        let attributes = try FileManager.default.attributesOfItem(atPath: self(name))
        return try #require(attributes[.posixPermissions] as? NSNumber).intValue
    }
}

extension SecretBytes {
    var array: [UInt8] { bytes.indices.map { bytes[$0] } }

    convenience init(_ text: String) {
        let bytes = Array(text.utf8)
        self.init(copying: bytes.span)
    }
}

/// What a program said.
struct Outcome: Sendable {
    let status: Int32
    let output: String
}

/// Runs a program to its end with both outputs together.
func runProgram(_ program: String, _ arguments: [String], in directory: String? = nil) throws -> Outcome {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    if let directory { process.currentDirectoryURL = URL(fileURLWithPath: directory) }
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return Outcome(status: process.terminationStatus, output: String(decoding: data, as: UTF8.self))
}

/// Whether the `openssl` program is there.
let hasOpenSSLProgram = (try? runProgram("openssl", ["version"]))?.status == 0

/// Runs `openssl` and expects success; the result is what it said.
@discardableResult
func openssl(_ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
    let outcome = try runProgram("openssl", arguments)
    #expect(
        outcome.status == 0, "openssl \(arguments.joined(separator: " ")): \(outcome.output)",
        sourceLocation: sourceLocation)
    return outcome.output
}

/// An authority and what it issues, in files.
struct TestAuthority {
    let scratch: Scratch
    let authority: CertificateAuthority
    let key: PrivateKey

    /// Writes `ca.crt` and `ca.key`.
    init(_ scratch: Scratch, name: String = "test authority", kind: KeyKind = .ecdsaP256) throws {
        self.scratch = scratch
        key = try PrivateKey.generate(kind)
        authority = try CertificateAuthority.create(
            commonName: name, key: key, validity: .days(3650, from: UTCTime.now()))
        try scratch.write(try Certificate.pem([authority.certificate]), "ca.crt", mode: 0o644)
        try scratch.write(try key.pem(), "ca.key")
    }

    /// Writes `NAME.crt` and `NAME.key`.
    @discardableResult
    func issue(_ name: String, kind: KeyKind = .ecdsaP256, validity: Validity? = nil) throws -> Credential {
        let key = try PrivateKey.generate(kind)
        let certificate = try authority.issue(
            to: try CertificateSubject(commonName: name), key: key,
            validity: validity ?? .days(825, from: UTCTime.now()))
        try scratch.write(try Certificate.pem([certificate]), "\(name).crt", mode: 0o644)
        try scratch.write(try key.pem(), "\(name).key")
        return Credential(certificate: certificate, privateKey: key)
    }
}
