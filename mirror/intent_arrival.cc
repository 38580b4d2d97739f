#include "mirror/intent_arrival.h"

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "mirror/commit_impl.h"
#include "mirror/digest_tree.h"
#include "mirror/intent_rows.h"
#include "mirror/mirror.h"
#include "mirror/short_writes.h"

namespace gapferry::mirror {

namespace {

constexpr IntentOrigin kUpstream = IntentOrigin::kUpstream;
/// Fewer are written by the commit itself: a few milliseconds.
constexpr std::size_t kWrittenBefore = 500;

/// The kind and the GUID of an element, with which its line begins.
std::string KeyOf(char kind, const Guid& guid) {
  return std::string(1, kind) + " " + guid.ToString();
}
constexpr std::size_t kKeyBytes = 38;

Result<void> RemoveArriving(Database& db) {
  ShortWrites writes(db);
  for (std::int64_t removed = 1; removed > 0;) {
    const auto some = [&]() -> Result<void> {
      TRY(
          db.Run("DELETE FROM deployment WHERE id IN (SELECT id FROM deployment WHERE origin = 1 "
                 "AND generation = ? LIMIT 500)",
                 kArrivingGeneration));
      removed = db.ChangedRows();
      return {};
    };
    TRY(writes.Run(some));
  }
  return writes.Commit();
}

Result<void> WriteArriving(Database& db, const std::vector<IncomingDeployment>& deployments) {
  ShortWrites writes(db);
  for (const auto& d : deployments) {
    TRY(writes.Run([&] {
      return db.Run(
          "INSERT INTO deployment (origin, guid, update_guid, update_revision, target_group, "
          "action, deadline, is_assigned, download_priority, go_live, last_change, admin_name, "
          "created_generation, generation, is_dead) "
          "VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13)",
          d.guid, d.update.guid, d.update.revision, d.group, static_cast<int>(d.action), d.deadline,
          d.is_assigned ? 1 : 0, d.download_priority, d.go_live, d.last_change, d.admin_name,
          kArrivingGeneration, kArriving);
    }));
  }
  return writes.Commit();
}

}  // namespace

/// Sorts out what an import changes, in the order in which Importer (intent_import.cc) works, and
/// keeps what each element will be.
class IntentComparison {
 public:
  IntentComparison(Mirror& mirror, IntentImport import)
      : mirror_(mirror), db_(mirror.db()), import_(std::move(import)) {}

  Result<IntentArrival> Run() {
    IntentImport& rest = out_.rest_;
    rest.hold = import_.hold;
    rest.deadline_floor = import_.deadline_floor;
    rest.not_before = import_.not_before;
    TRY(Groups());
    TRY(Deployments());
    TRY(EndedDeployments());
    TRY(Guids("decline", 'X', import_.declined, import_.undeclined, import_.declined_are_full,
              rest.declined, rest.undeclined));
    TRY(Guids("eula_acceptance", 'E', import_.accepted_eulas, import_.dead_eulas,
              import_.eulas_are_full, rest.accepted_eulas, rest.dead_eulas));
    TRY(ComputeBuckets());
    return std::move(out_);
  }

 private:
  using Lines = std::map<std::string, std::optional<std::string>>;  // by KeyOf; none: gone

  void Becomes(const Guid& bucket_key, char kind, const Guid& guid,
               std::optional<std::string> line) {
    if (line) *line += '\n';
    changed_[BucketOf(bucket_key)][KeyOf(kind, guid)] = std::move(line);
  }

  Result<void> Groups() {
    TRY_ASSIGN(const auto groups, mirror_.intent().Groups(kUpstream));
    std::unordered_map<Guid, const TargetGroup*> live;
    for (const auto& group : groups) {
      if (!group.is_builtin) live[group.id] = &group;
    }
    std::unordered_set<Guid> listed;
    for (const auto& group : import_.groups) {
      if (IsBuiltinGroup(group.id)) continue;
      listed.insert(group.id);
      const auto known = live.find(group.id);
      if (known != live.end() && known->second->parent == group.parent &&
          known->second->name == group.name) {
        continue;
      }
      out_.rest_.groups.push_back(group);
      Becomes(group.id, 'G', group.id, GroupLine(group.id, group.parent, group.name));
    }
    const auto end = [&](const Guid& guid) -> Result<void> {
      if (!live.contains(guid) && !listed.contains(guid)) return {};
      out_.rest_.dead_groups.push_back(guid);
      Becomes(guid, 'G', guid, std::nullopt);
      return EndWithGroup(guid);
    };
    for (const Guid& guid : import_.dead_groups) TRY(end(guid));
    for (const auto& [guid, group] : live) {
      if (import_.groups_are_full && !listed.contains(guid)) TRY(end(guid));
    }
    return {};
  }

  Result<void> EndWithGroup(const Guid& group) {
    gone_groups_.insert(group);
    TRY_ASSIGN(
        auto rows,
        db_.Prepare(DeploymentSelect("WHERE target_group = ? AND origin = 1 AND is_dead = 0")));
    rows.BindAll(group);
    TRY_ASSIGN(const auto ended, ReadDeployments(rows));
    for (const auto& one : ended) Becomes(one.update.guid, 'D', one.guid, std::nullopt);
    return {};
  }

