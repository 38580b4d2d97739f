#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace gapferry {

/// How a process ended: by itself with a code, or by a signal.
struct ProcessEnd {
  int code = 0;
  int signal = 0;  ///< 0: ended by itself
};

/// A program that runs for us, in a session of its own, with its stdout and stderr read line by
/// line. It inherits no descriptor but these (stdin is /dev/null), and no blocked or ignored
/// signal. The kernel kills it when the thread that started it ends, so that thread must wait for
/// it: a child never outlives the process that started it. Owned by that thread.
class ChildProcess {
 public:
  struct Options {
    std::filesystem::path program;
    std::vector<std::string> arguments;  ///< the first is the name it sees
    std::vector<std::pair<std::string, std::string>> environment;  ///< added to ours
  };
  enum class Stream { kStdout, kStderr };
  /// A line without its end; longer ones than 64 KiB come in pieces.
  using LineHandler = std::function<void(Stream, std::string_view)>;

  /// Fails with kNotFound or kInternal when the program cannot be started.
  static Result<ChildProcess> Start(const Options& options);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  /// Kills it and waits when it still runs.
  ~ChildProcess();

  const std::string& name() const { return name_; }  ///< base/process.h

  /// Hands on the lines that come within `timeout`; returns the end, once the process and both
  /// streams are at theirs, after which nothing may be called any more.
  Result<std::optional<ProcessEnd>> Wait(std::chrono::milliseconds timeout,
                                         const LineHandler& line);
  void Signal(int signal);

 private:
  struct Pipe {
    int fd = -1;
    std::string pending;
  };
  ChildProcess(pid_t pid, int out, int err);
  void ReadFrom(Pipe& pipe, Stream stream, const LineHandler& line);

  pid_t pid_ = -1;
  std::string name_;
  Pipe out_;
  Pipe err_;
};

/// "segmentation fault", "killed", "signal 42".
std::string SignalText(int signal);

}  // namespace gapferry
