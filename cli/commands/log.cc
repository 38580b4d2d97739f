// gapferry log: what was done, by whom, and what jobs ran.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/sort.h"
#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/evidence_notices.h"
#include "cli/job_view.h"
#include "cli/when.h"
#include "mirror/audit.h"
#include "mirror/evidence_log.h"
#include "mirror/job_history.h"
#include "mirror/witness.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

constexpr std::uint64_t kDefaultLimit = 30;
constexpr std::uint64_t kMostEntries = 1'000'000;

/// One line of the log: an audit record or a job.
struct Entry {
  UtcTime at;
  bool is_job = false;
  std::string who;
  std::string what;
  std::string object;
  json detail = {};
  json object_json = {};
  std::vector<std::string> job_lines = {};  ///< below a job's line; empty: its detail stands there
};

struct Filter {
  std::vector<std::string> words;  ///< lower case, all of which occur
  std::optional<UtcTime> since;
  std::size_t limit = kDefaultLimit;

  bool Takes(const Entry& entry) const {
    if (words.empty()) return true;
    const std::string all =
        ToLowerAscii(entry.who + ' ' + entry.what + ' ' + entry.object + ' ' +
                     entry.detail.dump(-1, ' ', false, json::error_handler_t::replace));
    return std::all_of(words.begin(), words.end(), [&](const std::string& word) {
      return all.find(word) != std::string::npos;
    });
  }
  bool Ends(UtcTime at) const { return since && at < *since; }
};

Entry AuditToEntry(const mirror::AuditRecord& record) {
  Entry entry{record.at,
              false,
              record.entry.actor,
              record.entry.action,
              record.entry.object,
              DetailToJson(record.entry.detail),
              {}};
  entry.object_json = {{"type", "audit"},
                       {"id", record.id},
                       {"at", TimeToJson(record.at)},
                       {"actor", record.entry.actor},
                       {"action", record.entry.action},
                       {"object", record.entry.object},
                       {"detail", entry.detail},
                       {"hash", record.hash.ToHex()}};
  return entry;
}

std::int64_t SecondsOf(const mirror::JobRecord& job) {
  return std::max<std::int64_t>(0, job.ended_at->UnixSeconds() - job.started_at.UnixSeconds());
}

/// What stands below the line of a job: what it did, or why not and what helps.
std::vector<std::string> JobLines(const mirror::JobRecord& job) {
  std::vector<std::string> lines;
  if (std::string counts = CountsText(job); !counts.empty()) lines.push_back(std::move(counts));
  const json detail = DetailToJson(job.detail);
  if (const auto step = detail.find("progress"); step != detail.end() && step->is_object()) {
    const auto name = step->find("step");
    if (name != step->end() && name->is_string()) {
      lines.push_back("while " + EscapeForDisplay(name->get_ref<const std::string&>(), 80));
    }
  }
  const Error error = ErrorOf(job);
  if (!error.message.empty()) lines.push_back(error.message);
  if (!error.next.empty()) lines.push_back("next: " + error.next);
  return lines;
}

Entry JobToEntry(const mirror::JobRecord& job) {
  std::string outcome = fmt::format("job {} {}", job.id, ResultText(job.result));
  if (job.ended_at && job.result != mirror::JobResult::kPostponed) {
    outcome += fmt::format(" after {}", DurationText(SecondsOf(job)));
  }
  Entry entry{job.started_at,           true, job.actor, job.kind, std::move(outcome),
              DetailToJson(job.detail), {},   {}};
  entry.job_lines = JobLines(job);
  entry.object_json = {{"type", "job"},
                       {"id", job.id},
                       {"at", TimeToJson(job.started_at)},
                       {"ended", TimeToJson(job.ended_at)},
                       {"kind", job.kind},
                       {"actor", job.actor},
                       {"result", mirror::JobResultName(job.result)},
                       {"seconds", nullptr},
                       {"counts", CountsToJson(job)},
                       {"error", nullptr},
                       {"next", nullptr},
                       {"generation", nullptr},
                       {"detail", entry.detail}};
  if (job.generation) entry.object_json["generation"] = *job.generation;
  if (job.ended_at) entry.object_json["seconds"] = SecondsOf(job);
  const Error error = ErrorOf(job);
  if (!error.message.empty()) entry.object_json["error"] = error.message;
  if (!error.next.empty()) entry.object_json["next"] = error.next;
  return entry;
}

/// Newest first, in pages, until there are enough.
Result<void> AddAudit(mirror::Mirror& mirror, const Filter& filter, std::vector<Entry>& entries) {
  constexpr int kPage = 500;
  std::int64_t before = 0;
  std::size_t taken = 0;
  for (;;) {
    TRY_ASSIGN(const auto page, mirror::ReadAudit(mirror.db(), before, kPage));
    for (const auto& record : page) {
      if (filter.Ends(record.at)) return {};
      Entry entry = AuditToEntry(record);
      if (!filter.Takes(entry)) continue;
      entries.push_back(std::move(entry));
      if (++taken == filter.limit) return {};
    }
    if (page.size() < static_cast<std::size_t>(kPage)) return {};
    before = page.back().id;
  }
}

