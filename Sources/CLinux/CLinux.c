// The other side of CLinux.h: the only file that is compiled with _GNU_SOURCE.

#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <grp.h>
#include <linux/errqueue.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(culvert_message) == sizeof(struct mmsghdr), "culvert_message is struct mmsghdr");
_Static_assert(offsetof(culvert_message, length) == offsetof(struct mmsghdr, msg_len), "same layout");
_Static_assert(CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo)) +
                       CMSG_SPACE(sizeof(int)) <= CULVERT_CONTROL_BYTES,
               "all that is asked for fits");

int culvert_receive(int descriptor, culvert_message *messages, unsigned int count) {
    int result;
    do {
        result = recvmmsg(descriptor, (struct mmsghdr *)messages, count, MSG_DONTWAIT, NULL);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

int culvert_send(int descriptor, culvert_message *messages, unsigned int count) {
    int result;
    do {
        result = sendmmsg(descriptor, (struct mmsghdr *)messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

// MARK: addresses

static uint64_t big_endian(uint64_t value) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return __builtin_bswap64(value);
#else
    return value;
#endif
}

static void write_address(struct in6_addr *address, uint64_t high, uint64_t low) {
    uint64_t halves[2] = {big_endian(high), big_endian(low)};
    memcpy(address, halves, sizeof halves);
}

static void read_address(const struct in6_addr *address, uint64_t *high, uint64_t *low) {
    uint64_t halves[2];
    memcpy(halves, address, sizeof halves);
    *high = big_endian(halves[0]);
    *low = big_endian(halves[1]);
}

static uint64_t mapped(struct in_addr address) {
    return UINT64_C(0xffff00000000) | ntohl(address.s_addr);
}

static bool is_mapped(uint64_t high, uint64_t low) {
    return high == 0 && low >> 32 == 0xffff;
}

static bool is_group(uint64_t high, uint64_t low) {
    if (is_mapped(high, low)) {
        uint32_t bits = (uint32_t)low;
        return bits >> 28 == 14 || bits == UINT32_MAX;
    }
    return high >> 56 == 0xff;
}

socklen_t culvert_encode_endpoint(struct sockaddr_in6 *storage, int family, culvert_endpoint endpoint) {
    memset(storage, 0, sizeof *storage);
    if (family == AF_INET && is_mapped(endpoint.high, endpoint.low)) {
        struct sockaddr_in address = {
            .sin_family = AF_INET,
            .sin_port = htons(endpoint.port),
            .sin_addr.s_addr = htonl((uint32_t)endpoint.low),
        };
        memcpy(storage, &address, sizeof address);
        return sizeof address;
    }
    // An IPv6 address on an IPv4 socket stays one: the kernel answers EAFNOSUPPORT, which says it best.
    storage->sin6_family = AF_INET6;
    storage->sin6_port = htons(endpoint.port);
    storage->sin6_scope_id = endpoint.scope;
    write_address(&storage->sin6_addr, endpoint.high, endpoint.low);
    return sizeof *storage;
}

bool culvert_decode_endpoint(const struct sockaddr_in6 *storage, culvert_endpoint *endpoint) {
    if (storage->sin6_family == AF_INET) {
        struct sockaddr_in address;
        memcpy(&address, storage, sizeof address);
        *endpoint = (culvert_endpoint){.low = mapped(address.sin_addr), .port = ntohs(address.sin_port)};
        return true;
    }
    if (storage->sin6_family != AF_INET6) return false;
    read_address(&storage->sin6_addr, &endpoint->high, &endpoint->low);
    endpoint->port = ntohs(storage->sin6_port);
    endpoint->scope = storage->sin6_scope_id;
    return true;
}

// MARK: ancillary data

culvert_control culvert_read_control(const culvert_message *message) {
    culvert_control result = {0};
    struct msghdr *header = (struct msghdr *)&message->header;
    bool is_ipv4 = false;
    for (struct cmsghdr *item = CMSG_FIRSTHDR(header); item != NULL; item = CMSG_NXTHDR(header, item)) {
        if (item->cmsg_level == SOL_UDP && item->cmsg_type == UDP_GRO) {
            memcpy(&result.segment_size, CMSG_DATA(item), sizeof result.segment_size);
        } else if (item->cmsg_level == IPPROTO_IPV6 && item->cmsg_type == IPV6_PKTINFO && !is_ipv4) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(item), sizeof info);
            read_address(&info.ipi6_addr, &result.destination_high, &result.destination_low);
        } else if (item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(item), sizeof info);
            // Unlike ipi_addr, and what IPV6_PKTINFO says of IPv4, this is an address of this host even for a broadcast.
            result.destination_high = 0;
            result.destination_low = mapped(info.ipi_spec_dst);
            is_ipv4 = true;
        }
    }
    if (is_group(result.destination_high, result.destination_low)) {
        result.destination_high = result.destination_low = 0;
    }
    return result;
}

static size_t write_item(void *control, int level, int type, const void *data, size_t size) {
    struct cmsghdr *item = control;
    memset(control, 0, CMSG_SPACE(size));
    item->cmsg_level = level;
    item->cmsg_type = type;
    item->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(item), data, size);
    return CMSG_SPACE(size);
}

