// Fuzzes the config file from TOML to checked values: no crash, and never a refusal without a reason.

import Configuration

/// One input; 0 says that it was looked at.
@c(LLVMFuzzerTestOneInput)
public func fuzzConfiguration(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = [UInt8](UnsafeBufferPointer(start: start, count: count))
    let result = Configuration.parse(sources: [ConfigurationSource(name: "fuzzed.toml", bytes: bytes)])
    precondition(result.configuration != nil || !result.diagnostics.isEmpty)
    for diagnostic in result.diagnostics { precondition(!"\(diagnostic)".isEmpty) }
    return 0
}