Result<void> AddJobs(mirror::Mirror& mirror, const Filter& filter, std::vector<Entry>& entries) {
  // A filter by words may pass over many; jobs are few beside audit records.
  constexpr int kMostJobs = 100'000;
  const int limit = filter.words.empty()
                        ? static_cast<int>(std::min<std::size_t>(filter.limit, kMostJobs))
                        : kMostJobs;
  TRY_ASSIGN(const auto jobs, mirror.jobs().Recent(limit));
  std::size_t taken = 0;
  for (const auto& job : jobs) {
    if (filter.Ends(job.started_at) || taken == filter.limit) return {};
    Entry entry = JobToEntry(job);
    if (!filter.Takes(entry)) continue;
    entries.push_back(std::move(entry));
    ++taken;
  }
  return {};
}

/// Names people know for the GUIDs in records.
class Translator {
 public:
  static Result<Translator> Make(mirror::Mirror& mirror) {
    TRY_ASSIGN(auto groups, ReadGroupNames(mirror));
    return Translator(mirror, std::move(groups));
  }

  /// "group=Workstations deadline=2030-01-31T18:00:00Z"
  std::string Detail(const Entry& entry) const {
    std::string text;
    for (const auto& [key, value] : entry.detail.items()) {
      const std::string shown = Value(value);
      if (!shown.empty()) text += fmt::format("{}{}={}", text.empty() ? "" : " ", key, shown);
    }
    return EscapeForDisplay(text, 400);
  }

  /// The title, when the object is an update of the catalogue.
  Result<std::string> Title(const Entry& entry) const {
    if (entry.is_job || !entry.what.starts_with("update.")) return std::string();
    const auto id = protocol::UpdateIdArgument::Parse(entry.object);
    if (!id) return std::string();
    return TitleOf(mirror_, id->guid);
  }

 private:
  Translator(mirror::Mirror& mirror, GroupNames groups)
      : mirror_(mirror), groups_(std::move(groups)) {}

  std::string Value(const json& value) const {
    if (value.is_null()) return {};
    if (value.is_string()) {
      const auto& text = value.get_ref<const std::string&>();
      const auto guid = Guid::Parse(text);
      return guid ? GroupName(groups_, *guid) : text;
    }
    if (!value.is_array()) return value.dump(-1, ' ', false, json::error_handler_t::replace);
    std::string list;
    for (const auto& item : value) list += (list.empty() ? "" : ",") + Value(item);
    return list;
  }

  mirror::Mirror& mirror_;
  GroupNames groups_;
};

Result<void> PrintEntries(Context& context, mirror::Mirror& mirror,
                          const std::vector<Entry>& entries) {
  constexpr std::size_t kObjectWidth = 44;
  constexpr std::size_t kWidth = 96;
  TRY_ASSIGN(const Translator translator, Translator::Make(mirror));
  std::vector<std::vector<std::string>> table;
  for (const Entry& entry : entries) {
    table.push_back({Minute(entry.at), Cut(EscapeForDisplay(entry.who), 16),
                     Cut(EscapeForDisplay(entry.what), 20),
                     Cut(EscapeForDisplay(entry.object), kObjectWidth)});
  }
  const std::string text = FormatTable(table);
  const auto lines = Split(text, '\n');
  for (std::size_t i = 0; i < entries.size(); ++i) {
    context.Print(lines[i]);
    TRY_ASSIGN(const std::string title, translator.Title(entries[i]));
    if (!title.empty()) context.Print("    " + Cut(title, kWidth - 4));
    for (const std::string& line : entries[i].job_lines) {
      context.Print(Wrap(line, kWidth - 4, "    "));
    }
    if (!entries[i].job_lines.empty()) continue;
    const std::string detail = translator.Detail(entries[i]);
    if (!detail.empty()) context.Print(Wrap(detail, kWidth - 4, "    "));
  }
  return {};
}

/// For the partner, or for a security officer.
Result<ExitCode> Export(Context& context, mirror::Mirror& mirror, const std::string& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    return FailNext(ErrorCode::kUsage, "is-folder", "'" + path + "' is a folder",
                    "gapferry log --export " +
                        (fs::path(path) / (mirror.identity().guid.ToString() + ".log")).string());
  }
  TRY_ASSIGN(AtomicFile file, AtomicFile::Create(fs::absolute(path)));
  FileSink sink(file.file());
  TRY_ASSIGN(const auto header,
             mirror::WriteLog(
                 mirror.db(),
                 {mirror.identity().guid, mirror.identity().name, mirror.clock().Now(), {}}, sink));
  TRY(file.Commit());
  context.Print(fmt::format("{}: {}, head {}\non the other side: gapferry evidence verify FILE",
                            path, Plural(static_cast<std::uint64_t>(header.head.id), "record"),
                            header.head.hash.ToHex()));
  context.Emit({{"log", fs::absolute(path).string()},
                {"records", header.head.id},
                {"head", header.head.hash.ToHex()}});
  return ExitCode::kDone;
}

