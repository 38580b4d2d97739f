#include "exporter/export_base.h"

#include <algorithm>

#include "base/text.h"
#include "mirror/catalog.h"

namespace gapferry::exporter {
namespace {

using mirror::Destination;
using mirror::KnownState;
using mirror::Mirror;
using mirror::SentBundle;
using mirror::Site;

std::string Quoted(const std::string& name) { return "'" + EscapeForDisplay(name, 64) + "'"; }

Result<bool> IsOurs(Mirror& mirror, const KnownState& state) {
  TRY_ASSIGN(const auto knowledge, mirror.catalog().Knows(state.name));
  return knowledge != mirror::StateKnowledge::kOtherHistory;
}

/// What was written for the site in this mirror's present history.
Result<std::vector<SentBundle>> SentInHistory(Mirror& mirror, const Site& site) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(auto sent, ledger.Sent(site.guid));
  std::vector<SentBundle> out;
  for (SentBundle& one : sent) {
    TRY_ASSIGN(const bool ours, IsOurs(mirror, one.target));
    if (ours) out.push_back(std::move(one));
  }
  return out;
}

/// How many of `sent` a site without returns is taken to have passed: the overlap may be lost.
std::size_t BehindOverlap(const Site& site, const std::vector<SentBundle>& sent, UtcTime now) {
  if (sent.size() <= site.settings.overlap_bundles) return 0;
  std::size_t behind = sent.size() - site.settings.overlap_bundles;
  const std::int64_t overlap =
      std::int64_t{site.settings.overlap_days} * 24 * 3600 * UtcTime::kTicksPerSecond;
  while (behind > 0 && sent[behind - 1].finished_at.ticks > now.ticks - overlap) --behind;
  return behind;
}

void AddAll(std::set<Sha1Digest>& to, const std::set<Sha1Digest>& from) {
  to.insert(from.begin(), from.end());
}

class BaseFinder {
 public:
  BaseFinder(Mirror& mirror, const Destination& destination, const Site& site,
             const ExportRequest& request)
      : mirror_(mirror),
        ledger_(mirror.db()),
        destination_(destination),
        site_(site),
        request_(request) {}

  Result<SiteBase> Find() {
    TRY_ASSIGN(sent_, SentInHistory(mirror_, site_));
    TRY_ASSIGN(base_.believed, ledger_.Believed(site_.guid));
    // A full bundle is for a site of which people know less than what receipts say.
    if (request_.full) return std::move(base_);
    if (!site_.diverged.empty()) {
      return Fail(ErrorCode::kUsage, "diverged",
                  "site " + Quoted(site_.name) + " has diverged: " + site_.diverged);
    }
    if (request_.since) {
      TRY(Since(*request_.since));
      return std::move(base_);
    }
    TRY(Acknowledged());
    if (site_.settings.no_returns) TRY(WithoutReturns());
    if (request_.resend_since) TRY(Resend(*request_.resend_since));
    return std::move(base_);
  }

 private:
  Result<void> Acknowledged() {
    if (!site_.acknowledged) return {};
    TRY(CheckHistory(*site_.acknowledged, "what site " + Quoted(site_.name) + " acknowledged"));
    base_.state = site_.acknowledged;
    return {};
  }

  Result<void> CheckHistory(const KnownState& state, const std::string& what) {
    TRY_ASSIGN(const bool ours, IsOurs(mirror_, state));
    if (ours) return {};
    return Fail(ErrorCode::kUsage, "history-changed",
                what + " is not in this mirror's history: it was restored or made anew");
  }

  Result<void> WithoutReturns() {
    const std::size_t behind = BehindOverlap(site_, sent_, mirror_.clock().Now());
    if (behind > 0) MoveTo(sent_[behind - 1].target);
    if (request_.resend_since) return {};  // says itself what has arrived
    TRY_ASSIGN(const auto implied, ledger_.Implied(site_, sent_, behind));
    AddAll(base_.believed, implied);
    return {};
  }

  void MoveTo(const KnownState& state) {
    if (!base_.state || base_.state->name.generation < state.name.generation) base_.state = state;
  }

