// Standard output as scripts need it: what was printed is there at once, through a pipe too.

import Glibc

/// Hands what was printed so far to whoever reads it.
func flushOutput() {
    fflush(nil)
}