/// The chain in itself, and against what partners say they saw of it.
Result<ExitCode> Verify(Context& context, mirror::Mirror& mirror) {
  constexpr const char* kKeep =
      "copy the mirror directory as it is, and tell the security officer; 'gapferry log --export "
      "FILE' and the partner's 'gapferry evidence verify FILE' say what fits";
  auto head = mirror::VerifyAudit(mirror.db());
  if (!head) return WithNext(std::move(head.error()), kKeep);
  auto seen = mirror::CheckOwnChain(mirror.db(), mirror.identity().guid);
  if (!seen) seen.error().message = NamePartners(mirror, std::move(seen.error().message));
  if (!seen) return WithNext(std::move(seen.error()), kKeep);
  std::string text =
      fmt::format("{} in one chain, head {}\n",
                  Plural(static_cast<std::uint64_t>(head->id), "record"), head->hash.ToHex());
  text += *seen
              ? fmt::format("record {} and all before it are as {} saw them ({})", (*seen)->head.id,
                            NamePartners(mirror, (*seen)->witness.ToString()), (*seen)->Source())
              : std::string("no partner has told yet that it saw any of them");
  context.Print(text);
  json object = {{"records", head->id},
                 {"head", head->hash.ToHex()},
                 {"witnessed_up_to", nullptr},
                 {"witness", nullptr}};
  if (*seen) {
    object["witnessed_up_to"] = (*seen)->head.id;
    object["witness"] = (*seen)->witness.ToString();
  }
  context.Emit(object);
  return ExitCode::kDone;
}

Result<ExitCode> RunLog(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  if (const auto path = context.args().Text("export")) return Export(context, mirror, *path);
  if (context.args().Has("verify")) return Verify(context, mirror);
  Filter filter;
  const std::uint64_t limit = context.args().Number("limit").value_or(kDefaultLimit);
  filter.limit =
      static_cast<std::size_t>(limit == 0 ? kMostEntries : std::min(limit, kMostEntries));
  for (const std::string& text : context.args().List("TEXT")) {
    for (const std::string_view word : Split(text, ' ')) {
      if (!word.empty()) filter.words.push_back(ToLowerAscii(word));
    }
  }
  if (const auto since = context.args().Text("since")) {
    auto parsed = ParseSince(*since, mirror.clock().Now());
    if (!parsed) return WithNext(std::move(parsed).error(), "gapferry log --since 7d");
    filter.since = *parsed;
  }
  std::vector<Entry> entries;
  if (!context.args().Has("jobs")) TRY(AddAudit(mirror, filter, entries));
  TRY(AddJobs(mirror, filter, entries));
  SortStably(entries, [](const Entry& a, const Entry& b) { return a.at > b.at; });
  if (entries.size() > filter.limit)
    entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(filter.limit), entries.end());
  if (entries.empty()) context.Print("nothing fits");
  if (!context.json()) TRY(PrintEntries(context, mirror, entries));
  json list = json::array();
  for (Entry& entry : entries) list.push_back(std::move(entry.object_json));
  context.Emit({{"entries", std::move(list)}});
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> LogCommands() {
  return {
      {.path = {"log"},
       .summary = "who did what, and what jobs ran, newest first",
       .description =
           "Every administrative action, sync, export and import leaves a record in a chain of "
           "hashes, which\n--verify and 'gapferry store check' walk. Jobs are listed beside them "
           "with who started\nthem and what came of them, also those that failed, were stopped "
           "or killed. Times are UTC.",
       .examples = {{"gapferry log"},
                    {"gapferry log approve --since 7d", "approvals of the last week"},
                    {"gapferry log --jobs --limit 5"},
                    {"gapferry log --jobs schedule failed", "what went wrong by itself"},
                    {"gapferry log --export plant.log", "the whole trail, for the partner"}},
       .options = {{"TEXT", Takes::kList, {}, "words that occur in an entry, all of them"},
                   {"--limit", Takes::kNumber, "N", "at most so many (default 30, 0: all)"},
                   {"--since", Takes::kText, "WHEN", "not older: 7d, 12h, 2w, 2030-01-31"},
                   {"--jobs", Takes::kNothing, {}, "jobs only"},
                   {"--verify",
                    Takes::kNothing,
                    {},
                    "check the chain of records instead, and against what partners saw of it"},
                   {"--export", Takes::kText, "FILE", "write all records to a file instead"}},
       .exits = {ExitCode::kNotFound, ExitCode::kCorrupt},
       .run = RunLog}};
}

}  // namespace gapferry::cli
