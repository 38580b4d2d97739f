// Ledger: what a site has.
#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "mirror/ledger.h"
#include "mirror/row_reading.h"

namespace gapferry::mirror {

Result<std::set<Sha1Digest>> Ledger::Believed(const Guid& site) {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT sha1 FROM site_content WHERE site = ?"));
  rows.BindAll(site);
  TRY_ASSIGN(const auto all,
             ReadAllRows(rows, [](Statement& row) { return row.DigestAt<Sha1Digest>(0); }));
  return std::set<Sha1Digest>(all.begin(), all.end());
}

Result<std::vector<ReturnEffect::Request>> Ledger::Requested(const Guid& site) {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT sha1, asked FROM site_request WHERE site = ? "
                                    "ORDER BY sha1"));
  rows.BindAll(site);
  return ReadAllRows(rows, [](Statement& row) {
    return ReturnEffect::Request{row.DigestAt<Sha1Digest>(0), row.Bool(1)};
  });
}

Result<std::vector<SentBundle>> Ledger::Sent(const Guid& site) {
  TRY_ASSIGN(
      auto rows,
      db_.Prepare("SELECT b.site, b.sequence, b.base_epoch, b.base_generation, b.base_chain, "
                  "b.base_state_digest, b.target_epoch, b.target_generation, "
                  "b.target_chain, b.target_state_digest, b.finished_at, r.acknowledged "
                  "FROM bundle_recipient r JOIN bundle_out b USING (site, sequence) "
                  "WHERE r.recipient = ? AND b.state IN (3, 4, 5) "
                  "ORDER BY b.target_generation, b.finished_at, b.site, b.sequence"));
  rows.BindAll(site);
  return ReadAllRows(rows, [](Statement& row) {
    SentBundle sent;
    sent.owner = row.GuidAt(0);
    sent.sequence = static_cast<std::uint64_t>(row.Int(1));
    sent.base = {{row.GuidAt(2), row.Int(3), row.DigestAt<Sha256Digest>(4)},
                 row.DigestAt<Sha256Digest>(5)};
    sent.target = {{row.GuidAt(6), row.Int(7), row.DigestAt<Sha256Digest>(8)},
                   row.DigestAt<Sha256Digest>(9)};
    sent.finished_at = row.Time(10);
    sent.acknowledged = row.Bool(11);
    return sent;
  });
}

namespace {

/// The files of bundles, each list read once and dropped when no later question can need it.
class PinLists {
 public:
  PinLists(Ledger& ledger, const std::vector<SentBundle>& sent) : ledger_(ledger), sent_(sent) {}

  Result<const std::vector<Sha1Digest>*> Of(std::size_t index) {
    const auto known = lists_.find(index);
    if (known != lists_.end()) return &known->second;
    TRY_ASSIGN(const auto pins, ledger_.Pins(sent_[index].owner, sent_[index].sequence));
    std::vector<Sha1Digest>& list = lists_[index];
    for (const PinnedFile& pin : pins) list.push_back(pin.sha1);
    return &list;
  }
  void DropBefore(std::size_t index) { lists_.erase(lists_.begin(), lists_.lower_bound(index)); }

 private:
  Ledger& ledger_;
  const std::vector<SentBundle>& sent_;
  std::map<std::size_t, std::vector<Sha1Digest>> lists_;
};

}  // namespace

Result<std::set<Sha1Digest>> Ledger::Implied(const Site& site, const std::vector<SentBundle>& sent,
                                             std::size_t behind) {
  std::set<Sha1Digest> implied;
  PinLists pins(*this, sent);
  for (std::size_t passed = 0; passed < behind; ++passed) {
    pins.DropBefore(passed);
    const SentBundle& one = sent[passed];
    if (one.acknowledged || (site.forgotten_at && one.finished_at <= *site.forgotten_at)) continue;
    // Whoever is at its target or beyond came there by a bundle that starts before and leads there
    // or further; what all of these carry has arrived.
    TRY_ASSIGN(const auto* first, pins.Of(passed));
    std::vector<Sha1Digest> common = *first;
    for (std::size_t way = passed + 1; way < sent.size() && !common.empty(); ++way) {
      if (sent[way].base.name.generation >= one.target.name.generation) continue;
      TRY_ASSIGN(const auto* other, pins.Of(way));
      std::vector<Sha1Digest> both;
      std::ranges::set_intersection(common, *other, std::back_inserter(both));
      common = std::move(both);
    }
    implied.insert(common.begin(), common.end());
  }
  return implied;
}

}  // namespace gapferry::mirror
