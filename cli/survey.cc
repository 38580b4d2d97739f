#include "cli/survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/evidence_notices.h"
#include "cli/site_view.h"
#include "cli/trust_support.h"
#include "importer/own_side.h"
#include "mirror/deadlines.h"
#include "mirror/proposals.h"
#include "mirror/relatives.h"
#include "mirror/update_block.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

// ---- Collecting --------------------------------------------------------------------------------

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
  TRY_ASSIGN(const auto servers, activity->Servers());
  for (const auto& server : servers) {
    all.last_downstream_contact = std::max(all.last_downstream_contact, server.last_contact);
  }
  all.now = mirror.clock().Now();
  TRY_ASSIGN(all.job, mirror::JobLock::Look(mirror.path()));
  TRY_ASSIGN(all.next_runs, ReadNextRuns(mirror, mirror.config().schedule));
  TRY_ASSIGN(all.schedules_run, mirror::AreSchedulesRun(mirror.path()));
  return all;
}

// ---- What is wrong or waiting ------------------------------------------------------------------

class Notices {
 public:
  Notices(const Context& context, mirror::Mirror& mirror, Everything& all)
      : context_(context), mirror_(mirror), config_(mirror.config()), all_(all) {}

  Result<void> Find() {
    FindFeed();
    FindFailedJobs();
    FindSchedules();
    FindApprovals();
    TRY(FindConflicts());
    TRY(FindDecisions());
    TRY(FindSites());
    TRY(FindReturns());
    TRY(FindTrust());
    TRY_ASSIGN(auto more, FindEvidenceNotices(context_, mirror_, all_.sites));
    for (auto& notice : more) all_.notices.push_back(std::move(notice));
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
      // A failed one is told as such.
      if (Last("sync") == nullptr) Add("never-synced", "nothing has been synced yet", "sync");
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
      const Error error = ErrorOf(*job);
      const std::string why = error.message.empty() ? "" : ": " + error.message;
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
        case mirror::JobResult::kCancelled:
          Add("job-unfinished",
              fmt::format("the last {} ({}) was stopped by somebody and can go on", kind,
                          Minute(job->started_at)),
              command);
          break;
        case mirror::JobResult::kInterrupted:
          Add("job-unfinished",
              fmt::format("the last {} ({}) was broken off (killed, crashed, or the machine went "
                          "down) and can go on{}",
                          kind, Minute(job->started_at), why),
              command);
          break;
        case mirror::JobResult::kRunning:
        case mirror::JobResult::kDone:
        case mirror::JobResult::kPostponed:  // the next one on the schedule does it
          break;
      }
    }
  }

  void FindSchedules() {
    mirror::Config config = config_;
    if (const auto fits = mirror::CheckSchedule(config); !fits) {
      Add("schedule-useless", fits.error().message + "; 'gapferry serve' refuses to start",
          config.schedule.sync.is_empty() ? "schedule remove rollup" : "schedule remove sync");
    } else if (!all_.next_runs.empty() && !all_.schedules_run) {
      Add("schedule-idle",
          "jobs are scheduled, but no 'gapferry serve' runs on this mirror to start them", "serve");
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

  Result<void> FindTrust() {
    if (!config_.upstream.gap) return {};
    TRY_ASSIGN(const auto state, importer::ReadTrust(mirror_));
    for (auto& notice : FindTrustNotices(context_, config_, state, all_)) {
      all_.notices.push_back(std::move(notice));
    }
    return {};
  }

  /// Decisions from above that wait, updates that are blocked here, a clock that stands behind.
  Result<void> FindDecisions() {
    TRY_ASSIGN(const auto waiting, mirror::CountProposals(mirror_));
    if (waiting > 0) {
      Add("proposals",
          fmt::format("{} here for a word",
                      Plural(waiting, "decision from above waits", "decisions from above wait")),
          "proposal list");
    }
    TRY_ASSIGN(const auto blocks, mirror::ReadBlocks(mirror_));
    if (!blocks.empty()) {
      Add("blocked",
          fmt::format("{} blocked here and not offered",
                      Plural(blocks.size(), "update is", "updates are")),
          "update show " + blocks.front().update.ToString());
    }
    TRY_ASSIGN(const auto not_before, mirror::ClockNotBefore(mirror_));
    if (not_before && mirror_.clock().Now() < *not_before) {
      Add("clock-behind",
          fmt::format("the clock of this machine ({}) lies before the last bundle was written: "
                      "deadlines wait until it is set",
                      Minute(mirror_.clock().Now())),
          "");
    }
    return {};
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
      TRY_ASSIGN(const auto asked, FindAskedRepair(ledger, site));
      if (asked) Add("repair-asked", asked->text, asked->command);
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
  Result<void> FindReturns() {
    if (!all_.last_import) return {};
    mirror::Ledger ledger(mirror_.db());
    TRY_ASSIGN(const auto written, ledger.LastReturn(all_.last_import->sender));
    if (!written || written->created_at < all_.last_import->imported_at) {
      Add("return-due",
          fmt::format("the receipt for bundle {} has not been written yet",
                      all_.last_import->sequence),
          "export --return --to DIR");
    }
    return {};
  }

  const Context& context_;
  mirror::Mirror& mirror_;
  const mirror::Config& config_;
  Everything& all_;
};

}  // namespace

Result<Everything> Survey(const Context& context, mirror::Mirror& mirror) {
  TRY_ASSIGN(Everything all, Collect(mirror));
  TRY(Notices(context, mirror, all).Find());
  return all;
}

}  // namespace gapferry::cli
