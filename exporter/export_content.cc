#include "exporter/export_content.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#include <unordered_set>

#include "base/text.h"
#include "mirror/catalog.h"
#include "mirror/content_store.h"
#include "mirror/exchange/needed_files.h"
#include "mirror/exchange/needed_updates.h"

namespace gapferry::exporter {
namespace {

using mirror::DeclaredFile;
using mirror::Mirror;
using mirror::Site;
using mirror::SiteContent;
using mirror::SiteSettings;
using mirror::exchange::Need;
using mirror::exchange::NeededUpdate;
using mirror::exchange::UpdateTraits;

constexpr std::int64_t kNoTime = std::numeric_limits<std::int64_t>::max();

/// What travels together, and how soon: smaller goes first.
struct Rank {
  int kind = 0;  ///< 0 asked for, 1 licence texts, 2 updates
  int urgency = 0;
  int severity = 0;
  std::int64_t deadline = kNoTime;
  std::int64_t approved = kNoTime;
  protocol::UpdateId update{};
  auto operator<=>(const Rank&) const = default;
};

const Rank kAskedFor;
const Rank kLicences{.kind = 1};
/// What approvals at a site need, and none here: after everything else.
const Rank kNeededThere{.kind = 2, .urgency = 3, .severity = 4};

Rank RankOf(const NeededUpdate& needed) {
  return {2,
          needed.traits.urgency,
          needed.traits.severity,
          needed.deadline ? needed.deadline->ticks : kNoTime,
          needed.approved_at ? needed.approved_at->ticks : kNoTime,
          needed.update};
}

bool IsLanguageOf(const std::string& one, const std::string& other) {
  return one == other || one.starts_with(other + "-") || other.starts_with(one + "-");
}

bool HasLanguage(const SiteSettings& settings, const std::vector<std::string>& languages) {
  if (settings.languages.empty() || languages.empty()) return true;
  return std::ranges::any_of(languages, [&](const std::string& language) {
    return std::ranges::any_of(settings.languages, [&](const std::string& chosen) {
      return IsLanguageOf(language, chosen);
    });
  });
}

bool HasArchitecture(const SiteSettings& settings, const std::vector<std::string>& architectures) {
  if (settings.architectures.empty() || architectures.empty()) return true;
  return std::ranges::find_first_of(architectures, settings.architectures) != architectures.end();
}

bool IsExpress(const DeclaredFile& file) { return EqualsIgnoreCase(file.patching_type, "Express"); }

std::uint64_t BytesOf(const std::vector<DeclaredFile>& files) {
  std::uint64_t bytes = 0;
  for (const DeclaredFile& file : files) bytes += file.size_bytes;
  return bytes;
}

bool TakesAll(Mirror& mirror, const SiteSettings& settings) {
  if (settings.content != SiteContent::kAsMirror) return settings.content == SiteContent::kAll;
  return mirror.config().content.download == mirror::ContentPolicy::kAll;
}

class Planner {
 public:
  explicit Planner(Mirror& mirror) : mirror_(mirror), ledger_(mirror.db()) {}

  Result<void> AddSite(const Site& site, const SiteBase& base) {
    believed_ = &base.believed;
    settings_ = &site.settings;
    filtered_.clear();
    TRY(ReadReports(site));
    if (settings_->max_bytes > 0) {
      plan_.max_bytes =
          std::min(plan_.max_bytes == 0 ? kNoLimit : plan_.max_bytes, settings_->max_bytes);
    }
    if (settings_->content != SiteContent::kNone) TRY(AddNeed());
    return AddRequests(site);
  }

