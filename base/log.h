#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

namespace gapferry {

enum class LogLevel { kTrace, kDebug, kInfo, kWarning, kError };

/// One key=value of a log line. Strings are quoted and escaped when they need it; never pass keys,
/// passwords, tokens or whole bodies.
struct LogField {
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(v) {}
  template <class T>
  requires std::is_integral_v<T> LogField(std::string_view k, T v)
      : key(k), value(std::to_string(v)) {}

  std::string_view key;
  std::string value;
};

/// Writes one line to stderr: time=... level=... [job=...] msg="..." key=value ...
/// Thread-safe. Lines below the level set by SetLogLevel (default: warning) cost a comparison.
void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});
void SetLogLevel(LogLevel level);
/// Put on every line of this process from now on, such as "import-7"; empty for none.
void SetLogJob(std::string job);

}  // namespace gapferry
