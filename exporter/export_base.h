#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

/// Bundles that are taken to be lost: those from this number of the stream on, or those finished at
/// or after this time.
struct ResendSince {
  std::optional<std::uint64_t> sequence;
  std::optional<UtcTime> time;
};

struct ExportRequest {
  std::string site;  ///< stream, name or GUID of a site or of a group of sites
  bool full = false;
  /// A delta from the target of this bundle of the stream, whose files the site is taken to hold:
  /// somebody knows that it has arrived.
  std::optional<std::uint64_t> since;
  std::optional<ResendSince> resend_since;
  std::uint64_t volume_bytes = 0;  ///< 0: one volume
  std::optional<bool> seal;        ///< for the recipients' keys; absent: as SealsFor says
  std::optional<unsigned> parity;  ///< percent of repair blocks; absent: as ParityFor says
};

/// From where one site is led on, and what it is taken to hold there.
struct SiteBase {
  std::optional<mirror::KnownState> state;  ///< nullopt: from nothing
  std::set<Sha1Digest> believed;
};

/// By receipts: the acknowledged state and the files that receipts tell of. For a site of which
/// nothing returns: the target of a bundle so far back that the overlap may be lost, and the files
/// that whoever reached it must have been given. `since` and `resend_since` move both. Changes
/// nothing. Fails with kUsage: reasons "diverged", "history-changed" (only a full bundle helps),
/// "since-void", "since-unfinished"; kNotFound for a bundle that there is not.
Result<SiteBase> FindSiteBase(mirror::Mirror& mirror, const mirror::Destination& destination,
                              const mirror::Site& site, const ExportRequest& request);

/// The oldest state among `bases`, where a bundle for all of them starts; nullopt: from nothing.
std::optional<mirror::KnownState> OldestState(const std::vector<SiteBase>& bases);

/// Where a bundle by this request would start: what an unfinished one is compared with.
Result<std::optional<mirror::KnownState>> BaseOf(mirror::Mirror& mirror,
                                                 const ExportRequest& request);

}  // namespace gapferry::exporter
