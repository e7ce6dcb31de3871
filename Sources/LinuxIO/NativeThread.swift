// A thread for each worker: its loop blocks in epoll, which a thread of Swift's cooperative pool must never do.

internal import CLinux
internal import Glibc

/// A running thread.
public struct NativeThread: ~Copyable, Sendable {
    private let thread: pthread_t

    /// Starts a thread that runs `body`. The system keeps 15 bytes of `name`.
    public static func start(
        name: String, stackBytes: Int = 1 << 20, body: @escaping @Sendable () -> Void
    ) throws(SystemError) -> NativeThread {
        var attributes = pthread_attr_t()
        var result = unsafe pthread_attr_init(&attributes)
        guard result == 0 else { throw SystemError(result, "pthread_attr_init") }
        defer { unsafe pthread_attr_destroy(&attributes) }
        result = unsafe pthread_attr_setstacksize(&attributes, stackBytes)
        guard result == 0 else { throw SystemError(result, "pthread_attr_setstacksize", "\(stackBytes)") }

        let box = unsafe Unmanaged.passRetained(Box(name: name, body: body))
        var thread = pthread_t()
        result = unsafe pthread_create(
            &thread, &attributes,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let box = unsafe Unmanaged<Box>.fromOpaque(argument).takeRetainedValue()
                unsafe culvert_name_thread(pthread_self(), box.name)
                box.body()
                return nil
            }, box.toOpaque())
        guard result == 0 else {
            unsafe box.release()
            throw SystemError(result, "pthread_create", name)
        }
        return NativeThread(thread: thread)
    }

    /// Waits for the thread to end.
    public consuming func join() {
        _ = pthread_join(thread, nil)
        discard self
    }

    /// A thread that nobody joins goes on and cleans up after itself.
    deinit { pthread_detach(thread) }

    private init(thread: pthread_t) { self.thread = thread }

    private final class Box: Sendable {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
}
