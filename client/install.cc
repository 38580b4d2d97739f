#include "client/install.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "client/download.h"

namespace gapferry::client {

namespace {

using protocol::DeploymentAction;

constexpr std::int32_t kInstallStarted = 181;
constexpr std::int32_t kInstallFailed = 182;
constexpr std::int32_t kInstalled = 183;
constexpr std::int32_t kInstallPending = 201;
constexpr std::int32_t kRestarted = 202;
constexpr std::int32_t kUninstallFailed = 221;
constexpr std::int32_t kUninstalled = 222;
constexpr std::int32_t kUninstallStarted = 226;
constexpr std::int32_t kRestartRequired = 0x00240005;  // WU_S_REBOOT_REQUIRED

PendingEvent EventOf(const OfferedUpdate& update, std::int32_t event_id, UtcTime when) {
  PendingEvent event;
  event.instance = Guid::Random();
  event.event_id = event_id;
  event.time = when;
  event.update = update.id;
  event.title = update.title;
  event.is_bundle = update.is_bundle;
  return event;
}

void TakeAsInstalled(History& history, const Guid& guid) {
  history.installed.insert(guid);
  history.installed_once.insert(guid);
  history.removed.erase(guid);
  history.restart_pending.erase(guid);
  history.downloaded.erase(guid);
  history.failed.erase(guid);
}

void AddFailure(ClientState& state, PendingEvent event, std::int32_t hresult) {
  Failure& failure = state.history().failed[event.update.guid];
  event.hresult = hresult;
  event.earlier_failures = failure.times++;
  failure.hresult = hresult;
  state.pending_events().push_back(std::move(event));
}

InstallStep Act(ClientState& state, const OfferedUpdate& update, const InstallOptions& options,
                UtcTime now) {
  const Guid& guid = update.id.guid;
  const bool removes = update.action == DeploymentAction::kUninstall;
  auto& events = state.pending_events();
  History& history = state.history();
  InstallStep step{update.id, update.title, {}, 0};
  events.push_back(EventOf(update, removes ? kUninstallStarted : kInstallStarted, now));
  if (const auto failure = options.failures.find(guid); failure != options.failures.end()) {
    AddFailure(state, EventOf(update, removes ? kUninstallFailed : kInstallFailed, now),
               failure->second);
    step.outcome = "failed";
    step.hresult = failure->second;
  } else if (removes) {
    events.push_back(EventOf(update, kUninstalled, now));
    history.installed.erase(guid);
    history.failed.erase(guid);
    history.removed.insert(guid);
    step.outcome = "removed";
  } else if (options.needs_restart) {
    events.push_back(EventOf(update, kInstallPending, now));
    events.back().hresult = kRestartRequired;
    history.restart_pending.insert(guid);
    history.failed.erase(guid);
    step.outcome = "restart-pending";
  } else {
    events.push_back(EventOf(update, kInstalled, now));
    TakeAsInstalled(history, guid);
    step.outcome = "installed";
  }
  return step;
}

// The newest revision of an update that the cache knows, as an event names it.
Result<OfferedUpdate> Known(const ClientState& state, const Guid& update) {
  const CachedRevision* newest = nullptr;
  for (const auto& [id, revision] : state.cache().revisions()) {
    if (revision.core.id.guid != update) continue;
    if (newest == nullptr || newest->core.id < revision.core.id) newest = &revision;
  }
  if (newest == nullptr) {
    return Fail(ErrorCode::kNotFound,
                fmt::format("update {} is not among the {} revisions this client was told of",
                            update.ToString(), state.cache().revisions().size()));
  }
  OfferedUpdate known;
  known.revision_id = newest->id;
  known.id = newest->core.id;
  known.title = newest->extended.title;
  known.action = newest->deployment.action;
  known.is_bundle = !newest->core.bundled.empty();
  return known;
}

}  // namespace

Result<std::vector<InstallStep>> PretendInstall(ClientState& state,
                                                const std::vector<OfferedUpdate>& updates,
                                                const InstallOptions& options, const Clock& clock) {
  for (const OfferedUpdate& update : updates) {
    const bool has_files = update.action != DeploymentAction::kUninstall && !update.files.empty();
    if (has_files && !state.history().downloaded.contains(update.id.guid)) {
      return Fail(
          ErrorCode::kUsage, "not-downloaded",
          fmt::format("update {} '{}' has {} file(s) that are not downloaded", update.id.ToString(),
                      EscapeForDisplay(update.title), update.files.size()));
    }
  }
  std::vector<InstallStep> steps;
  for (const OfferedUpdate& update : updates) {
    steps.push_back(Act(state, update, options, clock.Now()));
  }
  TRY(state.Save());
  return steps;
}

Result<std::size_t> PretendRestart(ClientState& state, const Clock& clock) {
  const std::set<Guid> waiting = state.history().restart_pending;
  for (const Guid& guid : waiting) TakeAsInstalled(state.history(), guid);
  state.pending_events().push_back(EventOf({}, kRestarted, clock.Now()));
  TRY(state.Save());
  return waiting.size();
}

Result<void> MarkInstalled(ClientState& state, const Guid& update, const Clock& clock) {
  TRY_ASSIGN(const OfferedUpdate known, Known(state, update));
  state.pending_events().push_back(EventOf(known, kInstalled, clock.Now()));
  TakeAsInstalled(state.history(), update);
  return state.Save();
}

Result<void> MarkFailed(ClientState& state, const Guid& update, std::int32_t hresult,
                        const Clock& clock) {
  TRY_ASSIGN(const OfferedUpdate known, Known(state, update));
  const bool removes = known.action == DeploymentAction::kUninstall;
  AddFailure(state, EventOf(known, removes ? kUninstallFailed : kInstallFailed, clock.Now()),
             hresult);
  return state.Save();
}

}  // namespace gapferry::client
