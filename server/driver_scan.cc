// Driver matching of MS-WUSP 3.1.5.7.
#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_set>

#include "base/text.h"
#include "server/scan_index.h"

namespace gapferry::server {
namespace {

constexpr int kNoScore = 255;  ///< the worst one, which a driver without any has

/// How well a driver fits a device; smaller is better. Order of members = order of the rules.
using Fit = std::tuple<std::size_t,   // place of the computer hardware id; past the end: untargeted
                       int,           // feature score
                       std::size_t,   // place of the hardware id
                       std::int64_t,  // date, Backwards
                       std::int64_t>;  // version, Backwards

/// Orders the larger first, also the smallest there is, which has no negative.
constexpr std::int64_t Backwards(std::int64_t value) { return ~value; }

struct Candidate {
  Fit fit;
  std::uint32_t driver = 0;  ///< into CatalogIndex::drivers
  std::string hardware_id;   ///< as the client spells it
};

int FeatureScore(const DriverFacts& driver, std::string_view key) {
  int best = kNoScore;
  for (const auto& score : driver.feature_scores) {
    if (EqualsIgnoreCase(score.operating_system, key)) best = std::min<int>(best, score.score);
  }
  return best;
}

/// The place of the first of the client's computer ids that the driver is made for; nothing when it
/// is made for other computers only.
std::optional<std::size_t> ComputerPlace(const DriverFacts& driver, std::span<const Guid> ids) {
  if (driver.computer_ids.empty()) return ids.size();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (std::ranges::find(driver.computer_ids, ids[i]) != driver.computer_ids.end()) return i;
  }
  return std::nullopt;
}

bool SatisfiedBy(const CatalogIndex& catalog, RevisionOrdinal r,
                 const std::vector<UpdateOrdinal>& installed) {
  return std::ranges::all_of(catalog.Clauses(r), [&](ClauseOrdinal clause) {
    return std::ranges::any_of(catalog.Alternatives(clause), [&](UpdateOrdinal u) {
      return std::ranges::binary_search(installed, u);
    });
  });
}

/// The place of an id among those of the device; past their end when it is none of them.
std::size_t PlaceOf(const protocol::Device& device, std::string_view id) {
  std::size_t place = 0;
  for (const auto* ids : {&device.hardware_ids, &device.compatible_ids}) {
    for (const std::string& own : *ids) {
      if (EqualsIgnoreCase(own, id)) return place;
      ++place;
    }
  }
  return place;
}

/// How well the driver fits that the device has. Its feature score is part of the rank that Windows
/// gave it (0xSSGGTHHH: signature, feature score, kind and place of the identifier).
Fit FitOf(const protocol::Device& device, const protocol::InstalledDriver& installed,
          std::span<const Guid> computer_ids) {
  std::size_t computer = computer_ids.size();
  if (installed.matching_computer_hwid) {
    const auto found = std::ranges::find(computer_ids, *installed.matching_computer_hwid);
    computer = static_cast<std::size_t>(found - computer_ids.begin());
  }
  const auto rank = static_cast<std::uint32_t>(installed.driver_rank);
  const std::size_t place = PlaceOf(device, installed.matching_id.value_or(""));
  return {computer, static_cast<int>(rank >> 16 & 0xFF), place,
          Backwards(installed.driver_ver_date.ticks), Backwards(installed.driver_ver_version)};
}

bool IsPrinter(const std::optional<std::string>& device_class) {
  return device_class && EqualsIgnoreCase(*device_class, kPrinterClass);
}

/// What a driver has to beat to replace the one that the device has.
class Installed {
 public:
  /// `device` must outlive it.
  Installed(const protocol::Device& device, std::span<const Guid> computer_ids) {
    if (!device.installed_driver || device.installed_driver->driver_rank == -1) return;  // none
    driver_ = &*device.installed_driver;
    fit_ = FitOf(device, *driver_, computer_ids);
  }

  bool IsWorseThan(const Fit& fit, const DriverFacts& driver) const {
    if (driver_ == nullptr) return true;
    if (IsPrinter(driver_->device_class) &&
        (!EqualsIgnoreCase(driver.provider, driver_->provider.value_or("")) ||
         !EqualsIgnoreCase(driver.manufacturer, driver_->manufacturer.value_or("")))) {
      return false;
    }
    return fit < fit_;
  }

 private:
  const protocol::InstalledDriver* driver_ = nullptr;
  Fit fit_;
};

std::vector<UpdateOrdinal> InstalledUpdates(const CatalogIndex& catalog,
                                            std::span<const std::int32_t> ids) {
  std::vector<UpdateOrdinal> installed;
  for (const std::int32_t id : ids) {
    const RevisionOrdinal r = catalog.FindId(id);
    if (r != kNone) installed.push_back(catalog.revisions()[r].update);
  }
  std::ranges::sort(installed);
  return installed;
}

void AddOnce(std::vector<std::string>& ids, const std::string& id) {
  if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
}

}  // namespace

