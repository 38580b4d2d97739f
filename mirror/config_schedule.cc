#include <fmt/format.h>
#include <fmt/ranges.h>

#include <span>

#include "base/text.h"
#include "mirror/config.h"

// The `schedule` part of gapferry.yaml, which people edit and `gapferry schedule set` too.

namespace gapferry::mirror {
namespace {

std::string TimesText(const JobSchedule& schedule) {
  std::vector<std::string> times;
  for (const auto time : schedule.times) times.push_back('"' + TimeOfDayText(time) + '"');
  return fmt::format("[{}]", fmt::join(times, ", "));
}

std::string DaysList(const JobSchedule& schedule) {
  return schedule.days == JobSchedule::kEveryDay ? "[]" : "[" + DaysText(schedule.days) + "]";
}

std::string SpreadText(const JobSchedule& schedule) {
  const auto seconds = schedule.randomise.count();
  if (seconds != 0 && seconds % 3600 == 0) return fmt::format("{}h", seconds / 3600);
  if (seconds != 0 && seconds % 60 == 0) return fmt::format("{}m", seconds / 60);
  return fmt::format("{}s", seconds);
}

}  // namespace

std::string WriteScheduleSection(const Schedule& schedule) {
  return fmt::format(
      "# Jobs that `gapferry serve` starts by itself, at times of the local day of this machine.\n"
      "# Also by 'gapferry schedule set'; takes effect without a restart.\n"
      "schedule:\n"
      "  sync:\n"
      "    times: {}           # such as [\"02:00\", \"14:00\"]; none: only by 'gapferry sync'\n"
      "    days: {}            # such as [mon-fri, sun]; none: every day\n"
      "    randomise: {}       # each start is put off by up to so much, 12h at most\n"
      "  rollup:\n"
      "    after_sync: {}   # whenever a sync has ended well\n"
      "    times: {}\n"
      "    days: {}\n"
      "    randomise: {}\n",
      TimesText(schedule.sync), DaysList(schedule.sync), SpreadText(schedule.sync),
      schedule.rollup_after_sync, TimesText(schedule.rollup), DaysList(schedule.rollup),
      SpreadText(schedule.rollup));
}

Result<void> CheckSchedule(const Config& config) {
  if (config.schedule.is_empty() || !config.upstream.wsus.empty()) return {};
  const std::string_view what = config.schedule.sync.is_empty() ? "rollup" : "sync";
  return Fail(ErrorCode::kUsage, "no-upstream",
              config.upstream.gap
                  ? fmt::format("'schedule.{}' is set, but this mirror is fed by bundles and never "
                                "connects to an upstream",
                                what)
                  : fmt::format("'schedule.{}' is set, but there is no upstream", what));
}

namespace {

bool IsBlankOrComment(std::string_view line) {
  const std::string_view text = TrimAscii(line);
  return text.empty() || text.front() == '#';
}

/// Comments that people wrote between the keys of the section that is replaced; ours are written
/// anew with it.
std::string OwnComments(std::span<const std::string_view> lines, const std::string& fresh) {
  std::string kept;
  for (const std::string_view line : lines) {
    const std::string_view text = TrimAscii(line);
    if (!text.empty() && text.front() == '#' && fresh.find(text) == std::string::npos) {
      kept += std::string(line) + '\n';
    }
  }
  return kept;
}

/// The text with the lines of the section exchanged; with it at the end where there was none.
std::string ExchangeSection(std::string_view text, const std::string& fresh) {
  const auto lines = Split(text, '\n');
  std::size_t first = 0;
  while (first < lines.size() && !lines[first].starts_with("schedule:")) ++first;
  if (first == lines.size()) {
    std::string out(text);
    if (!out.empty() && !out.ends_with('\n')) out += '\n';
    return out + '\n' + fresh;
  }
  std::size_t end = first + 1;
  while (end < lines.size() && (IsBlankOrComment(lines[end]) || lines[end].starts_with(' '))) ++end;
  // What stands before the next key at the margin belongs to that key.
  while (end > first + 1 && IsBlankOrComment(lines[end - 1]) && !lines[end - 1].starts_with(' ')) {
    --end;
  }
  // Our own two lines of comment above are a part of what is written anew.
  std::size_t begin = first;
  while (begin > 0 && lines[begin - 1].starts_with('#') &&
         fresh.find(TrimAscii(lines[begin - 1])) != std::string::npos) {
    --begin;
  }
  std::string out;
  const auto add = [&out](std::span<const std::string_view> some) {
    for (const std::string_view line : some) out += std::string(line) + '\n';
  };
  const std::span<const std::string_view> all(lines);
  add(all.first(begin));
  out += OwnComments(all.subspan(first, end - first), fresh) + fresh;
  auto rest = all.subspan(end);
  if (!rest.empty() && rest.back().empty()) rest = rest.first(rest.size() - 1);
  add(rest);
  return out;
}

}  // namespace

Result<std::string> ReplaceSchedule(std::string_view text, std::string_view file_name,
                                    const Schedule& schedule) {
  TRY_ASSIGN(Config wanted, ParseConfig(text, file_name));
  wanted.schedule = schedule;
  std::string changed = ExchangeSection(text, WriteScheduleSection(schedule));
  // Whatever the layout: nothing is written that means anything else than what was asked for.
  const auto got = ParseConfig(changed, file_name);
  if (!got || WriteConfig(*got) != WriteConfig(wanted)) {
    return Fail(
        ErrorCode::kUsage, "edit-by-hand",
        fmt::format("{}: 'schedule' is laid out so that only a person can change it", file_name));
  }
  return changed;
}

}  // namespace gapferry::mirror
