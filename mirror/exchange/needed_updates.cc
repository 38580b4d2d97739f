#include "mirror/exchange/needed_updates.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/sort.h"
#include "base/text.h"
#include "mirror/content_store.h"
#include "mirror/intent.h"

namespace gapferry::mirror::exchange {
namespace {

using protocol::UpdateId;

bool NeedsPayload(DeploymentAction action) {
  return action == DeploymentAction::kInstall || action == DeploymentAction::kUninstall ||
         action == DeploymentAction::kOptionalInstall;
}

/// Who is above whom.
class GroupTree {
 public:
  explicit GroupTree(const std::vector<TargetGroup>& groups) {
    for (const TargetGroup& group : groups) parents_[group.id] = group.parent;
  }
  bool IsInOrBelow(Guid group, const Guid& above) const {
    for (std::size_t steps = 0; steps <= parents_.size(); ++steps) {
      if (group == above) return true;
      const auto parent = parents_.find(group);
      if (parent == parents_.end()) return false;
      group = parent->second;
    }
    return false;
  }

 private:
  std::map<Guid, Guid> parents_;
};

class Finder {
 public:
  Finder(Mirror& mirror, const NeedRules& rules) : mirror_(mirror), rules_(rules) {}

  Result<Need> Run() {
    TRY_ASSIGN(const auto declined, mirror_.intent().Declined());
    declined_.insert(declined.begin(), declined.end());
    TRY_ASSIGN(const auto groups, mirror_.intent().Groups());
    const GroupTree tree(groups);
    TRY_ASSIGN(const auto deployments, mirror_.intent().Deployments());
    for (const Deployment& one : deployments) {
      if (!NeedsPayload(one.action) || declined_.contains(one.update.guid)) continue;
      TRY(Approved(one));
    }
    for (const Deployment* one : approved_) {
      if (!Counts(tree, one->group)) continue;
      TRY_ASSIGN(const bool replaced, IsReplaced(tree, *one));
      if (!replaced) Keep(*one);
      if (replaced) replaced_.insert(one->update);
    }
    TRY(LookAtAll());
    for (auto& [update, needed] : kept_) {
      replaced_.erase(update);
      if (!needed.files.empty()) need_.updates.push_back(std::move(needed));
    }
    need_.replaced = replaced_.size();
    for (auto& [sha1, file] : licences_) need_.licences.push_back(std::move(file));
    return std::move(need_);
  }

 private:
  /// Reads an approved update with all that it bundles, once.
  Result<void> Approved(const Deployment& one) {
    const auto [at, added] = known_.try_emplace(one.update);
    if (added) {
      TRY_ASSIGN(const auto row, mirror_.catalog().Find(one.update));
      if (!row) {
        known_.erase(at);
        return {};
      }
      TRY_ASSIGN(const auto relations, mirror_.catalog().Relations(row->id));
      if (relations) TRY(Collect(*relations, at->second));
      const bool usable = !row->is_expired && !row->has_digest_conflict;
      TRY_ASSIGN(at->second.can_replace, CanReplace(usable, at->second.needed));
      if (relations) at->second.superseded = relations->superseded;
    }
    deployments_.push_back(one);
    const Deployment* kept = &deployments_.back();
    approved_.push_back(kept);
    if (one.action != DeploymentAction::kInstall || one.go_live > mirror_.clock().Now()) return {};
    if (!at->second.can_replace) return {};
    for (const Guid& guid : at->second.superseded) replacing_[guid].push_back(kept);
    const std::string& series = at->second.needed.traits.series;
    if (!series.empty()) series_[series].push_back(kept);
    return {};
  }

  Result<bool> CanReplace(bool usable, const NeededUpdate& needed) {
    if (!usable || !rules_.replaced_by_held_only) return usable;
    for (const DeclaredFile& file : needed.files) {
      if (!mirror_.content().Holds(file.sha1)) return false;
    }
    return true;
  }

  struct Known {
    NeededUpdate needed;
    std::vector<Guid> superseded;
    bool can_replace = false;
  };

  /// Traits and payload of a revision and of what it bundles, each member once.
  Result<void> Collect(const RevisionRelations& root, Known& known) {
    known.needed.update = root.row.update;
    TRY_ASSIGN(known.needed.traits, TraitsOf(mirror_, root));
    std::map<Sha1Digest, DeclaredFile> files;
    AddPayload(root, files);
    std::vector<UpdateId> waiting;
    std::unordered_set<UpdateId> seen = {root.row.update};
    const auto push = [&](const RevisionRelations& of) {
      for (const auto& group : of.bundled)
        waiting.insert(waiting.end(), group.begin(), group.end());
    };
    push(root);
    MemberTraits members;
    while (!waiting.empty()) {
      const UpdateId next = waiting.back();
      waiting.pop_back();
      if (!seen.insert(next).second) continue;
      TRY_ASSIGN(const auto row, mirror_.catalog().Find(next));
      if (!row) continue;
      TRY_ASSIGN(const auto relations, mirror_.catalog().Relations(row->id));
      if (!relations) continue;
      visited_.insert(next);
      AddPayload(*relations, files);
      push(*relations);
      TRY(members.Add(mirror_, *relations));
    }
    members.Complete(known.needed.traits);
    for (auto& [sha1, file] : files) known.needed.files.push_back(std::move(file));
    return {};
  }

