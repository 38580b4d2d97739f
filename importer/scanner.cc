#include "importer/scanner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <optional>
#include <span>
#include <thread>

#include "base/child_process.h"
#include "base/guarded.h"
#include "base/process.h"
#include "base/text.h"

namespace gapferry::importer {
namespace {

constexpr unsigned kParallel = 2;
constexpr std::string_view kPlace = "{}";
constexpr std::chrono::milliseconds kTick{100};

/// What changes when somebody writes to a file, replaces or removes it.
struct FileMark {
  bool there = false;
  ::dev_t device = 0;
  ::ino_t inode = 0;
  ::off_t size = 0;
  std::int64_t modified = 0, changed = 0;
  bool operator==(const FileMark&) const = default;
};

FileMark MarkOf(const std::filesystem::path& path) {
  constexpr std::int64_t kNanoseconds = 1'000'000'000;
  struct ::stat found {};
  FileMark mark;
  if (::lstat(path.c_str(), &found) != 0 || !S_ISREG(found.st_mode)) return mark;
  mark.there = true;
  mark.device = found.st_dev;
  mark.inode = found.st_ino;
  mark.size = found.st_size;
  mark.modified = found.st_mtim.tv_sec * kNanoseconds + found.st_mtim.tv_nsec;
  mark.changed = found.st_ctim.tv_sec * kNanoseconds + found.st_ctim.tv_nsec;
  return mark;
}

/// The words of one call: "{}" alone becomes the paths, inside a word the one path; without it the
/// paths come last.
std::vector<std::string> Words(const std::vector<std::string>& command,
                               std::span<const ScanItem> items) {
  std::vector<std::string> words;
  bool placed = false;
  for (const std::string& word : command) {
    const auto at = word.find(kPlace);
    if (words.empty() || at == std::string::npos) {
      words.push_back(word);
    } else if (word == kPlace) {
      for (const ScanItem& item : items) words.push_back(item.path.string());
      placed = true;
    } else {
      std::string filled = word;
      words.push_back(filled.replace(at, kPlace.size(), items.front().path.string()));
      placed = true;
    }
  }
  if (!placed) {
    for (const ScanItem& item : items) words.push_back(item.path.string());
  }
  return words;
}

bool TakesOnePath(const std::vector<std::string>& command) {
  return std::any_of(command.begin() + 1, command.end(), [](const std::string& word) {
    return word != kPlace && word.find(kPlace) != std::string::npos;
  });
}

/// Its process group is its session's: what it started ends with it.
void KillGroup(const ChildProcess& child) {
  const int pid = ProcessNumber(child.name());
  if (pid > 0) ::kill(-pid, SIGKILL);
}

ScanVerdict VerdictOf(const ProcessEnd& end, std::string output) {
  ScanVerdict verdict;
  verdict.output = std::move(output);
  if (end.signal != 0) {
    verdict.why = "ended by " + SignalText(end.signal);
    return verdict;
  }
  verdict.why = fmt::format("exit code {}", end.code);
  verdict.outcome = end.code == 0   ? ScanOutcome::kClean
                    : end.code == 1 ? ScanOutcome::kRejected
                                    : ScanOutcome::kCrashed;
  return verdict;
}

/// One call. Waits in this thread: the child dies with it.
Result<ScanVerdict> Call(const mirror::Config::Scanner& config, std::span<const ScanItem> items,
                         const std::stop_token& stop) {
  auto child = ChildProcess::Start({config.command.front(), Words(config.command, items), {}});
  if (!child) {
    return Fail(ErrorCode::kUsage, "scanner-unusable", "scanner: " + child.error().message);
  }
  std::string output;
  const auto collect = [&output](ChildProcess::Stream, std::string_view line) {
    if (output.size() >= kMaxScanOutput) return;
    output += line.substr(0, kMaxScanOutput - output.size());
    if (output.size() < kMaxScanOutput) output += '\n';
  };
  const auto until = std::chrono::steady_clock::now() + config.timeout;
  for (;;) {
    auto end = child->Wait(kTick, collect);
    if (!end) {
      KillGroup(*child);
      return std::unexpected(std::move(end.error()));
    }
    if (*end) return VerdictOf(**end, std::move(output));
    const bool late = std::chrono::steady_clock::now() >= until;
    if (!late && !stop.stop_requested()) continue;
    KillGroup(*child);
    if (!late) return Fail(ErrorCode::kCancelled, "stopped while files were scanned");
    ScanVerdict verdict;
    verdict.outcome = ScanOutcome::kTimedOut;
    verdict.why = "did not end within " + mirror::WriteDuration(config.timeout);
    verdict.output = std::move(output);
    return verdict;
  }
}

/// Shared by the workers and the thread that asked.
struct Board {
  std::size_t next = 0;  ///< first item nobody has taken
  std::vector<Scanner::Told> told;
  std::optional<Error> error;
  unsigned working = kParallel;
};

class Round {
 public:
  Round(const mirror::Config::Scanner& config, const std::vector<ScanItem>& items,
        std::stop_token stop)
      : config_(config),
        items_(items),
        batch_(TakesOnePath(config.command) ? 1 : config.batch),
        stop_(std::move(stop)) {}

