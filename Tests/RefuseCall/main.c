// Runs a program whose kernel refuses one system call, where one of its arguments has a certain value (seccomp(2)): faults that no
// user can cause, in a program that knows nothing of them. It needs no rights.
//
// usage: refuse-call NUMBER ERRNO ARGUMENT VALUE PROGRAM [ARGUMENTS]
//
// NUMBER is the system call's, ARGUMENT the place of its argument, from 0.

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/// The place of the lower half of an argument.
static uint32_t place_of_argument(uint32_t argument) {
    uint32_t place = (uint32_t)(offsetof(struct seccomp_data, args) + argument * sizeof(uint64_t));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    place += sizeof(uint32_t);
#endif
    return place;
}

int main(int count, char **arguments) {
    if (count < 6) {
        fprintf(stderr, "usage: %s NUMBER ERRNO ARGUMENT VALUE PROGRAM [ARGUMENTS]\n", arguments[0]);
        return 64;
    }
    uint32_t values[4];
    for (int index = 0; index < 4; index++) values[index] = (uint32_t)strtoul(arguments[index + 1], NULL, 10);
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, values[0], 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, place_of_argument(values[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, values[3], 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (values[1] & SECCOMP_RET_DATA)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof instructions / sizeof *instructions, instructions};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0) {
        fprintf(stderr, "%s: seccomp: %s\n", arguments[0], strerror(errno));
        return 71;
    }
    execvp(arguments[5], arguments + 5);
    fprintf(stderr, "%s: %s: %s\n", arguments[0], arguments[5], strerror(errno));
    return 71;
}
