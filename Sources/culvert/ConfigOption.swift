// The option that names the config, shared by the commands that read it.

import ArgumentParser

/// `--config PATH`.
struct ConfigOption: ParsableArguments {
    @Option(
        name: .long, help: "The config file, or a directory whose *.toml files are read in the order of their names.")
    var config = "/etc/culvert/culvert.toml"
}
