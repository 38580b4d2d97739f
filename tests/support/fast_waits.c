/* LD_PRELOAD library that lets a process wait for minutes in no time and writes down how long it
 * would have waited.
 *
 *   GAPFERRY_WAIT_LOG=FILE   gets a line "SECONDS" for every wait that was shortened
 *   GAPFERRY_FAST_POLL=1     poll() that waits in vain is shortened too, and not written down: for
 *                            peers that send nothing. Only where the peer never needs real time.
 *
 * Shortened are waits of 0.4 s and more (the shortest wait before a retry is 0.5 s, of which some
 * passes before we see it): pthread_cond_clockwait on the monotonic clock, nanosleep,
 * clock_nanosleep, usleep, sleep. Each takes 5 ms; then the clocks of this thread alone
 * (CLOCK_MONOTONIC and its kin) stand where they would stand after the wait. CLOCK_REALTIME stays
 * as it is: it is shared with files and peers. A wait that is woken up is not written down. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const long long kSecond = 1000000000LL;
static const long long kLongWait = 400000000LL; /* shorter ones are left alone */
static const long long kRealWait = 5000000LL;

static __thread long long skipped; /* ns that this thread's monotonic clock is ahead */

static long long raw_now(clockid_t clock) {
  struct timespec now;
  syscall(SYS_clock_gettime, clock, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

static int is_monotonic(clockid_t clock) {
  return clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_RAW ||
         clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_BOOTTIME;
}

static struct timespec to_timespec(long long ns) {
  const struct timespec time = {ns / kSecond, ns % kSecond};
  return time;
}

static long long to_ns(const struct timespec* time) {
  return time->tv_sec * kSecond + time->tv_nsec;
}

static void write_down(long long ns) {
  const char* path = getenv("GAPFERRY_WAIT_LOG");
  if (path == NULL) return;
  const int fd =
      (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return;
  char line[40];
  snprintf(line, sizeof(line), "%lld.%03lld\n", ns / kSecond, ns % kSecond / 1000000);
  syscall(SYS_write, fd, line, strlen(line));
  syscall(SYS_close, fd);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int clock_gettime(clockid_t clock, struct timespec* now) {
  const int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && skipped != 0 && is_monotonic(clock)) {
    *now = to_timespec(to_ns(now) + skipped);
  }
  return result;
}

/* `until` is as this thread sees the clock. */
int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                           const struct timespec* until) {
  static int (*clockwait)(pthread_cond_t*, pthread_mutex_t*, clockid_t, const struct timespec*);
  if (clockwait == NULL) clockwait = NEXT(pthread_cond_clockwait);
  const long long ahead = is_monotonic(clock) ? skipped : 0;
  const long long now = raw_now(clock);
  const long long wait = to_ns(until) - ahead - now;
  if (wait < kLongWait || !is_monotonic(clock)) {
    const struct timespec real = to_timespec(to_ns(until) - ahead);
    return clockwait(condition, mutex, clock, &real);
  }
  const struct timespec soon = to_timespec(now + kRealWait);
  const int result = clockwait(condition, mutex, clock, &soon);
  if (result == ETIMEDOUT) {
    skipped += wait - kRealWait;
    write_down(wait);
  }
  return result;
}

static int sleep_for(long long ns) {
  const struct timespec real = to_timespec(ns < kLongWait ? ns : kRealWait);
  if (ns >= kLongWait) {
    skipped += ns - kRealWait;
    write_down(ns);
  }
  return (int)syscall(SYS_nanosleep, &real, NULL);
}

int nanosleep(const struct timespec* time, struct timespec* rest) {
  if (rest != NULL) *rest = to_timespec(0);
  return sleep_for(to_ns(time));
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec* time,
                    struct timespec* rest) {
  if (rest != NULL) *rest = to_timespec(0);
  long long ns = to_ns(time);
  if ((flags & TIMER_ABSTIME) != 0) ns -= raw_now(clock) + (is_monotonic(clock) ? skipped : 0);
  return ns <= 0 || sleep_for(ns) == 0 ? 0 : errno;
}

int usleep(useconds_t microseconds) { return sleep_for(microseconds * 1000LL); }

unsigned sleep(unsigned seconds) {
  sleep_for(seconds * kSecond);
  return 0;
}

static int poll_fast(struct pollfd* fds, nfds_t count, int timeout_ms) {
  static int (*real)(struct pollfd*, nfds_t, int);
  if (real == NULL) real = NEXT(poll);
  if (timeout_ms < 100 || getenv("GAPFERRY_FAST_POLL") == NULL) {
    return real(fds, count, timeout_ms);
  }
  const int short_ms = timeout_ms / 100;
  const int result = real(fds, count, short_ms);
  if (result == 0) skipped += (timeout_ms - short_ms) * 1000000LL;
  return result;
}

int poll(struct pollfd* fds, nfds_t count, int timeout_ms) {
  return poll_fast(fds, count, timeout_ms);
}

int __poll_chk(struct pollfd* fds, nfds_t count, int timeout_ms, size_t size) {
  (void)size;
  return poll_fast(fds, count, timeout_ms);
}
