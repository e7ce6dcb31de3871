// freeradius and its client, as the interop tests want them: alice's password is wonderland.

import TestSupport

/// freeradius on a port of 127.0.0.1; `directory` gets its config.
func radiusServer(_ port: UInt16, _ directory: TemporaryDirectory) throws -> Program {
    try directory.write(
        """
        libdir = /usr/lib/freeradius
        modules {
            pap {
            }
        }
        client localhost {
            ipaddr = 127.0.0.1
            secret = testing123
        }
        server default {
            listen {
                type = auth
                ipaddr = 127.0.0.1
                port = \(port)
            }
            authorize {
                if (&User-Name == "alice") {
                    update control {
                        &Cleartext-Password := "wonderland"
                    }
                }
                pap
            }
            authenticate {
                pap
            }
        }

        """, "radiusd.conf")
    return try Program(["freeradius", "-f", "-l", "stdout", "-d", directory.path])
}

/// Whether a wrong password is rejected and the right one is accepted at a port of 127.0.0.1; an answer that is late is asked
/// for again.
///
/// - Returns: what is wrong; nil if nothing is.
func complaint(ofRadiusAt port: UInt16, _ directory: TemporaryDirectory, tries: Int = 3) async throws -> String? {
    for (password, answer) in [("looking glass", "Access-Reject"), ("wonderland", "Access-Accept")] {
        let file = try directory.write(
            "User-Name = \"alice\"\nUser-Password = \"\(password)\"\n", "request-\(answer)")
        let (status, said) = try await Program.run(
            ["radclient", "-x", "-t", "1", "-r", "\(tries)", "-f", file, "127.0.0.1:\(port)", "auth", "testing123"],
            within: .seconds(90))
        let isRight = said.contains("Received \(answer)") && status == (answer == "Access-Accept" ? 0 : 1)
        guard isRight else { return "for '\(password)' radclient said:\n\(said)" }
    }
    return nil
}