  Result<void> Run(const Scanner::Report& report, Progress& progress) {
    const std::stop_callback relay(stop_, [this] { halt_.request_stop(); });
    std::vector<std::jthread> workers;
    for (unsigned i = 0; i < kParallel; ++i) workers.emplace_back([this] { Work(); });
    auto drained = Drain(report, progress);
    if (!drained) halt_.request_stop();
    return drained;  // the workers are joined
  }

 private:
  Result<void> Drain(const Scanner::Report& report, Progress& progress) {
    for (;;) {
      std::vector<Scanner::Told> told;
      {
        auto board = board_.Lock();
        changed_.wait(board.lock(),
                      [&] { return !board->told.empty() || board->error || board->working == 0; });
        told.swap(board->told);
        if (told.empty() && board->error) return std::unexpected(*board->error);
        if (told.empty()) return {};
      }
      TRY(report(told));
      for (const auto& [item, verdict] : told) {
        progress.Advance(1, static_cast<std::uint64_t>(MarkOf(item->path).size));
      }
    }
  }

  void Work() {
    while (!halt_.stop_requested()) {
      std::span<const ScanItem> taken;
      {
        auto board = board_.Lock();
        if (board->error) break;
        taken = std::span(items_).subspan(board->next);
        taken = taken.first(std::min<std::size_t>(batch_, taken.size()));
        board->next += taken.size();
      }
      if (taken.empty()) break;
      std::vector<FileMark> before;
      for (const ScanItem& item : taken) before.push_back(MarkOf(item.path));
      if (auto done = Ask(taken, before); !done) {
        auto board = board_.Lock();
        if (!board->error) board->error = std::move(done.error());
      }
    }
    auto board = board_.Lock();
    if (halt_.stop_requested() && !board->error) {
      board->error = Error{ErrorCode::kCancelled, "stopped while files were scanned", "", ""};
    }
    --board->working;
    changed_.notify_one();
  }

  /// `before`: the files before any call saw them.
  Result<void> Ask(std::span<const ScanItem> items, std::span<const FileMark> before) {
    TRY_ASSIGN(ScanVerdict verdict, Call(config_, items, halt_.get_token()));
    if (verdict.outcome != ScanOutcome::kClean && items.size() > 1) {
      for (std::size_t i = 0; i < items.size(); ++i) {
        TRY(Ask(items.subspan(i, 1), before.subspan(i, 1)));
      }
      return {};
    }
    auto board = board_.Lock();
    for (std::size_t i = 0; i < items.size(); ++i) {
      ScanVerdict one = verdict;
      const bool same = before[i].there && MarkOf(items[i].path) == before[i];
      if (one.outcome == ScanOutcome::kClean && !same) {
        one.outcome = ScanOutcome::kRejected;
        one.why = "the file was changed or removed while it was scanned";
      }
      board->told.push_back({&items[i], std::move(one)});
    }
    changed_.notify_one();
    return {};
  }

  // Constant.
  const mirror::Config::Scanner& config_;
  const std::vector<ScanItem>& items_;
  const std::size_t batch_;
  const std::stop_token stop_;
  // Own synchronisation.
  std::stop_source halt_;
  Guarded<Board> board_;
  std::condition_variable changed_;
};

}  // namespace

Sha256Digest Scanner::Id() const {
  Sha256Hasher hasher;
  for (const std::string& word : config_.command) {
    hasher.Update(fmt::format("{}:", word.size())).Update(word);
  }
  return hasher.Finish();
}

Result<void> Scanner::Scan(const std::vector<ScanItem>& items, const Report& report,
                           Progress& progress, std::stop_token stop) const {
  if (items.empty()) return {};
  std::uint64_t bytes = 0;
  for (const ScanItem& item : items) bytes += static_cast<std::uint64_t>(MarkOf(item.path).size);
  progress.Begin("scanning", items.size(), bytes);
  TRY(Round(config_, items, std::move(stop)).Run(report, progress));
  progress.End();
  return {};
}

}  // namespace gapferry::importer
