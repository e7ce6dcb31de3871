// Fuzzes the config file from TOML to checked values and back: no crash, never a refusal without a reason, and what is said
// to be in force is a file that says the same.

import Configuration

/// One input; 0 says that it was looked at.
@c(LLVMFuzzerTestOneInput)
public func fuzzConfiguration(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = [UInt8](UnsafeBufferPointer(start: start, count: count))
    let result = Configuration.parse(sources: [ConfigurationSource(name: "fuzzed.toml", bytes: bytes)])
    precondition(result.configuration != nil || !result.diagnostics.isEmpty)
    for diagnostic in result.diagnostics { precondition(!"\(diagnostic)".isEmpty) }
    guard let configuration = result.configuration else { return 0 }
    precondition(configuration.groups.joined().count == configuration.tunnels.count)
    let effective = ConfigurationSource(name: "fuzzed.toml", text: configuration.effective.toml)
    precondition(Configuration.parse(sources: [effective]).configuration == configuration)
    return 0
}
