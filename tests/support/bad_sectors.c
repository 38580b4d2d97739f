/* Preloaded: reading a stretch of one file fails with EIO, as a scratched disc does.
   GAPFERRY_BAD_SECTORS=NAME:FROM:TO names the end of the file's path and the first and the last
   byte (exclusive) that cannot be read. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_bad(int fd, off_t offset, size_t count) {
  const char* text = getenv("GAPFERRY_BAD_SECTORS");
  if (text == NULL) return 0;
  char link[64], path[4096], name[256];
  long long from = 0, to = 0;
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof(path) - 1);
  if (length <= 0) return 0;
  path[length] = '\0';
  if (sscanf(text, "%255[^:]:%lld:%lld", name, &from, &to) != 3) return 0;
  const size_t end = strlen(name);
  if ((size_t)length < end || strcmp(path + length - end, name) != 0) return 0;
  return offset < to && offset + (long long)count > from;
}

ssize_t pread64(int fd, void* out, size_t count, off_t offset) {
  static ssize_t (*real)(int, void*, size_t, off_t);
  if (real == NULL) real = (ssize_t(*)(int, void*, size_t, off_t))dlsym(RTLD_NEXT, "pread64");
  if (is_bad(fd, offset, count)) {
    errno = EIO;
    return -1;
  }
  return real(fd, out, count, offset);
}

ssize_t pread(int fd, void* out, size_t count, off_t offset) {
  return pread64(fd, out, count, offset);
}
