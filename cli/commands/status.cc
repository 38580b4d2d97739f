// gapferry status: what a mirror holds, and what is wrong or waiting.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/file.h"
#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "mirror/content_store.h"
#include "mirror/job_history.h"
#include "mirror/ledger.h"
#include "mirror/relatives.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

/// Something wrong or waiting; `next` is what to type.
struct Notice {
  std::string reason;  ///< a stable word
  std::string text;
  std::string next;
};

/// Approvals, and what of them cannot be offered yet.
struct Approvals {
  std::uint64_t approved = 0;  ///< updates
  std::uint64_t needing_files = 0;
  std::uint64_t missing_files = 0;  ///< a file of two updates counts twice
  std::uint64_t missing_bytes = 0;
  std::uint64_t expired = 0;
  std::uint64_t withheld = 0;  ///< digest conflict
};

struct Everything {
  mirror::PublishedState state;
  Sha256Digest content_digest;
  mirror::ContentStore::Totals content;
  mirror::CatalogCounts catalog;
  mirror::ActivityCounts activity;
  Approvals approvals;
  std::uint64_t declined = 0;
  std::map<std::string, mirror::JobRecord> last_jobs;       ///< by kind
  std::map<std::string, mirror::JobRecord> last_good_jobs;  ///< by kind
  std::vector<mirror::Site> sites;
  std::optional<mirror::BundleIn> last_import;
  bool job_running = false;
  std::vector<Notice> notices;
};

constexpr const char* kJobKinds[] = {"sync",          "import",        "export",
                                     "export-return", "import-return", "rollup"};

// ---- Collecting --------------------------------------------------------------------------------

/// Whether some process holds DIR/job.lock, without touching the lock: a status must not make a job
/// that starts at this moment believe that another one runs.
bool IsJobRunning(const std::filesystem::path& mirror) {
  struct stat status {};
  if (::stat((mirror / "job.lock").c_str(), &status) != 0) return false;
  std::ifstream locks("/proc/locks");
  const std::string inode = fmt::format(":{}", status.st_ino);
  std::string line;
  while (std::getline(locks, line)) {
    if (line.find("FLOCK") == std::string::npos) continue;
    for (const std::string_view word : Split(line, ' ')) {
      if (word.ends_with(inode)) return true;
    }
  }
  return false;
}

Result<Approvals> ReadApprovals(mirror::Mirror& mirror) {
  Approvals found;
  std::set<protocol::UpdateId> revisions;
  std::set<Guid> updates;
  TRY_ASSIGN(const auto deployments, mirror.intent().Deployments());
  for (const auto& deployment : deployments) {
    if (deployment.action != mirror::DeploymentAction::kInstall &&
        deployment.action != mirror::DeploymentAction::kUninstall &&
        deployment.action != mirror::DeploymentAction::kOptionalInstall) {
      continue;
    }
    updates.insert(deployment.update.guid);
    revisions.insert(deployment.update);
  }
  found.approved = updates.size();
  for (const auto& revision : revisions) {
    TRY_ASSIGN(const auto row, mirror.catalog().Find(revision));
    if (!row) continue;
    if (row->is_expired) ++found.expired;
    if (row->has_digest_conflict) ++found.withheld;
    TRY_ASSIGN(const auto payload, mirror.catalog().PayloadOf(row->id));
    if (payload.missing_files == 0) continue;
    ++found.needing_files;
    found.missing_files += payload.missing_files;
    found.missing_bytes += payload.missing_bytes;
  }
  return found;
}

Result<Everything> Collect(mirror::Mirror& mirror) {
  Everything all;
  {
    TRY_ASSIGN(const auto view, mirror.catalog().BeginRead());
    TRY_ASSIGN(all.state, mirror.catalog().Published());
    TRY_ASSIGN(all.catalog, mirror.catalog().Counts());
    TRY_ASSIGN(all.approvals, ReadApprovals(mirror));
    TRY_ASSIGN(const auto declined, mirror.intent().Declined());
    all.declined = declined.size();
    TRY_ASSIGN(all.content_digest, mirror.content().Digest());
    TRY_ASSIGN(all.content, mirror.content().Count());
    for (const char* kind : kJobKinds) {
      TRY_ASSIGN(auto last, mirror.jobs().Last(kind));
      if (last) all.last_jobs.emplace(kind, *std::move(last));
      TRY_ASSIGN(auto good, mirror.jobs().LastGood(kind));
      if (good) all.last_good_jobs.emplace(kind, *std::move(good));
    }
    mirror::Ledger ledger(mirror.db());
    TRY_ASSIGN(all.sites, ledger.Sites());
    TRY_ASSIGN(all.last_import, ledger.LastImport());
  }
  TRY_ASSIGN(mirror::Activity* const activity, mirror.activity());
  TRY_ASSIGN(all.activity, activity->Counts());
  all.job_running = IsJobRunning(mirror.path());
  return all;
}

