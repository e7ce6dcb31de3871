// The routes of the control API: GET /healthz, /readyz, /v1/tunnels and /v1/associations. It maps paths to what the
// daemon knows and shapes the answers; it holds no state of its own.

/// Asks for a value that is given later, once, from any thread. It is called on the control plane's thread and must not
/// block it.
public typealias ControlQuery<Value> = @Sendable (_ give: @escaping @Sendable (Value) -> Void) -> Void

/// The routes of the control API over what the daemon knows.
///
/// - `GET /healthz`: 200 `ok` as long as the control plane runs at all.
/// - `GET /readyz`: 200 `ready`, or a problem document with status 503 that says what is missing.
/// - `GET /v1/tunnels`: a JSON list of `TunnelStatus`.
/// - `GET /v1/associations`: a JSON list of `AssociationStatus`.
public func controlRoutes(
    readiness: @escaping ControlQuery<Readiness>, tunnels: @escaping ControlQuery<[TunnelStatus]>,
    associations: @escaping ControlQuery<[AssociationStatus]>
) -> [ControlRoute] {
    [
        ControlRoute(.get, "/healthz") { _, reply in
            reply { .text("ok\n") }
        },
        ControlRoute(.get, "/readyz") { _, reply in
            readiness { state in reply { response(to: state) } }
        },
        ControlRoute(.get, "/v1/tunnels") { _, reply in
            tunnels { list in reply { .json(list) } }
        },
        ControlRoute(.get, "/v1/associations") { _, reply in
            associations { list in reply { .json(list) } }
        },
    ]
}

private func response(to readiness: Readiness) -> ControlResponse {
    switch readiness {
    case .ready: .text("ready\n")
    case .waiting(let reasons):
        .problem(Problem(status: 503, title: "Not Ready", detail: reasons.joined(separator: "; ")))
    }
}
