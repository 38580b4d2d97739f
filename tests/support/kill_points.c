/* LD_PRELOAD library that counts the calls by which a process changes files and, at the N-th one,
 * ends the process as a power switch would, or lets that one call fail.
 *
 *   GAPFERRY_KILL_AT=N        the call to act on, from 1; 0 or unset only counts
 *   GAPFERRY_KILL_HOW=HOW     kill   SIGKILL before the call (default)
 *                             torn   SIGKILL after half of a write was done
 *                             enospc, eio   the call fails once with this error
 *   GAPFERRY_KILL_COUNT=FILE  where the number of calls is written when the process ends by itself
 *   GAPFERRY_KILL_TRACE=FILE  gets a line "N call path" for every call
 *   GAPFERRY_CONNECT_LOG=FILE gets a line for every connect() and every look-up of a name
 *
 * Counted are write, pwrite, writev, pwritev, copy_file_range and ftruncate on regular files,
 * fsync, fdatasync, syncfs, fallocate, rename, link, unlink, mkdir, rmdir and open with O_CREAT or
 * O_TRUNC. The notes in job.lock are left out. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static atomic_ulong calls;

static unsigned long kill_at(void) {
  static atomic_ulong cached = (unsigned long)-1;
  unsigned long value = atomic_load(&cached);
  if (value == (unsigned long)-1) {
    const char* text = getenv("GAPFERRY_KILL_AT");
    value = text != NULL ? strtoul(text, NULL, 10) : 0;
    atomic_store(&cached, value);
  }
  return value;
}

/* Raw system calls below: our own files are not counted and cannot recurse. */
static void append_line(const char* variable, const char* line) {
  const char* path = getenv(variable);
  if (path == NULL) return;
  const int fd =
      (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return;
  syscall(SYS_write, fd, line, strlen(line));
  syscall(SYS_close, fd);
}

static void trace(unsigned long number, const char* call, int fd, const char* path) {
  if (getenv("GAPFERRY_KILL_TRACE") == NULL) return;
  char target[4096] = "";
  if (path == NULL) {
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    const long length = syscall(SYS_readlinkat, AT_FDCWD, link, target, sizeof(target) - 1);
    target[length > 0 ? length : 0] = 0;
    path = target;
  }
  char line[4300];
  snprintf(line, sizeof(line), "%lu %s %s\n", number, call, path);
  append_line("GAPFERRY_KILL_TRACE", line);
}

static void die(void) {
  syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
  for (;;) syscall(SYS_pause);
}

enum verdict { go_on, fail, tear };

/* Counts one call. On `fail`, errno is set and the caller returns -1; on `tear` the caller does
 * half of its write and calls die. */
static enum verdict point(const char* call, int fd, const char* path) {
  const unsigned long number = atomic_fetch_add(&calls, 1) + 1;
  trace(number, call, fd, path);
  if (number != kill_at()) return go_on;
  const char* how = getenv("GAPFERRY_KILL_HOW");
  if (how == NULL || strcmp(how, "kill") == 0) die();
  if (strcmp(how, "torn") == 0) {
    if (strstr(call, "write") == NULL) die();
    return tear;
  }
  errno = strcmp(how, "enospc") == 0 ? ENOSPC : EIO;
  return fail;
}

/* What a job tells others about its progress, once a second: not state, and as many calls as the
 * machine is slow, so that counting them would move all other points. */
static int is_job_lock(int fd) {
  char link[64];
  char target[4096];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const long length = syscall(SYS_readlinkat, AT_FDCWD, link, target, sizeof(target) - 1);
  if (length <= 0) return 0;
  target[length] = 0;
  const char* name = strrchr(target, '/');
  return name != NULL && strcmp(name, "/job.lock") == 0;
}

static int is_regular(int fd) {
  const int saved = errno;
  struct stat status;
  const int regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && !is_job_lock(fd);
  errno = saved;
  return regular;
}

__attribute__((destructor)) static void write_count(void) {
  char line[32];
  snprintf(line, sizeof(line), "%lu\n", atomic_load(&calls));
  append_line("GAPFERRY_KILL_COUNT", line);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void* data, size_t size) {
  if (is_regular(fd)) {
    const enum verdict verdict = point("write", fd, NULL);
    if (verdict == fail) return -1;
    if (verdict == tear) {
      syscall(SYS_write, fd, data, size / 2);
      die();
    }
  }
  return syscall(SYS_write, fd, data, size);
}

ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) {
  if (is_regular(fd)) {
    const enum verdict verdict = point("pwrite", fd, NULL);
    if (verdict == fail) return -1;
    if (verdict == tear) {
      syscall(SYS_pwrite64, fd, data, size / 2, offset);
      die();
    }
  }
  return syscall(SYS_pwrite64, fd, data, size, offset);
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  return pwrite64(fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec* parts, int count) {
  if (is_regular(fd) && point("writev", fd, NULL) != go_on) return -1;
  return NEXT(writev)(fd, parts, count);
}

ssize_t pwritev(int fd, const struct iovec* parts, int count, off_t offset) {
  if (is_regular(fd) && point("pwritev", fd, NULL) != go_on) return -1;
  return NEXT(pwritev)(fd, parts, count, offset);
}

ssize_t copy_file_range(int from, off64_t* from_offset, int to, off64_t* to_offset, size_t size,
                        unsigned flags) {
  if (is_regular(to) && point("copy_file_range", to, NULL) != go_on) return -1;
  return NEXT(copy_file_range)(from, from_offset, to, to_offset, size, flags);
}

int ftruncate64(int fd, off64_t size) {
  if (is_regular(fd) && point("ftruncate", fd, NULL) != go_on) return -1;
  return NEXT(ftruncate64)(fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int fallocate64(int fd, int mode, off64_t offset, off64_t size) {
  if (point("fallocate", fd, NULL) != go_on) return -1;
  return NEXT(fallocate64)(fd, mode, offset, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
  return fallocate64(fd, mode, offset, size);
}

int fsync(int fd) {
  if (point("fsync", fd, NULL) != go_on) return -1;
  return NEXT(fsync)(fd);
}

int fdatasync(int fd) {
  if (point("fdatasync", fd, NULL) != go_on) return -1;
  return NEXT(fdatasync)(fd);
}

int syncfs(int fd) {
  if (point("syncfs", fd, NULL) != go_on) return -1;
  return NEXT(syncfs)(fd);
}

int rename(const char* from, const char* to) {
  if (point("rename", -1, to) != go_on) return -1;
  return NEXT(rename)(from, to);
}

int renameat(int from_dir, const char* from, int to_dir, const char* to) {
  if (point("rename", -1, to) != go_on) return -1;
  return NEXT(renameat)(from_dir, from, to_dir, to);
}

int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
  if (point("rename", -1, to) != go_on) return -1;
  return NEXT(renameat2)(from_dir, from, to_dir, to, flags);
}

int link(const char* from, const char* to) {
  if (point("link", -1, to) != go_on) return -1;
  return NEXT(link)(from, to);
}

int unlink(const char* path) {
  if (point("unlink", -1, path) != go_on) return -1;
  return NEXT(unlink)(path);
}

int unlinkat(int dir, const char* path, int flags) {
  if (point("unlink", -1, path) != go_on) return -1;
  return NEXT(unlinkat)(dir, path, flags);
}

int rmdir(const char* path) {
  if (point("rmdir", -1, path) != go_on) return -1;
  return NEXT(rmdir)(path);
}

int mkdir(const char* path, mode_t mode) {
  if (point("mkdir", -1, path) != go_on) return -1;
  return NEXT(mkdir)(path, mode);
}

static int open_counted(int dir, const char* path, int flags, mode_t mode) {
  if ((flags & (O_CREAT | O_TRUNC)) != 0 && point("open", -1, path) != go_on) return -1;
  return (int)syscall(SYS_openat, dir, path, flags | O_LARGEFILE, mode);
}

#define MODE_ARGUMENT(mode, flags)              \
  mode_t mode = 0;                              \
  if (((flags) & (O_CREAT | O_TMPFILE)) != 0) { \
    va_list rest;                               \
    va_start(rest, flags);                      \
    mode = va_arg(rest, mode_t);                \
    va_end(rest);                               \
  }

int open(const char* path, int flags, ...) {
  MODE_ARGUMENT(mode, flags)
  return open_counted(AT_FDCWD, path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  MODE_ARGUMENT(mode, flags)
  return open_counted(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char* path, int flags, ...) {
  MODE_ARGUMENT(mode, flags)
  return open_counted(dir, path, flags, mode);
}

int openat64(int dir, const char* path, int flags, ...) {
  MODE_ARGUMENT(mode, flags)
  return open_counted(dir, path, flags, mode);
}

static void log_address(const struct sockaddr* address) {
  char text[128] = "";
  char line[200];
  if (address->sa_family == AF_INET) {
    const struct sockaddr_in* in = (const struct sockaddr_in*)address;
    inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
  } else if (address->sa_family == AF_INET6) {
    const struct sockaddr_in6* in = (const struct sockaddr_in6*)address;
    inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof(text));
  } else if (address->sa_family == AF_UNIX) {
    snprintf(text, sizeof(text), "unix:%.100s", ((const struct sockaddr_un*)address)->sun_path);
  } else {
    snprintf(text, sizeof(text), "family %d", address->sa_family);
  }
  snprintf(line, sizeof(line), "connect %s\n", text);
  append_line("GAPFERRY_CONNECT_LOG", line);
}

int connect(int fd, const struct sockaddr* address, socklen_t size) {
  log_address(address);
  return NEXT(connect)(fd, address, size);
}

int getaddrinfo(const char* node, const char* service, const struct addrinfo* hints,
                struct addrinfo** result) {
  char line[300];
  snprintf(line, sizeof(line), "lookup %.250s\n", node != NULL ? node : "");
  append_line("GAPFERRY_CONNECT_LOG", line);
  return NEXT(getaddrinfo)(node, service, hints, result);
}