  Result<ContentPlan> Finish() {
    for (auto& [rank, unit] : units_) Take(rank, unit);
    for (auto& [sha1, file] : taken_) {
      plan_.bytes += file.size_bytes;
      plan_.files.push_back(std::move(file));
    }
    for (const Sha1Digest& sha1 : requested_) {
      if (taken_.contains(sha1)) ++plan_.requests_honoured;
    }
    plan_.believed = static_cast<std::uint64_t>(std::ranges::count_if(
        held_there_, [&](const Sha1Digest& sha1) { return !taken_.contains(sha1); }));
    plan_.missing = missing_.size();
    plan_.requests = requested_.size();
    plan_.over_limit_files = over_limit_.size();
    for (const auto& [sha1, size] : over_limit_) plan_.over_limit_bytes += size;
    return std::move(plan_);
  }

 private:
  static constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();
  using Unit = std::map<Sha1Digest, mirror::PinnedFile>;

  Result<void> ReadReports(const Site& site) {
    withheld_.clear();
    blocked_.clear();
    TRY_ASSIGN(const auto withheld, ledger_.WithheldAt(site.guid));
    for (const auto& one : withheld) withheld_.insert(one.sha1);
    TRY_ASSIGN(const auto blocked, ledger_.BlockedAt(site.guid));
    for (const auto& one : blocked) blocked_.insert(one.update);
    return {};
  }

  Result<void> AddNeed() {
    mirror::exchange::NeedRules rules;
    rules.all = TakesAll(mirror_, *settings_);
    rules.express = settings_->express.value_or(mirror_.config().content.express);
    rules.groups = settings_->groups;
    rules.replaced_by_held_only = true;
    TRY_ASSIGN(const Need need, mirror::exchange::FindNeed(mirror_, rules));
    plan_.replaced_updates = std::max(plan_.replaced_updates, need.replaced);
    if (!rules.groups.empty()) TRY(FilterOtherGroups(rules));
    std::vector<Sha1Digest> chosen;
    for (const NeededUpdate& update : need.updates) {
      if (IsLeftOut(update)) continue;
      for (const DeclaredFile& file : update.files) {
        TRY(AddFile(RankOf(update), file.sha1));
        chosen.push_back(file.sha1);
      }
    }
    for (const DeclaredFile& file : need.licences) {
      const bool wanted = file.language.empty() || ToLowerAscii(file.language) == "en" ||
                          HasLanguage(*settings_, {ToLowerAscii(file.language)});
      if (!wanted) filtered_.insert(file.sha1);
      if (wanted) TRY(AddFile(kLicences, file.sha1));
    }
    for (const Sha1Digest& sha1 : chosen) filtered_.erase(sha1);
    return {};
  }

  /// What only approvals for other groups need is left out, also when the site asks for it.
  Result<void> FilterOtherGroups(mirror::exchange::NeedRules rules) {
    rules.groups.clear();
    TRY_ASSIGN(const Need need, mirror::exchange::FindNeed(mirror_, rules));
    for (const NeededUpdate& update : need.updates) {
      for (const DeclaredFile& file : update.files) filtered_.insert(file.sha1);
    }
    return {};
  }

  bool IsLeftOut(const NeededUpdate& update) {
    ContentPlan::LeftOut* why = nullptr;
    if (!HasLanguage(*settings_, update.traits.languages)) why = &plan_.by_language;
    if (!HasArchitecture(*settings_, update.traits.architectures)) why = &plan_.by_architecture;
    if (blocked_.contains(update.update.guid)) why = &plan_.by_block;
    if (why == nullptr) return false;
    ++why->updates;
    why->bytes += BytesOf(update.files);
    for (const DeclaredFile& file : update.files) filtered_.insert(file.sha1);
    return true;
  }

  /// A needed file: held there, held here, or missing.
  Result<void> AddFile(const Rank& rank, const Sha1Digest& sha1) {
    if (believed_->contains(sha1)) {
      held_there_.insert(sha1);
      return {};
    }
    if (withheld_.contains(sha1) && rank.kind != 0) {
      ++plan_.withheld;
      return {};
    }
    TRY_ASSIGN(const auto held, mirror_.content().Find(sha1));
    if (!held) {
      missing_.insert(sha1);
      return {};
    }
    units_[rank][sha1] = {held->sha1, held->sha256, held->size_bytes, held->extension};
    return {};
  }