  /// A bundle that does not tell for what it is is for all that its members are for.
  class MemberTraits {
   public:
    Result<void> Add(Mirror& mirror, const RevisionRelations& member) {
      if (member.files.empty()) return {};
      TRY_ASSIGN(const auto traits, TraitsOf(mirror, member));
      any_language_ = any_language_ || traits.languages.empty();
      any_architecture_ = any_architecture_ || traits.architectures.empty();
      languages_.insert(traits.languages.begin(), traits.languages.end());
      architectures_.insert(traits.architectures.begin(), traits.architectures.end());
      return {};
    }
    void Complete(UpdateTraits& traits) const {
      if (traits.languages.empty() && !any_language_) {
        traits.languages.assign(languages_.begin(), languages_.end());
      }
      if (traits.architectures.empty() && !any_architecture_) {
        traits.architectures.assign(architectures_.begin(), architectures_.end());
      }
    }

   private:
    bool any_language_ = false, any_architecture_ = false;
    std::set<std::string> languages_, architectures_;
  };

  void AddPayload(const RevisionRelations& revision, std::map<Sha1Digest, DeclaredFile>& files) {
    for (const DeclaredFile& file : revision.files) {
      if (file.kind != FileKind::kPayload) continue;
      if (!rules_.express && EqualsIgnoreCase(file.patching_type, "Express")) continue;
      files.emplace(file.sha1, file);
    }
  }

  bool Counts(const GroupTree& tree, const Guid& group) const {
    return rules_.groups.empty() || std::ranges::any_of(rules_.groups, [&](const Guid& chosen) {
             return tree.IsInOrBelow(group, chosen) || tree.IsInOrBelow(chosen, group);
           });
  }

  Result<bool> IsReplaced(const GroupTree& tree, const Deployment& one) {
    if (one.action == DeploymentAction::kUninstall) return false;
    const auto covers = [&](const Deployment* other) {
      return other->update.guid != one.update.guid && tree.IsInOrBelow(one.group, other->group);
    };
    const auto by = replacing_.find(one.update.guid);
    if (by != replacing_.end() && std::ranges::any_of(by->second, covers)) return true;
    const UpdateTraits& traits = known_.at(one.update).needed.traits;
    const auto series = series_.find(traits.series);
    return !traits.series.empty() && series != series_.end() &&
           std::ranges::any_of(series->second, [&](const Deployment* other) {
             return covers(other) &&
                    known_.at(other->update).needed.traits.created_at > traits.created_at;
           });
  }

  void Keep(const Deployment& one) {
    const auto known = known_.find(one.update);
    const auto [at, added] = kept_.try_emplace(one.update, known->second.needed);
    NeededUpdate& needed = at->second;
    if (one.deadline && (!needed.deadline || *one.deadline < *needed.deadline)) {
      needed.deadline = one.deadline;
    }
    if (!needed.approved_at || one.last_change < *needed.approved_at) {
      needed.approved_at = one.last_change;
    }
    needed.is_approved = true;
  }

  /// Licence texts of every update on offer; with `all` also the payload of what is not approved.
  Result<void> LookAtAll() {
    std::vector<RevisionRelations> rest;
    std::unordered_set<Guid> outdated;  // definition updates that newer ones supersede
    const auto look = [&](RevisionRelations& relations) -> Result<void> {
      const RevisionRow& row = relations.row;
      if (!row.is_latest || row.is_expired || declined_.contains(row.update.guid)) return {};
      for (const DeclaredFile& file : relations.files) {
        if (file.kind == FileKind::kEula) licences_.emplace(file.sha1, file);
      }
      if (!rules_.all || row.has_digest_conflict) return {};
      if (IsDefinition(relations)) {
        outdated.insert(relations.superseded.begin(), relations.superseded.end());
      }
      if (!relations.files.empty() || !relations.bundled.empty()) {
        rest.push_back(std::move(relations));
      }
      return {};
    };
    // Approvals name the payload: then only licences are looked for, and few updates have some.
    TRY(rules_.all ? mirror_.catalog().ForEachRelations(0, look)
                   : mirror_.catalog().ForEachWithLicence(look));
    // What people approve first, so that members are taken with their bundles.
    SortStably(rest, [](const RevisionRelations& a, const RevisionRelations& b) {
      return a.row.is_explicitly_deployable && !b.row.is_explicitly_deployable;
    });
    for (const RevisionRelations& one : rest) {
      const UpdateId& update = one.row.update;
      if (kept_.contains(update) || visited_.contains(update)) continue;
      if (IsDefinition(one) && outdated.contains(update.guid)) continue;
      Known known;
      TRY(Collect(one, known));
      kept_.emplace(update, std::move(known.needed));
    }
    return {};
  }

  static bool IsDefinition(const RevisionRelations& revision) {
    return std::ranges::any_of(revision.prerequisites, [](const Clause& clause) {
      return clause.is_category && std::ranges::find(clause.alternatives, kDefinitionUpdates) !=
                                       clause.alternatives.end();
    });
  }

  Mirror& mirror_;
  const NeedRules& rules_;
  std::unordered_set<Guid> declined_;
  std::map<UpdateId, Known> known_;
  std::deque<Deployment> deployments_;  // what the pointers point at
  std::vector<const Deployment*> approved_;
  std::unordered_map<Guid, std::vector<const Deployment*>> replacing_;  // by what they supersede
  std::map<std::string, std::vector<const Deployment*>> series_;
  std::unordered_set<UpdateId> visited_;  // as members
  std::set<UpdateId> replaced_;
  std::map<UpdateId, NeededUpdate> kept_;
  std::map<Sha1Digest, DeclaredFile> licences_;
  Need need_;
};

}  // namespace

Result<Need> FindNeed(Mirror& mirror, const NeedRules& rules) {
  return Finder(mirror, rules).Run();
}

}  // namespace gapferry::mirror::exchange
