// Lets only so many tests run at a time: each has a daemon and several programs, and the machine may have two CPUs.

import Testing

/// A trait of suites whose tests wait for their turn.
struct Gate: SuiteTrait, TestTrait, TestScoping {
    var isRecursive: Bool { true }

    private static let turnstile = Turnstile(places: 6)

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        await Self.turnstile.enter()
        do {
            try await function()
        } catch {
            await Self.turnstile.leave()
            throw error
        }
        await Self.turnstile.leave()
    }
}

extension Trait where Self == Gate {
    /// The tests of the suite take turns.
    static var inTurns: Self { Gate() }
}

/// First come, first served.
private actor Turnstile {
    private var places: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(places: Int) { self.places = places }

    func enter() async {
        guard places == 0 else {
            places -= 1
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }

    func leave() {
        if waiting.isEmpty { places += 1 } else { waiting.removeFirst().resume() }
    }
}