  /// A site refuses a file that no update declares; what its own approvals need goes by its
  /// settings, what people asked for by name does not.
  Result<void> AddRequests(const Site& site) {
    TRY_ASSIGN(const auto requests, ledger_.Requested(site.guid));
    for (const auto& request : requests) {
      TRY_ASSIGN(const auto declared, mirror::exchange::DeclarationsOf(mirror_, request.sha1));
      if (declared.empty()) continue;
      requested_.insert(request.sha1);
      if (!request.asked) {
        TRY_ASSIGN(const bool passes, PassesFilter(request.sha1));
        if (!passes) {
          ++plan_.requests_filtered;
          continue;
        }
      }
      TRY(AddFile(request.asked ? kAskedFor : kNeededThere, request.sha1));
    }
    return {};
  }

  /// Whether some update that declares the file is for this site.
  Result<bool> PassesFilter(const Sha1Digest& sha1) {
    if (settings_->content == SiteContent::kNone || filtered_.contains(sha1)) return false;
    const bool express = settings_->express.value_or(mirror_.config().content.express);
    TRY_ASSIGN(const auto revisions, mirror::exchange::DeclaringRevisions(mirror_, sha1));
    for (const mirror::RevisionId id : revisions) {
      TRY_ASSIGN(const auto relations, mirror_.catalog().Relations(id));
      if (!relations) continue;
      const auto file = std::ranges::find(relations->files, sha1, &DeclaredFile::sha1);
      if (file == relations->files.end() || (!express && IsExpress(*file))) continue;
      TRY_ASSIGN(const UpdateTraits traits, mirror::exchange::TraitsOf(mirror_, *relations));
      if (HasLanguage(*settings_, traits.languages) &&
          HasArchitecture(*settings_, traits.architectures)) {
        return true;
      }
    }
    return false;
  }

  /// Whole units as long as they fit; of one that can never fit as a whole the files that do.
  void Take(const Rank& rank, Unit& unit) {
    std::uint64_t bytes = 0;
    for (const auto& [sha1, file] : unit) bytes += taken_.contains(sha1) ? 0 : file.size_bytes;
    const std::uint64_t limit = plan_.max_bytes == 0 ? kNoLimit : plan_.max_bytes;
    const bool whole = bytes <= limit - used_;
    const bool in_pieces = rank.kind < 2 || bytes > limit;
    for (auto& [sha1, file] : unit) {
      if (taken_.contains(sha1)) continue;
      if (file.size_bytes > limit) ++plan_.never_fitting_files;
      if (whole || (in_pieces && file.size_bytes <= limit - used_)) {
        used_ += file.size_bytes;
        over_limit_.erase(sha1);
        taken_.emplace(sha1, file);
      } else {
        over_limit_[sha1] = file.size_bytes;
      }
    }
  }

  Mirror& mirror_;
  mirror::Ledger ledger_;
  // Of the site that is looked at.
  const std::set<Sha1Digest>* believed_ = nullptr;
  const SiteSettings* settings_ = nullptr;
  std::unordered_set<Guid> blocked_;
  std::set<Sha1Digest> withheld_;
  std::set<Sha1Digest> filtered_;  // needed, but its settings say no
  // Of all.
  std::map<Rank, Unit> units_;
  std::set<Sha1Digest> held_there_, missing_, requested_;
  std::map<Sha1Digest, mirror::PinnedFile> taken_;
  std::map<Sha1Digest, std::uint64_t> over_limit_;
  std::uint64_t used_ = 0;
  ContentPlan plan_;
};

}  // namespace

Result<ContentPlan> PlanContent(Mirror& mirror, const mirror::Destination& destination,
                                const std::vector<SiteBase>& bases) {
  Planner planner(mirror);
  for (std::size_t i = 0; i < bases.size(); ++i) {
    TRY(planner.AddSite(destination.recipients[i], bases[i]));
  }
  return planner.Finish();
}

}  // namespace gapferry::exporter