size_t culvert_write_source(void *control, uint64_t high, uint64_t low) {
    if (is_mapped(high, low)) {
        struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl((uint32_t)low)};
        return write_item(control, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    }
    struct in6_pktinfo info = {0};
    write_address(&info.ipi6_addr, high, low);
    return write_item(control, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
}

size_t culvert_write_segment_size(void *control, uint16_t size) {
    return write_item(control, SOL_UDP, UDP_SEGMENT, &size, sizeof size);
}

// MARK: the path

static int set_both(int descriptor, int family, int option4, int option6, int value) {
    if (setsockopt(descriptor, IPPROTO_IP, option4, &value, sizeof value) < 0) return -errno;
    if (family != AF_INET6) return 0;
    return setsockopt(descriptor, IPPROTO_IPV6, option6, &value, sizeof value) < 0 ? -errno : 0;
}

int culvert_queue_path_errors(int descriptor, int family) {
    return set_both(descriptor, family, IP_RECVERR, IPV6_RECVERR, 1);
}

int culvert_set_path_mtu_discovery(int descriptor, int family, int value) {
    // IP_PMTUDISC_* and IPV6_PMTUDISC_* have the same values.
    return set_both(descriptor, family, IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, value);
}

int culvert_set_fragment_size(int descriptor, int size) {
    return setsockopt(descriptor, IPPROTO_IPV6, IPV6_MTU, &size, sizeof size) == 0 ? 0 : -errno;
}

int culvert_next_path_error(int descriptor, culvert_path_error *error) {
    struct sockaddr_in6 name = {0};
    unsigned char control[256];
    struct iovec nothing = {0};
    struct msghdr header = {
        .msg_name = &name,
        .msg_namelen = sizeof name,
        .msg_iov = &nothing,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    ssize_t result;
    do {
        result = recvmsg(descriptor, &header, MSG_ERRQUEUE | MSG_DONTWAIT);
    } while (result < 0 && errno == EINTR);
    if (result < 0) return errno == EAGAIN ? 0 : -errno;
    memset(error, 0, sizeof *error);
    culvert_decode_endpoint(&name, &error->destination);
    for (struct cmsghdr *item = CMSG_FIRSTHDR(&header); item != NULL; item = CMSG_NXTHDR(&header, item)) {
        bool is4 = item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_RECVERR;
        bool is6 = item->cmsg_level == IPPROTO_IPV6 && item->cmsg_type == IPV6_RECVERR;
        if (!is4 && !is6) continue;
        struct sock_extended_err detail;
        memcpy(&detail, CMSG_DATA(item), sizeof detail);
        error->error = (int)detail.ee_errno;
        if (detail.ee_errno == EMSGSIZE) error->packet_size = detail.ee_info;
    }
    return 1;
}

// MARK: the rest

int culvert_epoll_wait(int descriptor, struct epoll_event *events, int count, int64_t nanoseconds) {
    struct timespec timeout = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    // glibc has the function since 2.35 only, and the kernel may be older than glibc.
    long result = syscall(SYS_epoll_pwait2, descriptor, events, count, nanoseconds < 0 ? NULL : &timeout, NULL, 0);
    return result < 0 ? -errno : (int)result;
}

int culvert_available_cpus(void) {
    // More than CPU_SETSIZE CPUs need a larger set; the kernel says so by EINVAL.
    for (int cpus = CPU_SETSIZE; cpus <= 1 << 16; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (set == NULL) return 0;
        int result = sched_getaffinity(0, CPU_ALLOC_SIZE(cpus), set);
        int count = result == 0 ? CPU_COUNT_S(CPU_ALLOC_SIZE(cpus), set) : 0;
        CPU_FREE(set);
        if (result == 0) return count;
        if (errno != EINVAL) return 0;
    }
    return 0;
}

void culvert_name_thread(pthread_t thread, const char *name) {
    char cut[16];
    snprintf(cut, sizeof cut, "%s", name);
    pthread_setname_np(thread, cut);
}

void culvert_error_text(int error, char *text, size_t capacity) {
    char scratch[128];
    snprintf(text, capacity, "%s", strerror_r(error, scratch, sizeof scratch));
}

int culvert_terminal_size(int descriptor, uint16_t *columns, uint16_t *rows) {
    struct winsize size = {0};
    if (ioctl(descriptor, TIOCGWINSZ, &size) < 0) return -errno;
    *columns = size.ws_col;
    *rows = size.ws_row;
    return 0;
}

int culvert_group_name(uint32_t group, char *name, size_t capacity) {
    struct group entry, *found = NULL;
    // Large enough for a group of many members; who has more is named by number.
    char members[16384];
    name[0] = 0;
    int result = getgrgid_r(group, &entry, members, sizeof members, &found);
    if (result != 0) return -result;
    if (found == NULL) return -ENOENT;
    snprintf(name, capacity, "%s", entry.gr_name);
    return 0;
}