// ---- What is wrong or waiting ------------------------------------------------------------------

std::string ErrorOf(const mirror::JobRecord& job) {
  const json detail = DetailToJson(job.detail);
  const auto error = detail.find("error");
  if (error == detail.end() || !error->is_string()) return {};
  return EscapeForDisplay(error->get<std::string>(), 300);
}

class Notices {
 public:
  Notices(const Context& context, mirror::Mirror& mirror, Everything& all)
      : context_(context), mirror_(mirror), config_(mirror.config()), all_(all) {}

  Result<void> Find() {
    FindFeed();
    FindFailedJobs();
    FindApprovals();
    TRY(FindConflicts());
    TRY(FindSites());
    FindReturns();
    return {};
  }

 private:
  void Add(std::string reason, std::string text, std::string_view command) {
    all_.notices.push_back({std::move(reason), std::move(text),
                            command.empty() ? "" : NextCommand(context_, command)});
  }

  const mirror::JobRecord* Last(const char* kind) const {
    const auto found = all_.last_jobs.find(kind);
    return found == all_.last_jobs.end() ? nullptr : &found->second;
  }
  const mirror::JobRecord* LastGood(const char* kind) const {
    const auto found = all_.last_good_jobs.find(kind);
    return found == all_.last_good_jobs.end() ? nullptr : &found->second;
  }

  /// Where updates come from, and how long ago.
  void FindFeed() {
    if (config_.upstream.gap) {
      std::error_code error;
      const auto cards = mirror_.keys().trusted_folder;
      const bool trusts =
          std::filesystem::is_directory(cards, error) && !std::filesystem::is_empty(cards, error);
      if (!trusts) {
        Add("no-sender", "no sender is trusted yet, so no bundle is accepted", "trust add CARD");
      } else if (!all_.last_import) {
        Add("never-imported", "no bundle has been imported yet", "import PATH");
      }
    } else if (config_.upstream.wsus.empty()) {
      if (all_.catalog.revisions == 0) {
        Add("no-upstream", "no upstream is configured: set upstream.wsus or upstream.gap", "");
        all_.notices.back().next = "edit " + ShellWord((mirror_.path() / "gapferry.yaml").string());
      }
    } else if (const auto* good = LastGood("sync"); good == nullptr) {
      Add("never-synced", "no sync has ended well yet", "sync");
    } else {
      constexpr std::chrono::hours kWeek{7 * 24};
      const UtcTime at = good->ended_at.value_or(good->started_at);
      if (mirror_.clock().Now() > at + kWeek) {
        Add("sync-old", fmt::format("the last good sync is of {}", Minute(at)), "sync");
      }
    }
  }

  void FindFailedJobs() {
    const std::pair<const char*, const char*> commands[] = {
        {"sync", "sync"},
        {"import", "import PATH"},
        {"export", "export --to DIR --for SITE"},
        {"export-return", "export --return --to DIR"},
        {"import-return", "import PATH"},
        {"rollup", "rollup"}};
    for (const auto& [kind, command] : commands) {
      const mirror::JobRecord* job = Last(kind);
      if (job == nullptr) continue;
      const std::string error = ErrorOf(*job);
      const std::string why = error.empty() ? "" : ": " + error;
      switch (job->result) {
        case mirror::JobResult::kFailed:
          Add("job-failed",
              fmt::format("the last {} ({}) failed{}", kind, Minute(job->started_at), why),
              command);
          break;
        case mirror::JobResult::kPartly:
          Add("job-partly",
              fmt::format("the last {} ({}) did a part only{}", kind, Minute(job->started_at), why),
              command);
          break;
        case mirror::JobResult::kInterrupted:
        case mirror::JobResult::kCancelled:
          Add("job-unfinished",
              fmt::format("the last {} ({}) was stopped and can go on", kind,
                          Minute(job->started_at)),
              command);
          break;
        case mirror::JobResult::kRunning:
          if (!all_.job_running) {
            Add("job-unfinished",
                fmt::format("the last {} ({}) ended without a word and can go on", kind,
                            Minute(job->started_at)),
                command);
          }
          break;
        case mirror::JobResult::kDone:
          break;
      }
    }
  }