  Result<void> Deployments() {
    TRY_ASSIGN(const IntentOrigin followed, mirror_.intent().Effective());
    // What is followed one by one is written so too.
    const bool one_by_one = followed == IntentOrigin::kFollowed && !import_.hold;
    const std::unordered_set<Guid> ending(import_.dead_deployments.begin(),
                                          import_.dead_deployments.end());
    std::vector<std::size_t> fresh;
    std::vector<std::size_t> changing;
    for (std::size_t i = 0; i < import_.deployments.size(); ++i) {
      const IncomingDeployment& one = import_.deployments[i];
      const bool first = listed_.insert(one.guid).second;
      TRY_ASSIGN(const auto known, FindDeployment(db_, kUpstream, one.guid));
      const bool alive = known && !known->is_dead;
      if (first && alive && Travelling(*known) == one && !gone_groups_.contains(one.group)) {
        continue;
      }
      const bool is_fresh = first && !known && !one_by_one && !ending.contains(one.guid);
      (is_fresh ? fresh : changing).push_back(i);
      if (alive && known->update.guid != one.update.guid) {
        Becomes(known->update.guid, 'D', one.guid, std::nullopt);
      }
      Becomes(one.update.guid, 'D', one.guid, DeploymentLine(one));
    }
    if (fresh.size() < kWrittenBefore) {
      changing.insert(changing.end(), fresh.begin(), fresh.end());
      std::ranges::sort(changing);
      fresh.clear();
    }
    for (const std::size_t i : changing) out_.rest_.deployments.push_back(import_.deployments[i]);
    for (const std::size_t i : fresh) {
      out_.arrived_.push_back(import_.deployments[i]);
      out_.arrived_lines_.push_back(DeploymentLine(import_.deployments[i]) + "\n");
    }
    return WriteArriving(db_, out_.arrived_);
  }

  Result<void> EndedDeployments() {
    std::set<Guid> dead(import_.dead_deployments.begin(), import_.dead_deployments.end());
    if (import_.deployments_are_full) {
      TRY_ASSIGN(auto rows,
                 db_.Prepare("SELECT guid FROM deployment WHERE origin = 1 AND is_dead = 0"));
      for (;;) {
        TRY_ASSIGN(const bool row, rows.Step());
        if (!row) break;
        if (const Guid guid = rows.GuidAt(0); !listed_.contains(guid)) dead.insert(guid);
      }
      TRY(rows.Check());
    }
    for (const Guid& guid : dead) {
      TRY_ASSIGN(const auto known, FindDeployment(db_, kUpstream, guid));
      const bool alive = known && !known->is_dead;
      if (!alive && !listed_.contains(guid)) continue;
      out_.rest_.dead_deployments.push_back(guid);
      if (alive) Becomes(known->update.guid, 'D', guid, std::nullopt);
    }
    return {};
  }

  /// Declines and licences: sets of GUIDs.
  Result<void> Guids(std::string_view table, char kind, const std::vector<Guid>& given,
                     const std::vector<Guid>& taken, bool is_full, std::vector<Guid>& put,
                     std::vector<Guid>& end) {
    if (given.empty() && taken.empty() && !is_full) return {};
    TRY_ASSIGN(const auto rows, LiveGuids(db_, table, kUpstream));
    const std::unordered_set<Guid> live(rows.begin(), rows.end());
    const std::set<Guid> listed(given.begin(), given.end());
    for (const Guid& guid : listed) {
      if (live.contains(guid)) continue;
      put.push_back(guid);
      Becomes(guid, kind, guid, KeyOf(kind, guid));
    }
    std::set<Guid> ending(taken.begin(), taken.end());
    if (is_full) {
      std::ranges::copy_if(rows, std::inserter(ending, ending.end()),
                           [&](const Guid& guid) { return !listed.contains(guid); });
    }
    for (const Guid& guid : ending) {
      if (!live.contains(guid) && !listed.contains(guid)) continue;
      end.push_back(guid);
      Becomes(guid, kind, guid, std::nullopt);
    }
    return {};
  }

  Result<void> ComputeBuckets() {
    for (auto& [bucket, elements] : changed_) {
      TRY_ASSIGN(auto lines, IntentBucketLines(db_, kUpstream, bucket));
      std::erase_if(lines, [&elements](const std::string& line) {
        return elements.contains(line.substr(0, kKeyBytes));
      });
      for (auto& [key, line] : elements) {
        if (line) lines.push_back(std::move(*line));
      }
      out_.buckets_[bucket] = BucketDigest(lines);
    }
    return {};
  }

  Mirror& mirror_;
  Database& db_;
  const IntentImport import_;
  std::unordered_set<Guid> listed_, gone_groups_;
  std::map<std::size_t, Lines> changed_;  // by bucket
  IntentArrival out_;
};

Result<IntentArrival> IntentArrival::Prepare(Mirror& mirror, const JobLock&, IntentImport import) {
  TRY(RemoveArriving(mirror.db()));
  return IntentComparison(mirror, std::move(import)).Run();
}

Result<void> IntentArrival::Discard(Mirror& mirror) { return RemoveArriving(mirror.db()); }

}  // namespace gapferry::mirror
