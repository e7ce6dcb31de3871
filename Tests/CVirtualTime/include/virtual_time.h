/*
 * Time for simulated handshakes: libssl reads its retransmission timer with gettimeofday, and by being in
 * the executable this one stands before the C library's. Only the thread that has set a time sees it.
 */
#ifndef CULVERT_VIRTUAL_TIME_H
#define CULVERT_VIRTUAL_TIME_H

#include <stdint.h>

/* From now on gettimeofday answers `nanoseconds` since 1970 to this thread. */
void culvert_virtual_time_set(int64_t nanoseconds);

/* From now on gettimeofday answers the real time to this thread. */
void culvert_virtual_time_clear(void);

#endif
