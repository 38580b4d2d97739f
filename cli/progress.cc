#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/guarded.h"
#include "base/text.h"

namespace gapferry::cli {
namespace {

using Steady = std::chrono::steady_clock;

std::string Thousands(std::uint64_t value) {
  std::string digits = std::to_string(value);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

std::string Duration(double seconds) {
  if (seconds < 90) return fmt::format("{} s", static_cast<int>(std::ceil(seconds)));
  if (seconds < 90 * 60) return fmt::format("{} min", static_cast<int>(std::ceil(seconds / 60)));
  return fmt::format("{:.1f} h", seconds / 3600);
}

/// Seconds until `total` at the rate so far; nothing where no total or no rate is known.
std::optional<double> Left(std::uint64_t done, std::uint64_t total, double seconds) {
  if (total == 0 || done == 0 || done >= total || seconds < 0.5) return std::nullopt;
  return seconds * static_cast<double>(total - done) / static_cast<double>(done);
}

std::optional<double> SecondsLeft(const ProgressState& state) {
  const bool by_bytes = state.total_bytes != 0;
  return by_bytes ? Left(state.bytes, state.total_bytes, state.seconds)
                  : Left(state.items, state.total_items, state.seconds);
}

nlohmann::json StateJson(const ProgressState& state, bool done) {
  nlohmann::json object = {{"message_type", "progress"}, {"step", state.step},
                           {"items", state.items},       {"bytes", state.bytes},
                           {"seconds", state.seconds},   {"done", done}};
  if (state.total_items != 0) object["total_items"] = state.total_items;
  if (state.total_bytes != 0) object["total_bytes"] = state.total_bytes;
  if (const auto left = SecondsLeft(state)) object["seconds_left"] = *left;
  return object;
}

class StderrProgress final : public Progress {
 public:
  explicit StderrProgress(ProgressStyle style) : style_(style) {}
  ~StderrProgress() override { End(); }

  void Begin(std::string_view step, std::uint64_t total_items, std::uint64_t total_bytes) override {
    auto s = state_.Lock();
    Finish(*s);
    s->active = true;
    s->progress = {
        .step = std::string(step), .total_items = total_items, .total_bytes = total_bytes};
    s->began = Steady::now();
    s->shown = s->began;
  }

  void Advance(std::uint64_t items, std::uint64_t bytes) override {
    auto s = state_.Lock();
    if (!s->active) return;
    s->progress.items += items;
    s->progress.bytes += bytes;
    const auto now = Steady::now();
    if (now - s->shown < Interval()) return;
    s->shown = now;
    Show(*s, /*done=*/false);
  }

  void End() override {
    auto s = state_.Lock();
    Finish(*s);
  }

  void Note(std::string_view line) override {
    auto s = state_.Lock();
    ClearLine(*s);
    if (style_ == ProgressStyle::kJson) {
      Put(nlohmann::json{{"message_type", "note"}, {"message", line}}.dump(
          -1, ' ', false, nlohmann::json::error_handler_t::replace));
    } else {
      Put(line);
    }
  }

 private:
  struct State {
    bool active = false;
    bool line_open = false;
    ProgressState progress;
    Steady::time_point began;
    Steady::time_point shown;
  };

  std::chrono::milliseconds Interval() const {
    using std::chrono::milliseconds;
    if (style_ == ProgressStyle::kTerminal) return milliseconds(200);
    return style_ == ProgressStyle::kJson ? milliseconds(1000) : milliseconds(10000);
  }

  void Finish(State& s) {
    if (!s.active) return;
    Show(s, /*done=*/true);
    if (s.line_open) std::fputs("\n", stderr);
    s.line_open = false;
    s.active = false;
  }

  void Show(State& s, bool done) {
    s.progress.seconds = std::chrono::duration<double>(Steady::now() - s.began).count();
    switch (style_) {
      case ProgressStyle::kTerminal:
        fmt::print(stderr, "\r\x1b[K{}", FormatProgress(s.progress));
        std::fflush(stderr);
        s.line_open = true;
        return;
      case ProgressStyle::kLines:
        Put(FormatProgress(s.progress));
        return;
      case ProgressStyle::kJson:
        Put(StateJson(s.progress, done)
                .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
        return;
      case ProgressStyle::kNone:
        return;
    }
  }

  void ClearLine(State& s) {
    if (s.line_open) std::fputs("\r\x1b[K", stderr);
    s.line_open = false;
  }

  // One write per line, so that lines of the log come between, not into them.
  static void Put(std::string_view line) { fmt::print(stderr, "{}\n", line); }

  const ProgressStyle style_;
  Guarded<State> state_;
};

}  // namespace

std::unique_ptr<Progress> MakeProgress(ProgressStyle style) {
  if (style == ProgressStyle::kNone) {
    class Silent : public Progress {
     public:
      void Begin(std::string_view, std::uint64_t, std::uint64_t) override {}
      void Advance(std::uint64_t, std::uint64_t) override {}
      void End() override {}
      void Note(std::string_view) override {}
    };
    return std::make_unique<Silent>();
  }
  return std::make_unique<StderrProgress>(style);
}

ProgressStyle ChooseProgressStyle(bool json, bool quiet) {
  if (quiet) return ProgressStyle::kNone;
  if (json) return ProgressStyle::kJson;
  return ::isatty(STDERR_FILENO) != 0 ? ProgressStyle::kTerminal : ProgressStyle::kLines;
}

std::string FormatProgress(const ProgressState& state) {
  std::string text = state.step + ':';
  auto add = [&text, first = true](const std::string& part) mutable {
    text += (first ? " " : ", ") + part;
    first = false;
  };
  if (state.total_items != 0) {
    add(Thousands(state.items) + " of " + Thousands(state.total_items));
  } else if (state.items != 0 || state.bytes == 0) {
    add(Thousands(state.items));
  }
  if (state.total_bytes != 0) {
    add(FormatByteCount(state.bytes) + " of " + FormatByteCount(state.total_bytes));
  } else if (state.bytes != 0) {
    add(FormatByteCount(state.bytes));
  }
  if (state.bytes != 0 && state.seconds >= 0.5) {
    add(FormatByteCount(
            static_cast<std::uint64_t>(static_cast<double>(state.bytes) / state.seconds)) +
        "/s");
  }
  if (const auto left = SecondsLeft(state)) add(Duration(*left) + " left");
  return text;
}

}  // namespace gapferry::cli
