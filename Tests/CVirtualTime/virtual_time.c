#define _GNU_SOURCE
#include "virtual_time.h"

#include <sys/time.h>
#include <time.h>

static _Thread_local int64_t virtual_nanoseconds;
static _Thread_local int is_virtual;

void culvert_virtual_time_set(int64_t nanoseconds)
{
    virtual_nanoseconds = nanoseconds;
    is_virtual = 1;
}

void culvert_virtual_time_clear(void)
{
    is_virtual = 0;
}

__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    (void)zone;
    struct timespec real;
    if (is_virtual) {
        now->tv_sec = virtual_nanoseconds / 1000000000;
        now->tv_usec = virtual_nanoseconds % 1000000000 / 1000;
        return 0;
    }
    if (clock_gettime(CLOCK_REALTIME, &real) != 0)
        return -1;
    now->tv_sec = real.tv_sec;
    now->tv_usec = real.tv_nsec / 1000;
    return 0;
}
