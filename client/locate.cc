// Extended data: titles, files, licences, and where files are.
#include <algorithm>
#include <iterator>
#include <set>
#include <unordered_set>

#include "client/scan_parts.h"

namespace gapferry::client {

using protocol::DeploymentAction;

namespace {

struct Located {
  std::unordered_map<Sha1Digest, std::string> urls;
  std::unordered_map<protocol::UpdateId, std::vector<protocol::UpdateFile>> licences;
};

// Asks in batches for what the server says about `ids`.
Result<Located> FetchExtended(WuspSession& session, RevisionCache& cache,
                              const std::vector<std::int32_t>& ids, bool with_licences = false) {
  Located located;
  // Identities survive a renumbering in the midst of it, ids do not.
  std::vector<protocol::UpdateId> wanted;
  for (const std::int32_t id : ids) wanted.push_back(cache.Find(id)->core.id);
  const auto batch_size = static_cast<std::size_t>(session.max_extended_per_request());
  for (std::size_t at = 0; at < wanted.size(); at += batch_size) {
    const auto first = wanted.begin() + static_cast<std::ptrdiff_t>(at);
    const std::unordered_set<protocol::UpdateId> batch(
        first, first + static_cast<std::ptrdiff_t>(std::min(batch_size, wanted.size() - at)));
    const auto make = [&] {
      std::vector<std::int32_t> now;
      for (const auto& [id, revision] : cache.revisions()) {
        if (batch.contains(revision.core.id)) now.push_back(id);
      }
      return now;
    };
    TRY_ASSIGN(auto answer, session.GetExtendedUpdateInfo(make, with_licences));
    // An id occurs once per kind; which kind it is, its first element tells.
    std::map<std::int32_t, std::pair<std::string, std::string>> texts;
    for (protocol::UpdateFragment& fragment : answer.updates) {
      auto* plain = std::get_if<protocol::PlainText>(&fragment.xml);
      if (plain == nullptr) continue;
      if (plain->text.starts_with("<EulaFile")) {
        const CachedRevision* revision = cache.Find(fragment.id);
        if (revision == nullptr) continue;
        TRY_ASSIGN(auto files, ParseEulas(plain->text), "GetExtendedUpdateInfo");
        std::ranges::move(files, std::back_inserter(located.licences[revision->core.id]));
        continue;
      }
      const bool localized = plain->text.starts_with("<LocalizedProperties");
      auto& slot = texts[fragment.id];
      (localized ? slot.second : slot.first) = std::move(plain->text);
    }
    for (auto& [id, pair] : texts) {
      TRY(cache.SetExtended(id, std::move(pair.first), std::move(pair.second)),
          "GetExtendedUpdateInfo");
    }
    cache.Drop(answer.out_of_scope_revision_ids);
    for (protocol::FileLocation& location : answer.file_locations) {
      located.urls[location.file_digest] = std::move(location.url);
    }
    TRY(cache.Commit());
  }
  return located;
}

void AddLicences(OfferedUpdate& update, const RevisionCache& cache, Evaluator& evaluator,
                 const Located& located) {
  update.licences.clear();
  for (const std::int32_t id : evaluator.ContentRevisions(update.revision_id)) {
    const auto licences = located.licences.find(cache.Find(id)->core.id);
    if (licences == located.licences.end()) continue;
    for (const protocol::UpdateFile& file : licences->second) {
      const auto url = located.urls.find(file.sha1);
      update.licences.push_back({file, url == located.urls.end() ? std::string() : url->second});
    }
  }
}

}  // namespace

void AddFiles(OfferedUpdate& update, const RevisionCache& cache, Evaluator& evaluator,
              const std::unordered_map<Sha1Digest, std::string>& locations) {
  if (update.action == DeploymentAction::kUninstall) return;
  std::unordered_set<Sha1Digest> seen;
  update.files.clear();
  update.bytes = 0;
  for (const std::int32_t id : evaluator.ContentRevisions(update.revision_id)) {
    for (const protocol::UpdateFile& file : cache.Find(id)->extended.files) {
      if (!seen.insert(file.sha1).second) continue;
      const auto url = locations.find(file.sha1);
      update.files.push_back({file, url == locations.end() ? std::string() : url->second});
      update.bytes += file.size;
    }
  }
}

Result<void> FetchTitles(WuspSession& session, RevisionCache& cache,
                         const std::vector<std::int32_t>& ids) {
  TRY(FetchExtended(session, cache, ids));
  return {};
}

Result<void> Locate(WuspSession& session, ClientState& state, const Facts& facts,
                    std::vector<OfferedUpdate>& updates, bool with_licences) {
  const RevisionCache& cache = state.cache();
  const History history = HistoryOf(state, facts);
  std::set<std::int32_t> wanted;
  {
    Evaluator evaluator(cache, facts, history);
    for (const OfferedUpdate& update : updates) {
      if (cache.Find(update.revision_id) == nullptr) continue;
      const auto revisions = evaluator.ContentRevisions(update.revision_id);
      wanted.insert(revisions.begin(), revisions.end());
    }
  }
  TRY_ASSIGN(const Located located,
             FetchExtended(session, state.cache(), {wanted.begin(), wanted.end()}, with_licences));
  Evaluator evaluator(cache, facts, history);
  std::unordered_map<protocol::UpdateId, std::int32_t> ids;
  for (const auto& [id, revision] : cache.revisions()) ids[revision.core.id] = id;
  for (OfferedUpdate& update : updates) {
    const auto id = ids.find(update.id);
    if (id == ids.end()) continue;  // went out of scope meanwhile: nothing is located
    update.revision_id = id->second;
    update.title = cache.Find(id->second)->extended.title;
    AddFiles(update, cache, evaluator, located.urls);
    AddLicences(update, cache, evaluator, located);
  }
  return {};
}

}  // namespace gapferry::client
