#include "cli/admin_support.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "protocol/update_id.h"

namespace gapferry::cli {

// ---- Errors and their next step ----------------------------------------------------------------

std::string ShellWord(std::string_view word) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_./:@%+=,").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return std::string(word);
  std::string quoted = "'";
  for (const char c : word) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

std::string NextCommand(const Context& context, std::string_view words) {
  std::string line = "gapferry " + std::string(words);
  if (context.global().mirror) line += " --mirror " + ShellWord(*context.global().mirror);
  return line;
}

std::unexpected<Error> FailNext(ErrorCode code, std::string_view reason, std::string message,
                                std::string next) {
  return std::unexpected(Error{code, std::move(message), std::string(reason), std::move(next)});
}

std::unexpected<Error> WithNext(Error error, std::string next) {
  if (error.next.empty()) error.next = std::move(next);
  return std::unexpected(std::move(error));
}

Result<mirror::Mirror> OpenMirror(const Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  auto opened = mirror::Mirror::Open(path);
  if (opened) return opened;
  Error error = std::move(opened).error();
  if (error.reason == "bad-configuration") {
    return WithNext(std::move(error),
                    "correct this place of " + ShellWord((path / "gapferry.yaml").string()));
  }
  if (error.code == ErrorCode::kUnsupported) {
    return WithNext(std::move(error), "use the gapferry that wrote this mirror, or a newer one");
  }
  return std::unexpected(std::move(error));
}

// ---- Finding -----------------------------------------------------------------------------------

namespace {

/// All revisions of an update, for the message that the wanted one is not among them.
Result<std::string> RevisionNumbers(mirror::Mirror& mirror, const Guid& guid) {
  TRY_ASSIGN(const auto rows, mirror.catalog().RevisionsOf(guid));
  std::string numbers;
  for (const auto& row : rows) {
    numbers += fmt::format("{}{}", numbers.empty() ? "" : ", ", row.update.revision);
  }
  return numbers;
}

}  // namespace

Result<mirror::RevisionRow> FindUpdate(const Context& context, mirror::Mirror& mirror,
                                       std::string_view id) {
  const auto wanted = protocol::UpdateIdArgument::Parse(id);
  if (!wanted) {
    const bool has_slash = id.find('/') != std::string_view::npos;
    return FailNext(ErrorCode::kUsage, "bad-id",
                    fmt::format("'{}' is no update id: an id is a GUID or GUID/REVISION",
                                EscapeForDisplay(id, 80)),
                    NextCommand(context, "update list " + ShellWord(has_slash ? "TEXT" : id)));
  }
  if (!wanted->revision) {
    TRY_ASSIGN(const auto row, mirror.catalog().FindLatest(wanted->guid));
    if (row) return *row;
    return FailNext(ErrorCode::kNotFound, "no-update",
                    fmt::format("update {} is not in the catalogue", wanted->guid.ToString()),
                    NextCommand(context, "update list TEXT"));
  }
  const protocol::UpdateId update{wanted->guid, *wanted->revision};
  TRY_ASSIGN(const auto row, mirror.catalog().Find(update));
  if (row) return *row;
  TRY_ASSIGN(const std::string numbers, RevisionNumbers(mirror, update.guid));
  if (numbers.empty()) {
    return FailNext(ErrorCode::kNotFound, "no-update",
                    fmt::format("update {} is not in the catalogue", update.ToString()),
                    NextCommand(context, "update list TEXT"));
  }
  return FailNext(ErrorCode::kNotFound, "no-revision",
                  fmt::format("update {} has no revision {}; it has {}", update.guid.ToString(),
                              update.revision, numbers),
                  NextCommand(context, "update show " + update.guid.ToString()));
}

Result<std::vector<mirror::RevisionRow>> FindUpdates(const Context& context, mirror::Mirror& mirror,
                                                     const std::vector<std::string>& ids) {
  std::vector<mirror::RevisionRow> rows;
  std::set<mirror::RevisionId> seen;
  for (const std::string& id : ids) {
    TRY_ASSIGN(auto row, FindUpdate(context, mirror, id));
    if (seen.insert(row.id).second) rows.push_back(std::move(row));
  }
  return rows;
}

Result<mirror::TargetGroup> FindGroup(const Context& context, mirror::Mirror& mirror,
                                      std::string_view name) {
  auto group = mirror.intent().FindGroup(name);
  if (group) return group;
  const bool add = group.error().code == ErrorCode::kNotFound && !mirror.config().replica &&
                   !Guid::Parse(name).has_value();
  return WithNext(std::move(group).error(),
                  NextCommand(context, add ? "group add " + ShellWord(name) : "group list"));
}

Result<mirror::Computer> FindComputer(const Context& context, mirror::Mirror& mirror,
                                      std::string_view text) {
  const std::string list = NextCommand(context, "computer list");
  TRY_ASSIGN(mirror::Activity* const activity, mirror.activity());
  auto found = activity->FindByIdOrName(text);
  if (found) return found;
  if (found.error().code != ErrorCode::kNotFound) {
    return WithNext(std::move(found).error(), list);
  }
  std::optional<mirror::Computer> short_name;
  std::size_t matches = 0;
  TRY(activity->ForEachComputer(0, [&](const mirror::Computer& computer) -> Result<void> {
    const std::string_view full = computer.details.full_domain_name;
    if (full.empty() || !EqualsIgnoreCase(full.substr(0, full.find('.')), text)) return {};
    if (++matches == 1) short_name = computer;
    return {};
  }));
  if (matches == 1) return *std::move(short_name);
  if (matches > 1) {
    return FailNext(ErrorCode::kUsage, "ambiguous-name",
                    fmt::format("{} computers are named '{}'; use the full name or the id, such "
                                "as {}",
                                matches, EscapeForDisplay(text), short_name->id),
                    list);
  }
  return WithNext(std::move(found).error(), list);
}

Result<void> RefuseOnReplica(const mirror::Mirror& mirror, std::string_view words) {
  if (!mirror.config().replica) return {};
  const std::string_view there =
      mirror.config().upstream.gap ? "on the connected side" : "on the upstream server";
  return FailNext(ErrorCode::kUsage, "replica",
                  fmt::format("mirror '{}' is a replica: its groups, approvals and declines come "
                              "from above",
                              EscapeForDisplay(mirror.identity().name)),
                  fmt::format("{}: gapferry {}; to decide here instead, set 'replica: false' in {}",
                              there, words, ShellWord((mirror.path() / "gapferry.yaml").string())));
}

// ---- Saying ------------------------------------------------------------------------------------

Result<GroupNames> ReadGroupNames(mirror::Mirror& mirror) {
  TRY_ASSIGN(const auto groups, mirror.intent().Groups());
  GroupNames names;
  for (const auto& group : groups) names.emplace(group.id, group.name);
  return names;
}

std::string GroupName(const GroupNames& names, const Guid& group) {
  const auto found = names.find(group);
  return found == names.end() ? group.ToString() : found->second;
}

std::string ShownTitle(std::string_view title, std::string_view otherwise) {
  return title.empty() ? std::string(otherwise) : EscapeForDisplay(title, 300);
}

Result<std::string> TitleOf(mirror::Mirror& mirror, const Guid& update) {
  TRY_ASSIGN(const auto row, mirror.catalog().FindLatest(update));
  if (!row) return update.ToString();
  TRY_ASSIGN(const auto text, mirror.catalog().Text(row->id));
  return ShownTitle(text.title, update.ToString());
}

namespace {

bool StartsCodePoint(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

std::size_t CodePoints(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), StartsCodePoint));
}

