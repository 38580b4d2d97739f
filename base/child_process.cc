#include "base/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>
#include <utility>

#include "base/process.h"

extern char** environ;  // NOLINT: POSIX declares it nowhere else

namespace gapferry {
namespace {

constexpr std::size_t kMaxLine = 64 << 10;
/// Between looks at a child that has closed its streams: mostly it ends at once.
constexpr std::chrono::milliseconds kNap{2};

/// A descriptor closed at the end of its scope unless it is taken.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { Close(); }
  void Close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void Set(int fd) {
    Close();
    fd_ = fd;
  }
  int get() const { return fd_; }
  int Take() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

struct PipeEnds {
  Fd read;
  Fd write;
};

Result<void> MakePipe(PipeEnds& ends) {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return FailErrno(errno, "cannot make a pipe");
  ends.read.Set(fds[0]);
  ends.write.Set(fds[1]);
  return {};
}

/// The strings of argv or envp with their array; made before the fork, since nothing may be
/// allocated after it.
class StringArray {
 public:
  explicit StringArray(std::vector<std::string> strings) : strings_(std::move(strings)) {
    for (std::string& text : strings_) pointers_.push_back(text.data());
    pointers_.push_back(nullptr);
  }
  char** data() { return pointers_.data(); }

 private:
  std::vector<std::string> strings_;
  std::vector<char*> pointers_;
};

std::vector<std::string> Environment(const ChildProcess::Options& options) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    bool replaced = false;
    for (const auto& [key, value] : options.environment) {
      replaced = replaced || text.starts_with(key + '=');
    }
    if (!replaced) all.emplace_back(text);
  }
  for (const auto& [key, value] : options.environment) all.push_back(key + '=' + value);
  return all;
}

struct ChildPlan {
  const char* program;
  char** arguments;
  char** environment;
  pid_t parent;
  int null_fd, out_fd, err_fd, report_fd;
};

/// Between fork and exec: async-signal-safe calls only.
[[noreturn]] void RunChild(const ChildPlan& plan) {
  const auto give_up = [&plan] {
    const int error = errno;
    [[maybe_unused]] const ssize_t told = ::write(plan.report_fd, &error, sizeof(error));
    ::_exit(127);
  };
  // Killed, not asked: work of ours may end at any instruction and goes on where it stopped.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) give_up();
  if (::getppid() != plan.parent) ::_exit(127);  // it was gone before the line above
  ::setsid();                                    // a Ctrl-C at our terminal is for us alone
  if (::dup2(plan.null_fd, 0) < 0 || ::dup2(plan.out_fd, 1) < 0 || ::dup2(plan.err_fd, 2) < 0) {
    give_up();
  }
  // The report stays until exec closes it; listening sockets and databases must not be shared.
  constexpr int kReport = 3;
  if (plan.report_fd != kReport && ::dup3(plan.report_fd, kReport, O_CLOEXEC) < 0) give_up();
  if (::syscall(SYS_close_range, kReport + 1, ~0U, 0) != 0) {
    constexpr int kMostDescriptors = 65'536;
    for (int fd = kReport + 1; fd < kMostDescriptors; ++fd) ::close(fd);
  }
  for (int number = 1; number < NSIG; ++number) std::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(plan.program, plan.arguments, plan.environment);
  const int error = errno;
  [[maybe_unused]] const ssize_t told = ::write(kReport, &error, sizeof(error));
  ::_exit(127);
}

/// The error that the child reported before exec; 0 when exec went well.
int ReadReport(int fd) {
  int error = 0;
  ssize_t count = 0;
  do {
    count = ::read(fd, &error, sizeof(error));
  } while (count < 0 && errno == EINTR);
  return count == sizeof(error) ? error : 0;
}

