// Looking at what stands behind an optional and cannot be copied: optional chaining would take it away from there.

extension Optional where Wrapped: ~Copyable {
    /// What `body` says of the value; nil where there is none.
    @inlinable
    public borrowing func read<Result>(_ body: (borrowing Wrapped) -> Result) -> Result? {
        switch self {
        case .some(let value): body(value)
        case .none: nil
        }
    }
}
