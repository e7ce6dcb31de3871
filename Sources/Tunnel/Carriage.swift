// What a flow has besides while a shared association carries it. It stands apart from the table of flows, so that plain mode,
// where each flow has an association of its own, pays nothing for it.

/// One carried flow.
struct Carriage {
    /// Its number on the wire; 0 while it has none.
    var wireID: UInt64 = 0
    /// Client: whether the peer knows it.
    var isOpen = false
    /// What it has carried.
    var counters = FlowCounters()
}

/// Carried flows by their places in the table of flows.
struct Carriages {
    private var all: ContiguousArray<Carriage> = []

    /// The flow at this place, which ``begin(_:)`` was called for.
    subscript(place: Int32) -> Carriage {
        _read { yield all[Int(place)] }
        _modify { yield &all[Int(place)] }
    }

    /// Takes a flow that has carried nothing.
    mutating func begin(_ place: Int32) {
        while all.count <= Int(place) { all.append(Carriage()) }
        all[Int(place)] = Carriage()
    }
}
