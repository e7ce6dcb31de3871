#define _GNU_SOURCE
#include "counting.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

enum { SITE_SLOTS = 8192 };

static bool is_counting;
static bool notes_sites;
static uint32_t current_step;
static uint64_t counts[CULVERT_COUNT_STEPS][CULVERT_COUNTS];
static struct culvert_count_site sites[SITE_SLOTS];

void culvert_counting_begin(uint32_t step, bool with_sites)
{
    current_step = step % CULVERT_COUNT_STEPS;
    notes_sites = with_sites;
    is_counting = true;
}

void culvert_counting_end(void)
{
    is_counting = false;
}

void culvert_counting_reset(void)
{
    memset(counts, 0, sizeof counts);
    memset(sites, 0, sizeof sites);
}

uint64_t culvert_counting_value(uint32_t step, enum culvert_count kind)
{
    return counts[step % CULVERT_COUNT_STEPS][kind];
}

bool culvert_counting_site(uint32_t index, struct culvert_count_site *site)
{
    for (uint32_t slot = 0; slot < SITE_SLOTS; slot++) {
        if (sites[slot].count == 0)
            continue;
        if (index-- == 0) {
            *site = sites[slot];
            return true;
        }
    }
    return false;
}

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || !defined(__x86_64__)

/* A sanitizer has functions of its own in these places; and elsewhere swift_retain keeps registers that C code does not. */
bool culvert_counting_install(void)
{
    return false;
}

#else

/* Weak, so that a runtime that is linked statically, where nothing can be counted, does not make two of them. */
#define EXPORTED __attribute__((visibility("default"), weak))
/* The walk to the caller starts at the frame of the function that is called. */
#define NOTE(kind) \
    do { \
        if (is_counting) \
            note((kind), __builtin_return_address(0), __builtin_frame_address(0)); \
    } while (0)

enum { DEEPEST_WALK = 64 };

static uintptr_t stack_end;

/* The linker's own: where the executable begins, and where its code ends. */
extern const char __executable_start[];
extern const char etext[];

static bool is_own_code(uintptr_t address)
{
    return address >= (uintptr_t)__executable_start && address < (uintptr_t)etext;
}

/* The nearest return address in the executable. Libraries may use the frame pointer for something else: the walk stays within
 * the stack and goes up only. */
static uintptr_t own_caller(const void *return_address, const void *frame)
{
    uintptr_t address = (uintptr_t)return_address;
    uintptr_t here = (uintptr_t)frame;
    for (int depth = 0; depth < DEEPEST_WALK && !is_own_code(address); depth++) {
        if (here % sizeof(uintptr_t) != 0 || here + 2 * sizeof(uintptr_t) > stack_end)
            return 0;
        uintptr_t next = ((const uintptr_t *)here)[0];
        address = ((const uintptr_t *)here)[1];
        if (next <= here)
            return is_own_code(address) ? address : 0;
        here = next;
    }
    return is_own_code(address) ? address : 0;
}

static void note_site(enum culvert_count kind, uint64_t address)
{
    uint32_t slot = (uint32_t)(((address * CULVERT_COUNTS + kind) * CULVERT_COUNT_STEPS + current_step) * 0x9e3779b97f4a7c15u >> 40) % SITE_SLOTS;
    for (int tries = 0; tries < SITE_SLOTS; tries++, slot = (slot + 1) % SITE_SLOTS) {
        struct culvert_count_site *site = &sites[slot];
        if (site->count == 0) {
            site->step = current_step;
            site->kind = kind;
            site->address = address;
        }
        if (site->step == current_step && site->kind == kind && site->address == address) {
            site->count++;
            return;
        }
    }
}

static void note(enum culvert_count kind, const void *return_address, const void *frame)
{
    counts[current_step][kind]++;
    if (!notes_sites)
        return;
    uintptr_t address = own_caller(return_address, frame);
    note_site(kind, address == 0 ? 0 : address - (uintptr_t)__executable_start);
}

static bool find_stack(void)
{
    pthread_attr_t attributes;
    void *lowest;
    size_t size;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return false;
    bool is_known = pthread_attr_getstack(&attributes, &lowest, &size) == 0;
    if (is_known)
        stack_end = (uintptr_t)lowest + size;
    pthread_attr_destroy(&attributes);
    return is_known;
}