/// The first `count` code points.
std::string_view Prefix(std::string_view text, std::size_t count) {
  std::size_t end = 0;
  for (; end < text.size(); ++end) {
    if (StartsCodePoint(text[end]) && count-- == 0) break;
  }
  return text.substr(0, end);
}

}  // namespace

std::string Cut(std::string_view text, std::size_t width) {
  if (CodePoints(text) <= width) return std::string(text);
  return std::string(Prefix(text, width - 1)) + "…";
}

std::string Wrap(std::string_view text, std::size_t width, std::string_view indent) {
  std::string out;
  std::string line;
  const auto flush = [&] {
    if (!line.empty()) out += std::string(indent) + line + '\n';
    line.clear();
  };
  for (const std::string_view word : Split(text, ' ')) {
    if (word.empty()) continue;
    const std::size_t needed = CodePoints(line) + (line.empty() ? 0 : 1) + CodePoints(word);
    if (needed > width) flush();
    if (!line.empty()) line += ' ';
    line += word;
  }
  flush();
  return out;
}

std::string Minute(UtcTime time) {
  if (time <= kNever) return "never";
  constexpr std::size_t kMinute = 16;  // 2026-11-22T09:18
  std::string text = time.ToMilliseconds().substr(0, kMinute);
  std::replace(text.begin(), text.end(), 'T', ' ');
  return text;
}

std::string Plural(std::uint64_t count, std::string_view one, std::string_view many) {
  if (count == 1) return fmt::format("1 {}", one);
  return many.empty() ? fmt::format("{} {}s", count, one) : fmt::format("{} {}", count, many);
}

std::string WhatBringsFiles(const Context& context, const mirror::Config& config) {
  if (config.upstream.gap) {
    return fmt::format("the next bundle brings them; '{}' asks for them",
                       NextCommand(context, "export --return --to DIR"));
  }
  if (config.upstream.wsus.empty()) {
    return "nothing brings them: this mirror has no upstream";
  }
  if (config.content.download == mirror::ContentPolicy::kNone) {
    return "nothing brings them while gapferry.yaml says 'content.download: none'";
  }
  return fmt::format("'{}' brings them", NextCommand(context, "sync"));
}

nlohmann::json TimeToJson(const std::optional<UtcTime>& time) {
  return time ? TimeToJson(*time) : nlohmann::json();
}

nlohmann::json TimeToJson(UtcTime time) {
  return time <= kNever ? nlohmann::json() : nlohmann::json(time.ToXml());
}

nlohmann::json DetailToJson(std::string_view detail) {
  auto json = nlohmann::json::parse(detail, nullptr, /*allow_exceptions=*/false);
  return json.is_object() ? json : nlohmann::json::object();
}

}  // namespace gapferry::cli