  /// Somebody says that the bundle has arrived: the site is at its target, and holds its files and
  /// what it must have been given to come so far. What receipts told since, counts: a return may
  /// have denied files of a bundle that it acknowledged.
  Result<void> Since(std::uint64_t sequence) {
    const std::string name =
        "bundle " + std::to_string(sequence) + " of stream '" + destination_.stream + "'";
    TRY_ASSIGN(const auto bundle, ledger_.FindBundle(destination_.guid, sequence));
    if (!bundle) return Fail(ErrorCode::kNotFound, "bundle-unknown", "there is no " + name);
    if (bundle->state == mirror::BundleState::kVoid) {
      return Fail(ErrorCode::kUsage, "since-void", name + " is void");
    }
    if (!bundle->manifest) {
      return Fail(ErrorCode::kUsage, "since-unfinished",
                  name + " is not finished: it cannot have arrived");
    }
    TRY(CheckHistory(bundle->target, "where " + name + " led"));
    base_.state = bundle->target;
    const auto at = std::ranges::find_if(sent_, [&](const SentBundle& one) {
      return one.owner == destination_.guid && one.sequence == sequence;
    });
    if (at == sent_.end()) return {};  // the site was no member of the group then
    // What was written after it may have been lost: it leads nowhere that the site is known to be.
    const std::vector<SentBundle> until(sent_.begin(), at + 1);
    TRY_ASSIGN(const auto implied, ledger_.Implied(site_, until, until.size()));
    AddAll(base_.believed, implied);
    if (at->acknowledged) return {};
    TRY_ASSIGN(const auto pins, ledger_.Pins(destination_.guid, sequence));
    for (const mirror::PinnedFile& file : pins) base_.believed.insert(file.sha1);
    return {};
  }

  /// What was written from there on is taken to be lost, whatever receipts say.
  Result<void> Resend(const ResendSince& since) {
    TRY_ASSIGN(const std::size_t kept, CountKept(since));
    if (kept == 0) {
      base_ = {};
      return {};
    }
    const KnownState& last = sent_[kept - 1].target;
    if (base_.state && base_.state->name.generation > last.name.generation) base_.state = last;
    for (std::size_t lost = kept; lost < sent_.size(); ++lost) {
      TRY_ASSIGN(const auto pins, ledger_.Pins(sent_[lost].owner, sent_[lost].sequence));
      for (const mirror::PinnedFile& file : pins) base_.believed.erase(file.sha1);
    }
    if (!site_.settings.no_returns) return {};
    const std::vector<SentBundle> until(sent_.begin(),
                                        sent_.begin() + static_cast<std::ptrdiff_t>(kept));
    TRY_ASSIGN(const auto implied, ledger_.Implied(site_, until, kept));
    AddAll(base_.believed, implied);
    return {};
  }

  Result<std::size_t> CountKept(const ResendSince& since) {
    if (!since.sequence) {
      return static_cast<std::size_t>(
          std::ranges::find_if(
              sent_, [&](const SentBundle& one) { return one.finished_at >= *since.time; }) -
          sent_.begin());
    }
    const auto at = std::ranges::find_if(sent_, [&](const SentBundle& one) {
      return one.owner == destination_.guid && one.sequence >= *since.sequence;
    });
    if (at != sent_.end()) return static_cast<std::size_t>(at - sent_.begin());
    return Fail(ErrorCode::kNotFound, "bundle-unknown",
                "stream '" + destination_.stream + "' has no finished bundle " +
                    std::to_string(*since.sequence) + " or later");
  }

  Mirror& mirror_;
  mirror::Ledger ledger_;
  const Destination& destination_;
  const Site& site_;
  const ExportRequest& request_;
  std::vector<SentBundle> sent_;
  SiteBase base_;
};

}  // namespace

Result<SiteBase> FindSiteBase(Mirror& mirror, const Destination& destination, const Site& site,
                              const ExportRequest& request) {
  return BaseFinder(mirror, destination, site, request).Find();
}

std::optional<KnownState> OldestState(const std::vector<SiteBase>& bases) {
  std::optional<KnownState> oldest = bases.front().state;
  for (const SiteBase& base : bases) {
    if (!base.state) return std::nullopt;
    if (base.state->name.generation < oldest->name.generation) oldest = base.state;
  }
  return oldest;
}

Result<std::optional<KnownState>> BaseOf(Mirror& mirror, const ExportRequest& request) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto destination, ledger.FindDestination(request.site));
  std::vector<SiteBase> bases;
  for (const Site& site : destination.recipients) {
    TRY_ASSIGN(auto base, FindSiteBase(mirror, destination, site, request));
    bases.push_back(std::move(base));
  }
  return OldestState(bases);
}

}  // namespace gapferry::exporter
