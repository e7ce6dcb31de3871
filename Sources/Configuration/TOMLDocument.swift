// The boundary to C: the only file of this target with unsafe code. It turns the flat tree of CTOML into Swift values,
// and reads files and directories by POSIX calls. No pointer leaves it, and no input may make it trap.

import CTOML
import Glibc

/// A value of a TOML text with its place.
struct TOMLNode {
    /// A key and its value.
    struct Member {
        let key: String
        let location: SourceLocation
        let value: TOMLNode
    }

    enum Content {
        case table([Member])
        case array([TOMLNode])
        case string(String)
        case integer(Int64)
        case boolean(Bool)
        case float
        case dateTime
    }

    let location: SourceLocation
    let content: Content

    var isTable: Bool {
        if case .table = content { true } else { false }
    }

    /// What it is, with an article, for messages.
    var kind: String {
        switch content {
        case .table: "a table"
        case .array: "an array"
        case .string: "a string"
        case .integer: "an integer"
        case .boolean: "a boolean"
        case .float: "a floating-point number"
        case .dateTime: "a date or time"
        }
    }
}

/// The first place where a text is not TOML.
struct TOMLSyntaxError: Error {
    let location: SourceLocation
    let message: String
}

/// A parsed TOML text.
enum TOMLDocument {
    /// The longest text that is parsed, in bytes.
    static let maximumLength = Int(CTOML_MAXIMUM_LENGTH)

    /// Parses a text in UTF-8. Members of a table come in the order of their keys.
    static func parse(_ bytes: [UInt8], file: String) throws(TOMLSyntaxError) -> [TOMLNode.Member] {
        let document = unsafe bytes.withUnsafeBufferPointer { buffer in
            unsafe ctoml_parse(buffer.baseAddress, buffer.count)
        }
        defer { unsafe ctoml_free(document) }
        guard let document = unsafe document else {
            throw TOMLSyntaxError(location: SourceLocation(file: file), message: "the parser ran out of memory")
        }
        if let error = unsafe ctoml_error(document) {
            let position = unsafe ctoml_error_position(document)
            throw TOMLSyntaxError(
                location: SourceLocation(file: file, line: Int(position.line), column: Int(position.column)),
                message: unsafe String(cString: error))
        }
        var nodes = unsafe UnsafeBufferPointer(start: ctoml_nodes(document), count: ctoml_node_count(document))[...]
        guard case .table(let members)? = unsafe node(&nodes, file: file)?.content else { return [] }
        return members
    }

    /// Takes the first node and what belongs to it from `nodes`. Its recursion is as deep as CTOML allows.
    private static func node(_ nodes: inout Slice<UnsafeBufferPointer<ctoml_node>>, file: String) -> TOMLNode? {
        guard let flat = unsafe nodes.popFirst() else { return nil }
        let content: TOMLNode.Content
        switch unsafe flat.type {
        case CTOML_TABLE:
            var members: [TOMLNode.Member] = []
            for _ in unsafe 0..<flat.child_count {
                guard let first = unsafe nodes.first else { break }
                let key = unsafe text(first.key, first.key_length)
                let location = unsafe location(first.key_position, file: file)
                guard let value = unsafe node(&nodes, file: file) else { break }
                members.append(TOMLNode.Member(key: key, location: location, value: value))
            }
            content = .table(members)
        case CTOML_ARRAY:
            var elements: [TOMLNode] = []
            for _ in unsafe 0..<flat.child_count {
                guard let element = unsafe node(&nodes, file: file) else { break }
                elements.append(element)
            }
            content = .array(elements)
        case CTOML_STRING: content = unsafe .string(text(flat.text, flat.text_length))
        case CTOML_INTEGER: content = unsafe .integer(flat.integer)
        case CTOML_BOOLEAN: content = unsafe .boolean(flat.integer != 0)
        case CTOML_FLOAT: content = .float
        default: content = .dateTime
        }
        return unsafe TOMLNode(location: location(flat.value_position, file: file), content: content)
    }

    private static func text(_ start: UnsafePointer<CChar>?, _ length: Int) -> String {
        unsafe String(decoding: UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : length), as: UTF8.self)
    }

    private static func location(_ position: ctoml_position, file: String) -> SourceLocation {
        SourceLocation(file: file, line: Int(position.line), column: Int(position.column))
    }
}

/// Why a file or directory could not be read, in words for a message.
struct ConfigurationFileError: Error {
    let message: String
}

/// Files and directories, read whole.
enum ConfigurationFile {
    /// The bytes of the file at `path`, at most `TOMLDocument.maximumLength` of them.
    static func read(_ path: String) throws(ConfigurationFileError) -> [UInt8] {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw lastError("cannot open") }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = unsafe chunk.withUnsafeMutableBytes { buffer in
                unsafe Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw lastError("cannot read") }
            guard count > 0 else { return bytes }
            bytes += chunk[..<count]
            guard bytes.count <= TOMLDocument.maximumLength else {
                throw ConfigurationFileError(message: "too large: a configuration file has at most 1 MiB")
            }
        }
    }

    /// The names in the directory at `path`, unsorted; nil when it is something other than a directory.
    static func names(inDirectory path: String) throws(ConfigurationFileError) -> [String]? {
        guard let directory = unsafe opendir(path) else {
            if errno == ENOTDIR { return nil }
            throw lastError("cannot open")
        }
        defer { unsafe closedir(directory) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(directory) else {
                guard errno == 0 else { throw lastError("cannot read the directory") }
                return names
            }
            unsafe withUnsafeBytes(of: &entry.pointee.d_name) { name in
                unsafe names.append(String(decoding: name.prefix { $0 != 0 }, as: UTF8.self))
            }
        }
    }

    private static func lastError(_ what: String) -> ConfigurationFileError {
        let number = errno
        return switch number {
        case ENOENT: ConfigurationFileError(message: "\(what): no such file or directory")
        case EACCES: ConfigurationFileError(message: "\(what): permission denied (as user id \(geteuid()))")
        case EISDIR: ConfigurationFileError(message: "\(what): it is a directory")
        default: ConfigurationFileError(message: unsafe "\(what): \(String(cString: strerror(number)))")
        }
    }
}
