#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <utility>

#include "base/clock.h"
#include "base/guarded.h"
#include "base/text.h"

namespace gapferry {
namespace {

std::atomic<LogLevel> g_level = LogLevel::kWarning;

Guarded<std::string>& Job() {
  static Guarded<std::string> job;
  return job;
}

std::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return "trace";
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

void AppendValue(std::string& line, std::string_view value) {
  const bool plain = !value.empty() && value.find_first_of(" \"\\=\t\r\n") == value.npos;
  if (plain) {
    line += EscapeForDisplay(value, 2000);
    return;
  }
  line += '"';
  line += EscapeForDisplay(value, 2000);
  line += '"';
}

}  // namespace

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  if (level < g_level.load(std::memory_order_relaxed)) return;
  std::string line = "time=" + SystemClock().Now().ToMilliseconds() + " level=";
  line += LevelName(level);
  if (auto job = Job().Lock(); !job->empty()) {
    line += " job=";
    AppendValue(line, *job);
  }
  line += " msg=\"" + EscapeForDisplay(message, 2000) + '"';
  for (const LogField& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    AppendValue(line, field.value);
  }
  line += '\n';
  // One write per line keeps lines of several threads and processes apart.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

void SetLogLevel(LogLevel level) { g_level.store(level, std::memory_order_relaxed); }
void SetLogJob(std::string job) { *Job().Lock() = std::move(job); }

}  // namespace gapferry
