/* Preloaded into a process, shifts its wall clock by the nanoseconds that stand in a file, and leaves
 * the steady clock alone. Waits that end at a time of the wall clock, as librdkafka's do, end by the
 * shifted one, also where it is set while they last. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shift_ns;
static int (*wait_until)(cnd_t *, mtx_t *, const struct timespec *);

__attribute__((constructor)) static void open_shift(void) {
    wait_until = (int (*)(cnd_t *, mtx_t *, const struct timespec *))dlsym(RTLD_NEXT, "cnd_timedwait");
    const char *path = getenv("CLOCK_SHIFT");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) {
        return;
    }
    void *page = mmap(NULL, sizeof *shift_ns, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED) {
        shift_ns = page;
    }
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && shift_ns && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t nanos = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + *shift_ns;
        now->tv_sec = nanos / 1000000000;
        now->tv_nsec = nanos % 1000000000;
    }
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec shifted;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &shifted);
    now->tv_sec = shifted.tv_sec;
    now->tv_usec = shifted.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec shifted;
    clock_gettime(CLOCK_REALTIME, &shifted);
    if (now) {
        *now = shifted.tv_sec;
    }
    return shifted.tv_sec;
}

static int64_t nanos_of(const struct timespec *moment) {
    return (int64_t)moment->tv_sec * 1000000000 + moment->tv_nsec;
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    const int64_t look_every = 20000000;
    for (;;) {
        struct timespec now;
        syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
        int64_t left = nanos_of(until) - (shift_ns ? *shift_ns : 0) - nanos_of(&now);
        int is_last = left <= look_every;
        int64_t end = nanos_of(&now) + (is_last ? left : look_every);
        struct timespec slice = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
        int result = wait_until(condition, mutex, &slice);
        if (result != thrd_timedout || is_last) {
            return result;
        }
    }
}
