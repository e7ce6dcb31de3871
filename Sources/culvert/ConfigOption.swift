// The option that names the config, shared by the commands that read it, and how its diagnostics are printed.

import ArgumentParser
import Configuration
import Glibc

/// `--config PATH`.
struct ConfigOption: ParsableArguments {
    @Option(
        name: .long, help: "The config file, or a directory whose *.toml files are read in the order of their names.")
    var config = "/etc/culvert/culvert.toml"
}

/// Writes to standard error; standard output is for what a command was asked for.
func printError(_ text: String) {
    let bytes = Array("\(text)\n".utf8)
    _ = unsafe bytes.withUnsafeBytes { unsafe write(2, $0.baseAddress, $0.count) }
}