  void FindApprovals() {
    const Approvals& approvals = all_.approvals;
    if (approvals.needing_files > 0) {
      const bool syncs = !config_.upstream.gap && !config_.upstream.wsus.empty() &&
                         config_.content.download != mirror::ContentPolicy::kNone;
      Add("files-missing",
          fmt::format(
              "{} for {} ({}) and {} not offered until then: {}",
              Plural(approvals.needing_files, "approved update waits", "approved updates wait"),
              Plural(approvals.missing_files, "file"), FormatByteCount(approvals.missing_bytes),
              approvals.needing_files == 1 ? "is" : "are", WhatBringsFiles(context_, config_)),
          syncs                  ? "sync"
          : config_.upstream.gap ? "export --return --to DIR"
                                 : "");
    }
    if (approvals.expired > 0) {
      Add("approved-expired",
          fmt::format("{} expired and not offered any more",
                      Plural(approvals.expired, "approved update is", "approved updates are")),
          "update list --approved --expired");
    }
  }

  Result<void> FindConflicts() {
    constexpr int kMost = 1000;
    TRY_ASSIGN(const auto conflicts, mirror::DigestConflicts(mirror_.db(), kMost));
    if (conflicts.empty()) return {};
    Add("digest-conflict",
        fmt::format("{} withheld: a file contradicts what is known under the same SHA-1; the "
                    "first is {}",
                    Plural(conflicts.size(), "update is", "updates are"),
                    conflicts.front().ToString()),
        "update show " + conflicts.front().ToString());
    return {};
  }

  Result<void> FindSites() {
    mirror::Ledger ledger(mirror_.db());
    for (const mirror::Site& site : all_.sites) {
      const std::string name = EscapeForDisplay(site.name);
      const std::string export_line = "export --to DIR --for " + ShellWord(site.stream);
      if (!site.diverged.empty()) {
        Add("site-diverged",
            fmt::format("site '{}' has diverged: {}", name, EscapeForDisplay(site.diverged)),
            export_line + " --full");
        continue;
      }
      TRY_ASSIGN(const auto unfinished, ledger.Unfinished(site.guid));
      if (unfinished) {
        Add("bundle-unfinished",
            fmt::format("bundle {} for site '{}' is reserved and not finished",
                        unfinished->sequence, name),
            export_line);
        continue;
      }
      TRY_ASSIGN(const auto bundles, ledger.Bundles(site.guid));
      mirror::Generation written = 0;
      for (const auto& bundle : bundles) {
        if (bundle.state == mirror::BundleState::kVoid) continue;
        written = std::max(written, bundle.target.name.generation);
      }
      if (written < all_.state.name.generation) {
        Add("export-due",
            written == 0 ? fmt::format("nothing has been exported for site '{}' yet", name)
                         : fmt::format("generations {} to {} are in no bundle for site '{}' yet",
                                       written + 1, all_.state.name.generation, name),
            export_line);
      }
    }
    return {};
  }

  /// A receipt tells the sender that it may send less.
  void FindReturns() {
    if (!all_.last_import) return;
    const mirror::JobRecord* written = LastGood("export-return");
    const UtcTime at = written == nullptr ? UtcTime{} : written->started_at;
    if (at < all_.last_import->imported_at) {
      Add("return-due",
          fmt::format("the receipt for bundle {} has not been written yet",
                      all_.last_import->sequence),
          "export --return --to DIR");
    }
  }

  const Context& context_;
  mirror::Mirror& mirror_;
  const mirror::Config& config_;
  Everything& all_;
};

// ---- JSON --------------------------------------------------------------------------------------

json JobToJson(const mirror::JobRecord& job) {
  json object = {{"started", TimeToJson(job.started_at)},
                 {"ended", TimeToJson(job.ended_at)},
                 {"result", mirror::JobResultName(job.result)},
                 {"generation", nullptr},
                 {"detail", DetailToJson(job.detail)}};
  if (job.generation) object["generation"] = *job.generation;
  return object;
}

