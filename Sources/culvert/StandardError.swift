// Where complaints go; standard output is for what a command was asked for.

import LinuxIO

/// Writes a line to standard error.
func printError(_ text: String) {
    LineFile.standardError.write(text)
}
