// gapferry store check: is what the mirror holds still what was verified?
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/audited_change.h"
#include "cli/command.h"
#include "cli/context.h"
#include "mirror/audit.h"
#include "mirror/content_store.h"
#include "mirror/job_lock.h"
#include "mirror/self_check.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;
using Damage = mirror::ContentStore::Damage;

/// What is wrong outside content/: a database, the audit chain.
struct Fault {
  std::string where;
  std::string what;
};

struct Findings {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::vector<Damage> content;
  std::vector<Fault> faults;
  std::vector<mirror::Catalog::Dangling> dangling;  ///< not damage: what a bundle did not bring
  bool sound() const { return content.empty() && faults.empty(); }
};

Result<void> CheckDatabase(mirror::Database& db, Findings& findings) {
  TRY_ASSIGN(const auto lines, db.CheckIntegrity());
  for (const std::string& line : lines) {
    findings.faults.push_back({db.path().filename().string(), line});
  }
  return {};
}

/// The whole of the databases; a corrupt one may also make reading fail, which is a finding too.
Result<void> CheckDatabases(mirror::Mirror& mirror, Progress& progress, Findings& findings) {
  progress.Begin("checking databases", 3, 0);
  TRY(CheckDatabase(mirror.db(), findings));
  progress.Advance(1, 0);
  {
    mirror::DatabaseOptions options;
    TRY_ASSIGN(auto fragments, mirror::Database::Open(mirror.path() / "fragments.db", options));
    TRY(CheckDatabase(fragments, findings));
  }
  progress.Advance(1, 0);
  TRY_ASSIGN(mirror::Activity* const activity, mirror.activity());
  TRY(CheckDatabase(activity->db(), findings));
  progress.Advance(1, 0);
  progress.End();
  return {};
}

Result<Findings> Check(Context& context, mirror::Mirror& mirror, bool deep) {
  Findings findings;
  TRY_ASSIGN(const auto totals, mirror.content().Count());
  findings.files = totals.files;
  findings.bytes = totals.bytes;
  if (auto chain = mirror::VerifyAudit(mirror.db()); !chain) {
    if (chain.error().code != ErrorCode::kCorrupt) return std::unexpected(chain.error());
    findings.faults.push_back({"audit", chain.error().message});
  }
  if (deep) TRY(CheckDatabases(mirror, context.progress(), findings));
  TRY_ASSIGN(const auto inconsistencies,
             mirror::CheckCatalog(mirror, deep, context.progress(), context.stop()));
  for (const auto& found : inconsistencies) findings.faults.push_back({found.where, found.what});
  constexpr int kMostDangling = 20;
  TRY_ASSIGN(findings.dangling, mirror.catalog().FindDangling(kMostDangling));
  TRY_ASSIGN(findings.content, mirror.content().Check(deep, context.progress(), context.stop()));
  return findings;
}

/// Forgets damaged files, so that the next sync or bundle brings them again.
Result<void> Drop(mirror::Mirror& mirror, const Findings& findings) {
  TRY_ASSIGN(const auto lock, mirror::JobLock::Acquire(mirror.path(), "store check"));
  const json detail = {{"files", findings.content.size()}};
  return ChangeAudited(
      mirror,
      {mirror::CurrentActor(), "store.drop", mirror.identity().guid.ToString(), detail.dump()},
      [&]() -> Result<void> {
        for (const Damage& damage : findings.content) TRY(mirror.content().Drop(damage.file.sha1));
        return {};
      });
}

std::string NameOf(const mirror::ContentFile& file) {
  return "content/" + mirror::ContentPath(file.sha1, file.extension);
}

void Print(Context& context, const Findings& findings, bool deep) {
  for (const Damage& damage : findings.content) {
    context.Print(fmt::format("{}: {}", NameOf(damage.file), EscapeForDisplay(damage.what, 400)));
  }
  for (const Fault& fault : findings.faults) {
    context.Print(fmt::format("{}: {}", fault.where, EscapeForDisplay(fault.what, 400)));
  }
  for (const auto& dangling : findings.dangling) {
    context.Print(fmt::format("update {}: {} (it is not offered)", dangling.update.ToString(),
                              EscapeForDisplay(dangling.what)));
  }
  if (!findings.sound()) return;
  context.Print(fmt::format("{}, {}: {}", Plural(findings.files, "file"),
                            FormatByteCount(findings.bytes),
                            deep ? "every byte is as it was verified"
                                 : "all present with their sizes ('--deep' reads every byte)"));
  context.Print(deep ? "databases and audit chain are sound" : "the audit chain is sound");
}

