/*
 * Counts what must not happen for each datagram: memory taken, references counted, accesses checked for exclusivity.
 * Works by being in the executable: its malloc, swift_retain and so on stand before the libraries' own. What the Swift runtime
 * calls of its own within itself is not seen. Needs x86-64, glibc and a dynamically linked runtime; for programs with one thread.
 */
#ifndef CULVERT_COUNTING_H
#define CULVERT_COUNTING_H

#include <stdbool.h>
#include <stdint.h>

/* What is counted. */
enum culvert_count {
    /* malloc, calloc, realloc and aligned forms, whoever calls them: Swift's objects and buffers, and OpenSSL. */
    CULVERT_COUNT_ALLOCATIONS,
    /* swift_allocObject, each of which is an allocation too. */
    CULVERT_COUNT_OBJECTS,
    /* swift_retain, swift_bridgeObjectRetain and their like; swift_retain_n counts once. */
    CULVERT_COUNT_RETAINS,
    /* swift_release and its like. */
    CULVERT_COUNT_RELEASES,
    /* swift_beginAccess. */
    CULVERT_COUNT_ACCESSES,
    CULVERT_COUNTS
};

enum {
    /* How many things can be counted apart. */
    CULVERT_COUNT_STEPS = 16
};

/* One place in the executable's code, and how often it has led to a count. */
struct culvert_count_site {
    uint32_t step;
    enum culvert_count kind;
    /* The return address, as the executable's own symbols have it. */
    uint64_t address;
    uint64_t count;
};

/* Gets ready. False where this build of the program cannot count. */
bool culvert_counting_install(void);

/* Counts from now on, on top of what has been counted for this step; with `sites`, notes where from too, which is slow. */
void culvert_counting_begin(uint32_t step, bool sites);

/* Stops counting. */
void culvert_counting_end(void);

/* Forgets everything that has been counted. */
void culvert_counting_reset(void);

/* How often it has happened in a step. */
uint64_t culvert_counting_value(uint32_t step, enum culvert_count kind);

/* The site number `index`, in no order; false behind the last one. */
bool culvert_counting_site(uint32_t index, struct culvert_count_site *site);

#endif
