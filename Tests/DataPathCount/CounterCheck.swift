// That the counters count: another toolchain could call what nobody stands before, and then everything would seem to be well.

import CCounting

/// Does once what is counted, and looks whether it was.
enum CounterCheck {
    private final class Object {
        var value = 0
    }

    nonisolated(unsafe) private static var kept: Object?

    /// Throws where something goes uncounted.
    static func run() throws {
        keep(Object())
        culvert_counting_reset()
        culvert_counting_begin(0, false)
        keep(Object())
        culvert_counting_end()
        let counted: [(String, culvert_count)] = [
            ("allocation", CULVERT_COUNT_ALLOCATIONS), ("object", CULVERT_COUNT_OBJECTS),
            ("retain", CULVERT_COUNT_RETAINS), ("release", CULVERT_COUNT_RELEASES),
            ("access", CULVERT_COUNT_ACCESSES),
        ]
        for (name, kind) in counted where culvert_counting_value(0, kind) == 0 {
            throw CountError("no \(name) was counted where there was one")
        }
    }

    @inline(never) private static func keep(_ object: Object) {
        kept = object
        change(&object.value) { kept?.value ?? 0 }
    }

    /// The object cannot know that `increase` does not touch it.
    @inline(never) private static func change(_ value: inout Int, _ increase: () -> Int) {
        if value > 0 { value += increase() }
        value += 1
    }
}