int Reap(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

Result<ChildProcess> ChildProcess::Start(const Options& options) {
  PipeEnds out;
  PipeEnds err;
  PipeEnds report;
  TRY(MakePipe(out));
  TRY(MakePipe(err));
  TRY(MakePipe(report));
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null.get() < 0) return FailErrno(errno, "cannot open /dev/null");
  StringArray arguments(options.arguments);
  StringArray environment(Environment(options));
  const std::string program = options.program.string();
  const ChildPlan plan{program.c_str(), arguments.data(), environment.data(), ::getpid(),
                       null.get(),      out.write.get(),  err.write.get(),    report.write.get()};
  const pid_t pid = ::fork();
  if (pid < 0) return FailErrno(errno, "cannot start '" + program + "'");
  if (pid == 0) RunChild(plan);
  out.write.Close();
  err.write.Close();
  report.write.Close();
  if (const int error = ReadReport(report.read.get()); error != 0) {
    Reap(pid);
    return FailErrno(error, "cannot start '" + program + "'");
  }
  return ChildProcess(pid, out.read.Take(), err.read.Take());
}

ChildProcess::ChildProcess(pid_t pid, int out, int err)
    : pid_(pid), name_(ProcessNamed(pid)), out_{out, {}}, err_{err, {}} {}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      name_(std::move(other.name_)),
      out_(std::exchange(other.out_, {})),
      err_(std::exchange(other.err_, {})) {}

ChildProcess::~ChildProcess() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    Reap(pid_);
  }
  for (const Pipe* pipe : {&out_, &err_}) {
    if (pipe->fd >= 0) ::close(pipe->fd);
  }
}

void ChildProcess::Signal(int signal) {
  if (pid_ > 0) ::kill(pid_, signal);  // not reaped yet, so the number is still its own
}

void ChildProcess::ReadFrom(Pipe& pipe, Stream stream, const LineHandler& line) {
  std::array<char, 16 << 10> buffer;
  const ssize_t count = ::read(pipe.fd, buffer.data(), buffer.size());
  if (count < 0 && errno == EINTR) return;
  if (count <= 0) {
    if (!pipe.pending.empty()) line(stream, std::exchange(pipe.pending, {}));
    ::close(std::exchange(pipe.fd, -1));
    return;
  }
  pipe.pending.append(buffer.data(), static_cast<std::size_t>(count));
  std::size_t begin = 0;
  for (;;) {
    const auto end = pipe.pending.find('\n', begin);
    if (end == std::string::npos) break;
    line(stream, std::string_view(pipe.pending).substr(begin, end - begin));
    begin = end + 1;
  }
  pipe.pending.erase(0, begin);
  if (pipe.pending.size() >= kMaxLine) line(stream, std::exchange(pipe.pending, {}));
}

Result<std::optional<ProcessEnd>> ChildProcess::Wait(std::chrono::milliseconds timeout,
                                                     const LineHandler& line) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  while (out_.fd >= 0 || err_.fd >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return std::optional<ProcessEnd>();
    std::array<pollfd, 2> wanted{{{out_.fd, POLLIN, 0}, {err_.fd, POLLIN, 0}}};
    if (::poll(wanted.data(), wanted.size(), static_cast<int>(left.count())) < 0 &&
        errno != EINTR) {
      return FailErrno(errno, "cannot wait for a child");
    }
    if (wanted[0].revents != 0) ReadFrom(out_, Stream::kStdout, line);
    if (wanted[1].revents != 0) ReadFrom(err_, Stream::kStderr, line);
  }
  // Both streams are closed: it has ended, is about to, or goes on in silence.
  int status = 0;
  for (;;) {
    const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
    if (ended == pid_ || (ended < 0 && errno != EINTR)) break;
    if (std::chrono::steady_clock::now() >= until) return std::optional<ProcessEnd>();
    std::this_thread::sleep_for(kNap);
  }
  pid_ = -1;
  ProcessEnd end;
  if (WIFSIGNALED(status)) {
    end.signal = WTERMSIG(status);
  } else {
    end.code = WEXITSTATUS(status);
  }
  return std::optional<ProcessEnd>(end);
}

std::string SignalText(int signal) {
  const char* text = ::sigdescr_np(signal);
  return text == nullptr ? "signal " + std::to_string(signal) : std::string(text);
}

}  // namespace gapferry
