#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/progress.h"
#include "base/result.h"
#include "mirror/config.h"

namespace gapferry::importer {

/// A staged file on its way to the scanner.
struct ScanItem {
  std::string name;  ///< of the object in the bundle, for messages
  std::filesystem::path path;
  Sha256Digest sha256;
};

enum class ScanOutcome {
  kClean,     ///< exit code 0
  kRejected,  ///< exit code 1, or the file was changed or removed meanwhile
  kCrashed,   ///< another exit code or a signal, which counts as no
  kTimedOut,  ///< did not end in time, which counts as no
};

struct ScanVerdict {
  ScanOutcome outcome = ScanOutcome::kCrashed;
  std::string why;     ///< "exit code 1", "did not end within 10m"
  std::string output;  ///< the beginning of what it printed, at most kMaxScanOutput
};
inline constexpr std::size_t kMaxScanOutput = 2048;

/// Runs the configured command over files: `batch` paths in one call, two calls at a time. When a
/// call is not clean each of its files is asked about alone, so that a verdict is about one file.
/// Each call is a process of its own session without our descriptors; it is killed with everything
/// in its session's process group when its time is over. A file that is not after the call what it
/// was before (a scanner may remove, cut or disinfect) is not clean: what was verified must be what
/// is taken.
class Scanner {
 public:
  explicit Scanner(mirror::Config::Scanner config) : config_(std::move(config)) {}

  bool is_configured() const { return !config_.command.empty(); }
  const std::string& program() const { return config_.command.front(); }
  /// Of the command as configured: verdicts of another scanner do not count.
  Sha256Digest Id() const;

  struct Told {
    const ScanItem* item;
    ScanVerdict verdict;
  };
  /// Told on the calling thread, each item once, in any order: what has come in since the last
  /// time.
  using Report = std::function<Result<void>(std::span<const Told>)>;
  /// Fails with kUsage (reason "scanner-unusable") when the command cannot be started, with
  /// kCancelled when stopped, and as `report` does; running calls are killed then.
  Result<void> Scan(const std::vector<ScanItem>& items, const Report& report, Progress& progress,
                    std::stop_token stop) const;

 private:
  mirror::Config::Scanner config_;
};

}  // namespace gapferry::importer