struct ScanIndex::DriverMatches {
  std::shared_ptr<const Scope> scope;
  std::map<std::uint32_t, std::vector<std::string>> hardware_ids;  // by position in the scope
};

DriverScanAnswer ScanIndex::ScanDrivers(const std::vector<Guid>& groups,
                                        const DriverScan& scan) const {
  DriverMatches matches;
  matches.scope = ScopeOf(groups);
  const Scope& scope = *matches.scope;
  const std::vector<UpdateOrdinal> installed = InstalledUpdates(*catalog_, scan.installed);
  for (const protocol::Device& device : scan.devices) {
    std::optional<Candidate> best;
    std::optional<Candidate> approved;  // the best of those
    const Installed has(device, scan.computer_ids);
    std::unordered_set<std::string> considered;  // again it can only be worse
    const auto consider = [&](const std::string& hardware_id, std::size_t place) {
      std::string lower = ToLowerAscii(hardware_id);
      const std::span<const std::uint32_t> drivers = catalog_->DriversFor(lower);
      if (drivers.empty() || !considered.insert(std::move(lower)).second) return;
      for (const std::uint32_t d : drivers) {
        const DriverFacts& driver = catalog_->drivers()[d];
        const auto computer = ComputerPlace(driver, scan.computer_ids);
        if (!computer || scope.DriverPositionOf(driver.revision) == kNone) continue;
        if (!SatisfiedBy(*catalog_, driver.revision, installed)) continue;
        Candidate candidate{{*computer, FeatureScore(driver, scan.feature_key), place,
                             Backwards(driver.version_date), Backwards(driver.version)},
                            d,
                            hardware_id};
        if (!has.IsWorseThan(candidate.fit, driver)) continue;
        const PlacedRevision& placed = scope.drivers[scope.DriverPositionOf(driver.revision)];
        const bool counts = placed.action != protocol::DeploymentAction::kPreDeploymentCheck;
        if (counts && (!approved || candidate.fit < approved->fit)) approved = candidate;
        if (!best || candidate.fit < best->fit) best = std::move(candidate);
      }
    };
    std::size_t place = 0;
    for (const std::string& id : device.hardware_ids) consider(id, place++);
    for (const std::string& id : device.compatible_ids) consider(id, place++);
    // One that nobody approved is told so that "needed" can be counted; it must not hide the best
    // that is approved.
    for (const std::optional<Candidate>* chosen : {&best, &approved}) {
      if (!*chosen) continue;
      const RevisionOrdinal r = catalog_->drivers()[(*chosen)->driver].revision;
      AddOnce(matches.hardware_ids[scope.DriverPositionOf(r)], (*chosen)->hardware_id);
    }
  }
  return Compare(std::move(matches), scan.cached_drivers, scan.anchor);
}

DriverScanAnswer ScanIndex::ScanPrinters(const std::vector<Guid>& groups,
                                         const PrinterScan& scan) const {
  DriverMatches matches;
  matches.scope = ScopeOf(groups);
  const std::vector<UpdateOrdinal> installed = InstalledUpdates(*catalog_, scan.installed);
  for (const DriverFacts& driver : catalog_->drivers()) {
    const std::uint32_t position = matches.scope->DriverPositionOf(driver.revision);
    if (!driver.is_printer || position == kNone) continue;
    if (!SatisfiedBy(*catalog_, driver.revision, installed)) continue;
    AddOnce(matches.hardware_ids[position], driver.hardware_id);
  }
  return Compare(std::move(matches), scan.cached_drivers, scan.anchor);
}

DriverScanAnswer ScanIndex::Compare(DriverMatches matches,
                                    std::span<const std::int32_t> cached_drivers,
                                    const std::optional<ScanAnchor>& anchor) const {
  DriverScanAnswer answer;
  answer.scope = matches.scope;
  std::vector<std::int32_t> cached(cached_drivers.begin(), cached_drivers.end());
  std::ranges::sort(cached);
  cached.erase(std::ranges::unique(cached).begin(), cached.end());
  for (const std::int32_t id : cached) {
    const RevisionOrdinal r = catalog_->FindId(id);
    const std::uint32_t position = r == kNone ? kNone : answer.scope->DriverPositionOf(r);
    if (position == kNone || !matches.hardware_ids.contains(position)) {
      answer.out_of_scope.push_back(id);
    }
  }
  for (auto& [position, ids] : matches.hardware_ids) {
    const PlacedRevision& placed = answer.scope->drivers[position];
    const std::int32_t id = catalog_->revisions()[placed.revision].id;
    if (!std::ranges::binary_search(cached, id)) {
      answer.fresh.push_back({position, std::move(ids)});
    } else if (HasChanged(*answer.scope, placed, anchor)) {
      answer.changed.push_back({position, std::move(ids)});
    }
  }
  return answer;
}

}  // namespace gapferry::server
