// What each of thousands of associations has, in less memory than the type that it is used as would take.

/// An instant that may not be there, in 8 bytes rather than 16.
@propertyWrapper
public struct CompactInstant: Equatable, Sendable {
    @usableFromInline
    var nanoseconds = Int64.min

    /// Takes an instant; one at the beginning of time counts as none.
    @inlinable
    public init(wrappedValue: Instant?) { self.wrappedValue = wrappedValue }

    /// The instant.
    @inlinable
    public var wrappedValue: Instant? {
        get { nanoseconds == .min ? nil : Instant(nanoseconds: nanoseconds) }
        set { nanoseconds = newValue?.nanoseconds ?? .min }
    }
}

/// A packet's size in bytes, or another number that is never large, in 4 bytes rather than 8.
@propertyWrapper
public struct CompactInteger: Equatable, Sendable {
    @usableFromInline
    var value: Int32

    /// Takes a number; one that has no room becomes the nearest that has.
    @inlinable
    public init(wrappedValue: Int) { value = Int32(clamping: wrappedValue) }

    /// The number.
    @inlinable
    public var wrappedValue: Int {
        get { Int(value) }
        set { value = Int32(clamping: newValue) }
    }
}

/// A packet's size that may not be there, in 4 bytes rather than 16.
@propertyWrapper
struct CompactSize: Equatable, Sendable {
    private var value: Int32

    init(wrappedValue: Int?) { value = wrappedValue.map { Int32(clamping: $0) } ?? -1 }

    var wrappedValue: Int? {
        get { value < 0 ? nil : Int(value) }
        set { value = newValue.map { Int32(clamping: $0) } ?? -1 }
    }
}