json ToJson(const Findings& findings, bool deep, bool dropped) {
  json object = {{"deep", deep},
                 {"files", findings.files},
                 {"bytes", findings.bytes},
                 {"sound", findings.sound()},
                 {"dropped", dropped},
                 {"damage", json::array()},
                 {"faults", json::array()},
                 {"dangling", json::array()}};
  for (const Damage& damage : findings.content) {
    object["damage"].push_back({{"file", NameOf(damage.file)},
                                {"sha1", damage.file.sha1.ToHex()},
                                {"size", damage.file.size_bytes},
                                {"what", damage.what}});
  }
  for (const Fault& fault : findings.faults) {
    object["faults"].push_back({{"where", fault.where}, {"what", fault.what}});
  }
  for (const auto& dangling : findings.dangling) {
    object["dangling"].push_back({{"update", dangling.update.ToString()}, {"what", dangling.what}});
  }
  return object;
}

std::unexpected<Error> FailDamaged(const Context& context, const mirror::Mirror& mirror,
                                   const Findings& findings, bool deep, bool dropped) {
  if (!findings.faults.empty()) {
    const Fault& first = findings.faults.front();
    std::string next = "stop serve and take the mirror back from its backup";
    if (first.where == "audit") next = NextCommand(context, "log --limit 0");
    return FailNext(
        ErrorCode::kCorrupt, "store-damaged",
        fmt::format("mirror '{}' is damaged: {}: {}", EscapeForDisplay(mirror.identity().name),
                    first.where, EscapeForDisplay(first.what)),
        std::move(next));
  }
  const std::string what =
      fmt::format("{} of {} in the content store {} damaged", findings.content.size(),
                  Plural(findings.files, "file"), findings.content.size() == 1 ? "is" : "are");
  if (!dropped) {
    return FailNext(ErrorCode::kCorrupt, "store-damaged", what,
                    NextCommand(context, deep ? "store check --deep --drop-damaged"
                                              : "store check --drop-damaged"));
  }
  const auto& config = mirror.config();
  const bool syncs = !config.upstream.gap && !config.upstream.wsus.empty();
  return FailNext(ErrorCode::kCorrupt, "store-damaged", what + "; dropped, to be brought again",
                  syncs                 ? NextCommand(context, "sync")
                  : config.upstream.gap ? NextCommand(context, "export --return --to DIR")
                                        : WhatBringsFiles(context, config));
}

Result<ExitCode> RunCheck(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  const bool deep = context.args().Has("deep");
  TRY_ASSIGN(const Findings findings, Check(context, mirror, deep));
  bool dropped = false;
  if (context.args().Has("drop-damaged") && !findings.content.empty()) {
    if (auto done = Drop(mirror, findings); !done) {
      return WithNext(std::move(done).error(), NextCommand(context, "store check --drop-damaged"));
    }
    dropped = true;
  }
  Print(context, findings, deep);
  context.Emit(ToJson(findings, deep, dropped));
  if (!findings.sound()) return FailDamaged(context, mirror, findings, deep, dropped);
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> StoreCommands() {
  return {
      {.path = {"store", "check"},
       .summary = "compare what is held with what was verified",
       .description =
           "Looks whether every content file is there with its size, and verifies the chain of "
           "audit records.\nWith --deep, reads every byte and compares SHA-1 and SHA-256, and "
           "checks the databases.\nOn damage the exit code is 20, and each damaged file is a line "
           "of the output. --drop-damaged\nforgets damaged files, so that clients are not offered "
           "them and the next sync or bundle brings\nthem again.",
       .examples = {{"gapferry store check"},
                    {"gapferry store check --deep", "once a month"},
                    {"gapferry store check --deep --drop-damaged"}},
       .options = {{"--deep", Takes::kNothing, {}, "read and hash everything"},
                   {"--drop-damaged", Takes::kNothing, {}, "forget damaged files"}},
       .exits = {ExitCode::kNotFound, ExitCode::kBusy, ExitCode::kCorrupt},
       .run = RunCheck}};
}

}  // namespace gapferry::cli
