// Finds the place in a table that belongs to an address.

/// Finds places by what datagrams bring with them, such as an address.
struct PlaceIndex<Key: Hashable> {
    private var places: [Key: Int32] = [:]
    private var last: (key: Key, place: Int32)?

    /// The place of this key.
    mutating func place(of key: Key) -> Int32? {
        // Datagrams come in runs.
        if let last, last.key == key { return last.place }
        guard let place = places[key] else { return nil }
        last = (key, place)
        return place
    }

    /// Gives a key its place.
    mutating func insert(_ key: Key, at place: Int32) { places[key] = place }

    /// Forgets a key.
    mutating func remove(_ key: Key) {
        places[key] = nil
        if let last, last.key == key { self.last = nil }
    }
}
