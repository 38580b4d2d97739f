#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/progress.h"
#include "base/result.h"
#include "client/client_state.h"
#include "client/facts.h"
#include "client/wusp_session.h"
#include "protocol/update_document.h"

namespace gapferry::client {

struct OfferedFile {
  protocol::UpdateFile file;
  std::string url;  ///< as the server located it; empty when it did not
};

struct OfferedUpdate {
  std::int32_t revision_id = 0;
  protocol::UpdateId id;
  std::string title;
  protocol::DeploymentAction action = protocol::DeploymentAction::kInstall;
  std::optional<UtcTime> deadline;
  bool is_bundle = false;
  std::vector<OfferedFile> files;  ///< of it and of the members chosen; each file once
  std::uint64_t bytes = 0;         ///< of the files
  bool has_eula = false;
  std::vector<OfferedFile> licences;  ///< texts of the licence, one per language; see Locate
};

/// An update that the server deployed for this computer and that is not offered. `reason` is a
/// slug: "installed", "not-installed" (of an uninstall), "restart-pending", "not-applicable",
/// "superseded", "unknown-rule", "not-approved", "blocked".
struct NotOffered {
  protocol::UpdateId id;
  std::string title;
  std::string reason;
  std::string detail;  ///< for people; may be empty
};

struct ScanResult {
  std::vector<OfferedUpdate> offered;
  std::vector<NotOffered> not_offered;
  std::vector<Guid> needed;           ///< deployed leaf software, can be installed (event 156, U=)
  std::vector<Guid> installed;        ///< the same, installed (V=)
  std::vector<Guid> restart_pending;  ///< the same, installed after a restart (W=)
  std::vector<Guid> failed;           ///< needed, and the last attempt failed (g=)
  std::vector<Guid> downloaded;       ///< needed, and complete on this computer (h=)
  std::vector<Guid> unknown_categories;  ///< of a category scan: the server knows none of these
  std::set<std::string> unknown_operators;
  int round_trips = 0;  ///< SyncUpdates calls
  std::size_t new_revisions = 0;
  std::size_t changed_revisions = 0;
  std::size_t dropped_revisions = 0;
  std::size_t revisions_cached = 0;
};

struct ScanOptions {
  bool with_drivers = true;
  int max_round_trips = 200;  ///< as agents: they give up with 0x80244010
  /// Not empty: a category scan (StartCategoryScan, FilterCategoryIds) of software alone, as set-up
  /// does it. What is deployed besides stays in the cache.
  std::vector<Guid> categories;
  bool assume_installed = false;  ///< as if every category and detectoid held: the longest walk
  bool with_extended = true;      ///< titles, files and locations of what is deployed
};

/// A scan as an agent does it (MS-WUSP 3.2.5, companion 7.3): software passes until the server has
/// nothing more to unlock, one driver pass, then Extended and LocalizedProperties in batches. What
/// each answer brought is on disk before the next call, so an interrupted scan goes on where it
/// was. Fails as WuspSession does, with kCorrupt when the server gives answers that make no sense
/// or does not come to an end.
Result<ScanResult> Scan(WuspSession& session, ClientState& state, const Facts& facts,
                        const Clock& clock, Progress& progress, const ScanOptions& options = {});

/// The result as the cache stands, without a call: titles and files as far as they are known.
ScanResult Judge(const ClientState& state, const Facts& facts);

/// Why an update is offered or not, as the cache stands.
struct Explanation {
  protocol::UpdateId id;
  std::string title;
  protocol::DeploymentAction action = protocol::DeploymentAction::kEvaluate;
  std::string reason;  ///< of NotOffered; empty: it is offered, or not deployed for its own sake
  std::string detail;
  std::vector<std::string> lines;  ///< the rules one by one
};
/// All revisions of the update that the server has told of; none when it has not.
std::vector<Explanation> Explain(const ClientState& state, const Facts& facts, const Guid& update);

/// Fresh extended data and file locations for `updates` and the members they need; fills `files`
/// and `bytes`, and `licences` when they are asked for.
Result<void> Locate(WuspSession& session, ClientState& state, const Facts& facts,
                    std::vector<OfferedUpdate>& updates, bool with_licences = false);

}  // namespace gapferry::client