/* A Swift library may call before this program's own start: what comes next is looked up at the first call. */
#define NEXT(name) \
    ({ \
        static __typeof__(&name) next; \
        if (next == NULL) \
            next = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
        next; \
    })

#define COUNTED_POINTER(name, kind) \
    EXPORTED void *name(void *object) \
    { \
        NOTE(kind); \
        return NEXT(name)(object); \
    }

#define COUNTED_POINTER_N(name, kind) \
    EXPORTED void *name(void *object, uint32_t count) \
    { \
        NOTE(kind); \
        return NEXT(name)(object, count); \
    }

#define COUNTED_VOID(name, kind) \
    EXPORTED void name(void *object) \
    { \
        NOTE(kind); \
        NEXT(name)(object); \
    }

#define COUNTED_VOID_N(name, kind) \
    EXPORTED void name(void *object, uint32_t count) \
    { \
        NOTE(kind); \
        NEXT(name)(object, count); \
    }

/* As in stdlib/public/SwiftShims and include/swift/Runtime/HeapObject.h; on x86-64 all are plain C functions. The runtime's own
 * hooks (_swift_retain and others) are of no use: of a small string's object they are given what is left behind its tag. */
COUNTED_POINTER(swift_retain, CULVERT_COUNT_RETAINS)
COUNTED_POINTER(swift_bridgeObjectRetain, CULVERT_COUNT_RETAINS)
COUNTED_POINTER(swift_unownedRetain, CULVERT_COUNT_RETAINS)
COUNTED_POINTER(swift_unownedRetainStrong, CULVERT_COUNT_RETAINS)
COUNTED_POINTER(swift_weakLoadStrong, CULVERT_COUNT_RETAINS)
COUNTED_POINTER_N(swift_retain_n, CULVERT_COUNT_RETAINS)
COUNTED_POINTER_N(swift_bridgeObjectRetain_n, CULVERT_COUNT_RETAINS)
COUNTED_VOID(swift_release, CULVERT_COUNT_RELEASES)
COUNTED_VOID(swift_bridgeObjectRelease, CULVERT_COUNT_RELEASES)
COUNTED_VOID(swift_unownedRelease, CULVERT_COUNT_RELEASES)
COUNTED_VOID_N(swift_release_n, CULVERT_COUNT_RELEASES)
COUNTED_VOID_N(swift_bridgeObjectRelease_n, CULVERT_COUNT_RELEASES)

EXPORTED void *swift_allocObject(void *metadata, size_t size, size_t alignment_mask)
{
    NOTE(CULVERT_COUNT_OBJECTS);
    return NEXT(swift_allocObject)(metadata, size, alignment_mask);
}

EXPORTED void swift_beginAccess(void *pointer, void *buffer, uintptr_t flags, void *pc)
{
    NOTE(CULVERT_COUNT_ACCESSES);
    NEXT(swift_beginAccess)(pointer, buffer, flags, pc);
}

bool culvert_counting_install(void)
{
    /* A runtime that is linked statically has no next one. */
    return NEXT(swift_retain) != NULL && NEXT(swift_beginAccess) != NULL && find_stack();
}

/* glibc's allocator under the names that it keeps for those who stand before it. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

EXPORTED void *malloc(size_t size)
{
    NOTE(CULVERT_COUNT_ALLOCATIONS);
    return __libc_malloc(size);
}

EXPORTED void *calloc(size_t count, size_t size)
{
    NOTE(CULVERT_COUNT_ALLOCATIONS);
    return __libc_calloc(count, size);
}

EXPORTED void *realloc(void *memory, size_t size)
{
    NOTE(CULVERT_COUNT_ALLOCATIONS);
    return __libc_realloc(memory, size);
}

EXPORTED void *memalign(size_t alignment, size_t size)
{
    NOTE(CULVERT_COUNT_ALLOCATIONS);
    return __libc_memalign(alignment, size);
}

EXPORTED void *aligned_alloc(size_t alignment, size_t size)
{
    NOTE(CULVERT_COUNT_ALLOCATIONS);
    return __libc_memalign(alignment, size);
}

EXPORTED int posix_memalign(void **memory, size_t alignment, size_t size)
{
    NOTE(CULVERT_COUNT_ALLOCATIONS);
    if (alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0 || alignment == 0)
        return EINVAL;
    void *result = __libc_memalign(alignment, size);
    if (result == NULL)
        return ENOMEM;
    *memory = result;
    return 0;
}

#endif
