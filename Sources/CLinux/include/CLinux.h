// The Linux system calls and message layouts that Swift cannot import by itself.
// _GNU_SOURCE must never be defined here: a public header with it disagrees with the other clang modules
// about the layout of fd_set and the like. What needs it lives in CLinux.c behind the declarations below.
// Every function that can fail answers a negative errno, so that nobody has to read errno afterwards.

#ifndef CULVERT_CLINUX_H
#define CULVERT_CLINUX_H

#include <netinet/in.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>

/// Bytes of ancillary data that one received or sent message needs at most.
#define CULVERT_CONTROL_BYTES 128

/// struct mmsghdr, which is visible with _GNU_SOURCE only.
typedef struct {
    struct msghdr header;
    unsigned int length;
} culvert_message;

/// An address and port in host order; IPv4 is IPv4-mapped.
typedef struct {
    uint64_t high;
    uint64_t low;
    uint32_t scope;
    uint16_t port;
} culvert_endpoint;

/// What the ancillary data of a received message said.
typedef struct {
    /// The local address to answer from, or :: when it is unknown or a group's.
    uint64_t destination_high;
    uint64_t destination_low;
    /// The size in bytes of the datagrams that UDP_GRO has put together, or 0 for one datagram.
    int segment_size;
} culvert_control;

/// recvmmsg(2) without blocking, repeated on EINTR: the number of messages, or a negative errno.
int culvert_receive(int descriptor, culvert_message *messages, unsigned int count);

/// sendmmsg(2) without blocking, repeated on EINTR: the number of messages, or a negative errno.
int culvert_send(int descriptor, culvert_message *messages, unsigned int count);

/// Writes a socket address for a socket of `family` and answers its length.
socklen_t culvert_encode_endpoint(struct sockaddr_in6 *storage, int family, culvert_endpoint endpoint);

/// Reads a socket address; false for a family other than IPv4 and IPv6.
bool culvert_decode_endpoint(const struct sockaddr_in6 *storage, culvert_endpoint *endpoint);

/// Reads the ancillary data of a received message.
culvert_control culvert_read_control(const culvert_message *message);

/// Writes the source address of a message at `control` and answers the bytes used.
size_t culvert_write_source(void *control, uint64_t high, uint64_t low);

/// Writes the UDP_SEGMENT size of a message at `control` and answers the bytes used.
size_t culvert_write_segment_size(void *control, uint16_t size);

/// What ICMP, or the local interface, said of a datagram that was sent.
typedef struct {
    /// Where it was going.
    culvert_endpoint destination;
    /// The errno.
    int error;
    /// With EMSGSIZE, the largest IP packet that would have gone on; otherwise 0.
    uint32_t packet_size;
} culvert_path_error;

/// Takes the oldest entry of a socket's error queue: 1, 0 when there is none, or a negative errno.
int culvert_next_path_error(int descriptor, culvert_path_error *error);

/// Has ICMP errors queued (IP_RECVERR), in both families for an IPv6 socket: 0 or a negative errno.
int culvert_queue_path_errors(int descriptor, int family);

/// Sets IP_MTU_DISCOVER, and IPV6_MTU_DISCOVER for an IPv6 socket: 0 or a negative errno.
int culvert_set_path_mtu_discovery(int descriptor, int family, int value);

/// Sets IPV6_MTU: the most bytes of an IPv6 packet, or fragment, that the socket sends; 0 for no such limit. 0 or a negative errno.
int culvert_set_fragment_size(int descriptor, int size);

/// epoll_pwait2(2) with a timeout in nanoseconds, negative for none; -ENOSYS before Linux 5.11.
int culvert_epoll_wait(int descriptor, struct epoll_event *events, int count, int64_t nanoseconds);

/// The number of CPUs this process may run on, or 0 when the kernel does not say.
int culvert_available_cpus(void);

/// Names a thread; what is longer than 15 bytes is cut.
void culvert_name_thread(pthread_t thread, const char *name);

/// Writes the text of an errno, always terminated.
void culvert_error_text(int error, char *text, size_t capacity);

/// The size of a terminal in characters: 0 or a negative errno.
int culvert_terminal_size(int descriptor, uint16_t *columns, uint16_t *rows);

/// Writes a group's name, always terminated: 0, or a negative errno, -ENOENT where it has none.
int culvert_group_name(uint32_t group, char *name, size_t capacity);

#endif
