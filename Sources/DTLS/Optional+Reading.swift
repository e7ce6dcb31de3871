// Looks at a value that is behind an optional and cannot be copied: optional chaining would consume it.

extension Optional where Wrapped: ~Copyable {
    /// What `body` returns for the value; nil if there is none.
    @inlinable
    public borrowing func read<Result>(_ body: (borrowing Wrapped) -> Result) -> Result? {
        switch self {
        case .some(let value): body(value)
        case .none: nil
        }
    }
}
