// gapferry status: what a mirror holds, and what is wrong or waiting.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/fetcher.h"
#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/survey.h"
#include "cli/trust_support.h"
#include "importer/own_side.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

// ---- JSON --------------------------------------------------------------------------------------

json JobToJson(const mirror::JobRecord& job) {
  json object = {{"id", job.id},
                 {"started", TimeToJson(job.started_at)},
                 {"ended", TimeToJson(job.ended_at)},
                 {"actor", job.actor},
                 {"result", mirror::JobResultName(job.result)},
                 {"counts", CountsToJson(job)},
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

json ToJson(const mirror::Mirror& mirror, const Everything& all,
            const std::optional<manifests::TrustState>& trust) {
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
                 {"job_running", all.job.held},
                 {"job", HolderToJson(all.job)},
                 {"schedules", json::array()},
                 {"schedules_run", all.schedules_run},
                 {"last_downstream_contact", TimeToJson(all.last_downstream_contact)},
                 {"last_bundle", nullptr},
                 {"sites", json::array()},
                 {"notices", json::array()}};
  if (config.upstream.gap) {
    object["upstream"] = "gap";
  } else if (!config.upstream.wsus.empty()) {
    object["upstream"] = DisplayUrl(config.upstream.wsus);
  }
  for (const char* kind : kJobKinds) {
    std::string key = fmt::format("last_{}", kind);
    std::replace(key.begin(), key.end(), '-', '_');
    const auto job = all.last_jobs.find(kind);
    object[key] = job == all.last_jobs.end() ? json() : JobToJson(job->second);
  }
  object["trust"] = trust ? RulesToJson(*trust) : json::array();
  if (all.last_import) object["last_bundle"] = ImportToJson(*all.last_import);
  for (const auto& view : all.next_runs) object["schedules"].push_back(NextRunToJson(view));
  for (const auto& site : all.sites) object["sites"].push_back(SiteToJson(site));
  for (const auto& notice : all.notices) {
    object["notices"].push_back(
        {{"reason", notice.reason}, {"message", notice.text}, {"next", notice.next}});
  }
  return object;
}

// ---- For people --------------------------------------------------------------------------------

std::string Feed(const mirror::Config& config) {
  std::string feed = config.upstream.gap ? "bundles carried over a gap"
                     : !config.upstream.wsus.empty()
                         ? EscapeForDisplay(DisplayUrl(config.upstream.wsus))
                         : "nothing";
  return feed + (config.replica ? ", approvals come from above" : ", approvals are made here");
}

using Rows = std::vector<std::vector<std::string>>;

std::string JobLine(const mirror::JobRecord& job, UtcTime now) {
  std::string text =
      fmt::format("{} ({}), {}", Minute(job.started_at),
                  Distance(job.ended_at.value_or(job.started_at), now), ResultText(job.result));
  if (job.generation) text += fmt::format(", generation {}", *job.generation);
  if (const std::string counts = CountsText(job); !counts.empty()) text += ": " + counts;
  return text;
}

/// The job that runs now, by whom and how far.
void AddRunning(const Everything& all, Rows& rows) {
  if (!all.job.held) return;
  const mirror::JobNote& note = all.job.note;
  mirror::JobRecord record;
  record.actor = note.actor;
  rows.push_back(
      {"  running", note.kind.empty()
                        ? std::string("a job")
                        : fmt::format("{}, started {} by {}", EscapeForDisplay(note.kind, 40),
                                      Distance(note.since, all.now), ActorText(record))});
  if (note.step) rows.push_back({"", StepText(*note.step)});
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

void AddHoldings(const Everything& all, Rows& rows) {
  rows.push_back(
      {"  updates",
       fmt::format("{} to offer, {} approved, {} declined, {} expired; {} in all",
                   all.catalog.deployable_updates, all.approvals.approved, all.declined,
                   all.catalog.expired_updates, Plural(all.catalog.revisions, "revision"))});
  std::string content =
      fmt::format("{}, {}", Plural(all.content.files, "file"), FormatByteCount(all.content.bytes));
  if (all.approvals.missing_files > 0) {
    content += fmt::format("; {} of approved updates, {}, not here yet",
                           Plural(all.approvals.missing_files, "file"),
                           FormatByteCount(all.approvals.missing_bytes));
  }
  rows.push_back({"  content", content});
  std::string computers = Plural(all.activity.computers, "computer");
  if (all.activity.computers > 0) {
    computers += fmt::format(
        ": {} up to date, {} need updates, {} with errors", all.activity.computers_up_to_date,
        all.activity.computers_needing_updates, all.activity.computers_with_errors);
  }
  rows.push_back({"  computers", computers});
  if (all.activity.downstream_servers > 0) {
    rows.push_back(
        {"  servers below", fmt::format("{}, last contact {} ({})", all.activity.downstream_servers,
                                        Minute(all.last_downstream_contact),
                                        Distance(all.last_downstream_contact, all.now))});
  }
}

std::string ToText(const mirror::Mirror& mirror, const Everything& all,
                   const std::optional<manifests::TrustState>& trust) {
  constexpr std::size_t kShownDigits = 16;
  std::string text = fmt::format("mirror '{}' in {}\n", EscapeForDisplay(mirror.identity().name),
                                 EscapeForDisplay(mirror.path().string()));
  Rows rows = {{"  guid", mirror.identity().guid.ToString()},
               {"  fed by", Feed(mirror.config())},
               {"  state", fmt::format("generation {} of {}, state digest {}…",
                                       all.state.name.generation, Minute(all.state.committed_at),
                                       all.state.state_digest.ToHex().substr(0, kShownDigits))}};
  AddHoldings(all, rows);
  AddRunning(all, rows);
  for (const auto& [kind, job] : all.last_jobs) {
    if (job.result == mirror::JobResult::kRunning) continue;  // told above
    rows.push_back({"  last " + kind, JobLine(job, all.now)});
  }
  for (const auto& view : all.next_runs) {
    if (view.due) rows.push_back({"  next " + view.kind, NextRunText(*view.due, all.now)});
  }
  if (all.last_import) {
    rows.push_back({"  last bundle", fmt::format("{} of stream {}, {}", all.last_import->sequence,
                                                 EscapeForDisplay(all.last_import->stream),
                                                 Minute(all.last_import->imported_at))});
  }
  if (trust) std::ranges::copy(TrustRows(*trust), std::back_inserter(rows));
  for (const auto& site : all.sites) {
    rows.push_back({"  site " + EscapeForDisplay(site.name, 40), SiteLine(site)});
  }
  text += FormatTable(rows);
  if (!all.next_runs.empty() && LocalOffset(all.now).count() != 0) {
    text += "  (times without a zone are UTC)\n";
  }
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
  TRY_ASSIGN(const Everything all, Survey(context, mirror));
  std::optional<manifests::TrustState> trust;
  if (mirror.config().upstream.gap) {
    TRY_ASSIGN(trust, importer::ReadTrust(mirror));
  }
  context.Print(ToText(mirror, all, trust));
  context.Emit(ToJson(mirror, all, trust));
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
                         "guid, epoch, generation, digests, counts, jobs, sites, notices"}},
           .exits = {ExitCode::kNotFound, ExitCode::kCorrupt},
           .run = RunStatus}};
}

}  // namespace gapferry::cli