json SiteToJson(const mirror::Site& site) {
  json object = {{"guid", site.guid.ToString()},
                 {"name", site.name},
                 {"stream", site.stream},
                 {"last_sequence", site.last_sequence},
                 {"acknowledged_sequence", site.acknowledged_sequence},
                 {"acknowledged_generation", nullptr},
                 {"acknowledged_at", TimeToJson(site.acknowledged_at)},
                 {"last_return", site.applied_return},
                 {"last_return_at", TimeToJson(site.last_return_at)},
                 {"diverged", site.diverged}};
  if (site.acknowledged) {
    object["acknowledged_generation"] = site.acknowledged->name.generation;
  }
  return object;
}

json ImportToJson(const mirror::BundleIn& bundle) {
  return {{"sender", bundle.sender.ToString()},
          {"stream", bundle.stream},
          {"sequence", bundle.sequence},
          {"full", bundle.full},
          {"generation", bundle.local_generation},
          {"sender_generation", bundle.target.name.generation},
          {"imported_at", TimeToJson(bundle.imported_at)},
          {"upstream_sync_at", TimeToJson(bundle.upstream_sync_at)}};
}

json CountsToJson(const Everything& all) {
  return {{"revisions", all.catalog.revisions},
          {"updates", all.catalog.updates},
          {"deployable", all.catalog.deployable_updates},
          {"expired", all.catalog.expired_updates},
          {"withdrawn", all.catalog.withdrawn},
          {"categories", all.catalog.categories},
          {"detectoids", all.catalog.detectoids},
          {"approved", all.approvals.approved},
          {"declined", all.declined},
          {"needing_files", all.approvals.needing_files},
          {"computers", all.activity.computers},
          {"computers_needing_updates", all.activity.computers_needing_updates},
          {"computers_with_errors", all.activity.computers_with_errors},
          {"computers_up_to_date", all.activity.computers_up_to_date},
          {"updates_needed", all.activity.updates_needed},
          {"downstream_servers", all.activity.downstream_servers}};
}

json ToJson(const mirror::Mirror& mirror, const Everything& all) {
  const auto& config = mirror.config();
  json object = {{"name", mirror.identity().name},
                 {"path", mirror.path().string()},
                 {"guid", mirror.identity().guid.ToString()},
                 {"epoch", all.state.name.epoch.ToString()},
                 {"generation", all.state.name.generation},
                 {"chain", all.state.name.chain.ToHex()},
                 {"committed_at", TimeToJson(all.state.committed_at)},
                 {"state_digest", all.state.state_digest.ToHex()},
                 {"passed_on_digest", all.state.passed_on_digest.ToHex()},
                 {"documents_digest", all.state.documents_digest.ToHex()},
                 {"intent_digest", all.state.intent_digest.ToHex()},
                 {"content_digest", all.content_digest.ToHex()},
                 {"replica", config.replica},
                 {"upstream", nullptr},
                 {"return_level", mirror::ReturnLevelName(config.return_level)},
                 {"counts", CountsToJson(all)},
                 {"content",
                  {{"files", all.content.files},
                   {"bytes", all.content.bytes},
                   {"missing_files", all.approvals.missing_files},
                   {"missing_bytes", all.approvals.missing_bytes}}},
                 {"job_running", all.job_running},
                 {"last_bundle", nullptr},
                 {"sites", json::array()},
                 {"notices", json::array()}};
  if (config.upstream.gap) {
    object["upstream"] = "gap";
  } else if (!config.upstream.wsus.empty()) {
    object["upstream"] = config.upstream.wsus;
  }
  for (const char* kind : kJobKinds) {
    std::string key = fmt::format("last_{}", kind);
    std::replace(key.begin(), key.end(), '-', '_');
    const auto job = all.last_jobs.find(kind);
    object[key] = job == all.last_jobs.end() ? json() : JobToJson(job->second);
  }
  if (all.last_import) object["last_bundle"] = ImportToJson(*all.last_import);
  for (const auto& site : all.sites) object["sites"].push_back(SiteToJson(site));
  for (const auto& notice : all.notices) {
    object["notices"].push_back(
        {{"reason", notice.reason}, {"message", notice.text}, {"next", notice.next}});
  }
  return object;
}

// ---- For people --------------------------------------------------------------------------------

std::string Feed(const mirror::Config& config) {
  std::string feed = config.upstream.gap             ? "bundles carried over a gap"
                     : !config.upstream.wsus.empty() ? EscapeForDisplay(config.upstream.wsus)
                                                     : "nothing";
  return feed + (config.replica ? ", approvals come from above" : ", approvals are made here");
}

