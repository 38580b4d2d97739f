#include "base/process.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <iterator>
#include <optional>

#include "base/text.h"

namespace gapferry {
namespace {

std::string ReadSmall(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Field 22 of /proc/PID/stat; nothing for a process that is gone or only waits to be reaped.
std::optional<std::string> StartTicks(int pid) {
  const std::string stat = ReadSmall("/proc/" + std::to_string(pid) + "/stat");
  const auto name_end = stat.rfind(')');  // the name may hold blanks and parentheses
  if (name_end == std::string::npos || name_end + 2 >= stat.size()) return std::nullopt;
  constexpr std::size_t kStateField = 3;
  constexpr std::size_t kStartField = 22;
  const auto fields = Split(std::string_view(stat).substr(name_end + 2), ' ');
  if (fields.size() <= kStartField - kStateField) return std::nullopt;
  if (fields[0] == "Z" || fields[0] == "X") return std::nullopt;
  return std::string(fields[kStartField - kStateField]);
}

std::string BootId() {
  return std::string(TrimAscii(ReadSmall("/proc/sys/kernel/random/boot_id")));
}

/// A descriptor that stands for the process, whatever becomes of its number.
class PidFd {
 public:
  explicit PidFd(int pid) : fd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {}
  PidFd(const PidFd&) = delete;
  PidFd& operator=(const PidFd&) = delete;
  ~PidFd() {
    if (fd_ >= 0) ::close(fd_);
  }
  bool is_open() const { return fd_ >= 0; }
  bool Send(int signal) const {
    return ::syscall(SYS_pidfd_send_signal, fd_, signal, nullptr, 0) == 0;
  }

 private:
  int fd_;
};

std::unexpected<Error> Gone(int pid) {
  return Fail(ErrorCode::kNotFound, "process-gone",
              "process " + std::to_string(pid) + " has ended");
}

}  // namespace

std::string ProcessNamed(int pid) {
  const auto start = StartTicks(pid);
  if (!start) return {};
  return std::to_string(pid) + '/' + *start + '/' + BootId();
}

std::string ThisProcess() { return ProcessNamed(::getpid()); }

int ProcessNumber(std::string_view process) {
  const auto pid = ParseInt<int>(process.substr(0, process.find('/')));
  return pid && *pid > 0 ? *pid : 0;
}

bool IsRunning(std::string_view process) {
  const int pid = ProcessNumber(process);
  return pid > 0 && ProcessNamed(pid) == process;
}

Result<void> SignalProcess(std::string_view process, int signal) {
  const int pid = ProcessNumber(process);
  if (pid == 0) {
    return Fail(ErrorCode::kUsage, "'" + EscapeForDisplay(process) + "' names no process");
  }
  const PidFd handle(pid);
  const int error = errno;
  // Opened first, compared second: from here on the handle cannot mean another process.
  if (!IsRunning(process)) return Gone(pid);
  if (!handle.is_open()) return FailErrno(error, "cannot reach process " + std::to_string(pid));
  struct stat owner {};
  const std::string folder = "/proc/" + std::to_string(pid);
  if (::stat(folder.c_str(), &owner) == 0 && owner.st_uid != ::geteuid()) {
    return Fail(ErrorCode::kUntrusted, "other-user",
                "process " + std::to_string(pid) + " belongs to another user");
  }
  if (handle.Send(signal)) return {};
  if (errno == ESRCH) return Gone(pid);
  return FailErrno(errno, "cannot signal process " + std::to_string(pid));
}

}  // namespace gapferry
