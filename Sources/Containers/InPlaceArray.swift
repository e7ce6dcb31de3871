// An array whose elements cannot be copied and are changed where they are. swift-collections has one, UniqueArray in
// BasicContainers, but Swift 6.3 cannot compile that module with the thread sanitizer. Every access is checked.

/// A growing array of elements that need not be copyable. Used from one thread at a time.
@safe
public struct InPlaceArray<Element: ~Copyable>: ~Copyable {
    /// How many elements there are.
    public private(set) var count = 0
    private var capacity = 0
    // For the callers' own code: a call to find an element would cost more than the access.
    @usableFromInline
    var elements: UnsafeMutablePointer<Element>?

    /// An array without elements, which takes no memory.
    public init() { unsafe elements = nil }

    deinit {
        guard let elements = unsafe elements else { return }
        unsafe elements.deinitialize(count: count)
        unsafe elements.deallocate()
    }

    /// Adds an element; all others may move to new memory, twice as much as before.
    public mutating func append(_ element: consuming Element) {
        if count == capacity { grow() }
        unsafe elements.unsafelyUnwrapped.advanced(by: count).initialize(to: element)
        count += 1
    }

    /// The element at `index`, in its place. An index that is not below ``count`` is a fault of the program, and ends it.
    @inlinable
    public subscript(index: Int) -> Element {
        // Coroutines (`_read`, `_modify`) would take memory for their frames wherever they are not inlined.
        @inline(__always)
        unsafeAddress { unsafe UnsafePointer(place(index)) }
        @inline(__always)
        unsafeMutableAddress { unsafe place(index) }
    }

    @inlinable
    @inline(__always)
    func place(_ index: Int) -> UnsafeMutablePointer<Element> {
        precondition(index >= 0 && index < count, "no element has this index")
        // There are elements, so there is memory.
        return unsafe elements.unsafelyUnwrapped.advanced(by: index)
    }

    private mutating func grow() {
        let larger = max(2 * capacity, 4)
        let moved = UnsafeMutablePointer<Element>.allocate(capacity: larger)
        if let elements = unsafe elements {
            unsafe moved.moveInitialize(from: elements, count: count)
            unsafe elements.deallocate()
        }
        unsafe elements = unsafe moved
        capacity = larger
    }
}