std::string JobLine(const mirror::JobRecord& job, bool running) {
  std::string text = fmt::format("{}, {}", Minute(job.started_at),
                                 job.result == mirror::JobResult::kRunning && running
                                     ? std::string_view("running now")
                                     : mirror::JobResultName(job.result));
  if (job.generation) text += fmt::format(", generation {}", *job.generation);
  return text;
}

std::string SiteLine(const mirror::Site& site) {
  std::string text =
      site.last_sequence == 0 ? "no bundle yet" : fmt::format("bundle {}", site.last_sequence);
  if (site.acknowledged) {
    text += fmt::format("; bundle {} acknowledged (generation {})", site.acknowledged_sequence,
                        site.acknowledged->name.generation);
  } else if (site.last_sequence > 0) {
    text += "; no receipt yet";
  }
  if (site.last_return_at) {
    text += fmt::format("; return {} of {}", site.applied_return, Minute(*site.last_return_at));
  }
  return text;
}

using Rows = std::vector<std::vector<std::string>>;

void AddHoldings(const Everything& all, Rows& rows) {
  rows.push_back(
      {"  updates",
       fmt::format("{} to offer, {} approved, {} declined, {} expired; {} in all",
                   all.catalog.deployable_updates, all.approvals.approved, all.declined,
                   all.catalog.expired_updates, Plural(all.catalog.revisions, "revision"))});
  rows.push_back({"  content", fmt::format("{}, {}", Plural(all.content.files, "file"),
                                           FormatByteCount(all.content.bytes))});
  std::string computers = Plural(all.activity.computers, "computer");
  if (all.activity.computers > 0) {
    computers += fmt::format(
        ": {} up to date, {} need updates, {} with errors", all.activity.computers_up_to_date,
        all.activity.computers_needing_updates, all.activity.computers_with_errors);
  }
  if (all.activity.downstream_servers > 0) {
    computers += fmt::format("; {} below", Plural(all.activity.downstream_servers, "server"));
  }
  rows.push_back({"  computers", computers});
}

std::string ToText(const mirror::Mirror& mirror, const Everything& all) {
  constexpr std::size_t kShownDigits = 16;
  std::string text = fmt::format("mirror '{}' in {}\n", EscapeForDisplay(mirror.identity().name),
                                 EscapeForDisplay(mirror.path().string()));
  Rows rows = {{"  guid", mirror.identity().guid.ToString()},
               {"  fed by", Feed(mirror.config())},
               {"  state", fmt::format("generation {} of {}, state digest {}…",
                                       all.state.name.generation, Minute(all.state.committed_at),
                                       all.state.state_digest.ToHex().substr(0, kShownDigits))}};
  AddHoldings(all, rows);
  for (const auto& [kind, job] : all.last_jobs) {
    rows.push_back({"  last " + kind, JobLine(job, all.job_running)});
  }
  if (all.last_import) {
    rows.push_back({"  last bundle", fmt::format("{} of stream {}, {}", all.last_import->sequence,
                                                 EscapeForDisplay(all.last_import->stream),
                                                 Minute(all.last_import->imported_at))});
  }
  for (const auto& site : all.sites) {
    rows.push_back({"  site " + EscapeForDisplay(site.name, 40), SiteLine(site)});
  }
  text += FormatTable(rows);
  if (all.notices.empty()) return text + "nothing is wrong or waiting\n";
  constexpr std::size_t kWidth = 96;
  for (const auto& notice : all.notices) {
    text += "\n" + Wrap("! " + notice.text, kWidth, "");
    if (!notice.next.empty()) text += "  next: " + notice.next + '\n';
  }
  return text;
}

Result<ExitCode> RunStatus(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(Everything all, Collect(mirror));
  TRY(Notices(context, mirror, all).Find());
  context.Print(ToText(mirror, all));
  context.Emit(ToJson(mirror, all));
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> StatusCommands() {
  return {{.path = {"status"},
           .summary = "what the mirror holds, and what is wrong or waiting",
           .description =
               "Changes nothing. The exit code is 0 whatever it finds; programs read 'notices' of "
               "the JSON,\neach with a stable 'reason' and the next command.",
           .examples = {{"gapferry status"},
                        {"gapferry status --json",
                         "guid, epoch, generation, digests, counts, last jobs, sites, notices"}},
           .exits = {ExitCode::kNotFound, ExitCode::kCorrupt},
           .run = RunStatus}};
}

}  // namespace gapferry::cli
