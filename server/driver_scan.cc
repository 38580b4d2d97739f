// Driver matching of MS-WUSP 3.1.5.7.
#include <algorithm>
#include <map>
#include <tuple>

#include "base/text.h"
#include "server/scan_index.h"

namespace gapferry::server {
namespace {

constexpr int kNoScore = 256;  ///< worse than any feature score

/// How well a driver fits a device; smaller is better. Order of members = order of the rules.
using Fit = std::tuple<std::size_t,   // place of the computer hardware id; past the end: untargeted
                       int,           // feature score
                       std::size_t,   // place of the hardware id
                       std::int64_t,  // minus date
                       std::int64_t>;  // minus version

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

/// Whether `candidate` may replace what the device has.
bool Improves(const Candidate& candidate, const DriverFacts& driver,
              const protocol::Device& device) {
  if (!device.installed_driver) return true;
  const protocol::InstalledDriver& has = *device.installed_driver;
  if (has.driver_rank == -1) return true;  // none
  const bool printer = has.device_class && EqualsIgnoreCase(*has.device_class, "Printer");
  if (printer && (!EqualsIgnoreCase(driver.provider, has.provider.value_or("")) ||
                  !EqualsIgnoreCase(driver.manufacturer, has.manufacturer.value_or("")))) {
    return false;
  }
  // The score of the installed driver is not told: hardware id, date and version decide.
  std::size_t place = device.hardware_ids.size() + device.compatible_ids.size();
  for (std::size_t i = 0; has.matching_id && i < place; ++i) {
    const std::size_t own = device.hardware_ids.size();
    const std::string& id = i < own ? device.hardware_ids[i] : device.compatible_ids[i - own];
    if (EqualsIgnoreCase(id, *has.matching_id)) place = i;
  }
  const auto installed = std::tuple(place, -has.driver_ver_date.ticks, -has.driver_ver_version);
  const auto offered = std::tuple(std::get<2>(candidate.fit), std::get<3>(candidate.fit),
                                  std::get<4>(candidate.fit));
  return offered < installed;
}

}  // namespace

DriverScanAnswer ScanIndex::ScanDrivers(const std::vector<Guid>& groups,
                                        const DriverScan& scan) const {
  DriverScanAnswer answer;
  answer.scope = ScopeOf(groups);
  const Scope& scope = *answer.scope;
  std::vector<UpdateOrdinal> installed;
  for (const std::int32_t id : scan.installed) {
    const RevisionOrdinal r = catalog_->FindId(id);
    if (r != kNone) installed.push_back(catalog_->revisions()[r].update);
  }
  std::ranges::sort(installed);

  std::map<std::uint32_t, std::vector<std::string>> matches;  // place in scope -> hardware ids
  for (const protocol::Device& device : scan.devices) {
    std::optional<Candidate> best;
    const auto consider = [&](const std::string& hardware_id, std::size_t place) {
      for (const std::uint32_t d : catalog_->DriversFor(ToLowerAscii(hardware_id))) {
        const DriverFacts& driver = catalog_->drivers()[d];
        const auto computer = ComputerPlace(driver, scan.computer_ids);
        if (!computer || scope.DriverPositionOf(driver.revision) == kNone) continue;
        if (!SatisfiedBy(*catalog_, driver.revision, installed)) continue;
        Candidate candidate{{*computer, FeatureScore(driver, scan.feature_key), place,
                             -driver.version_date, -driver.version},
                            d,
                            hardware_id};
        if (!Improves(candidate, driver, device)) continue;
        if (!best || candidate.fit < best->fit) best = std::move(candidate);
      }
    };
    std::size_t place = 0;
    for (const std::string& id : device.hardware_ids) consider(id, place++);
    for (const std::string& id : device.compatible_ids) consider(id, place++);
    if (best) {
      auto& ids = matches[scope.DriverPositionOf(catalog_->drivers()[best->driver].revision)];
      if (std::ranges::find(ids, best->hardware_id) == ids.end()) {
        ids.push_back(best->hardware_id);
      }
    }
  }
  std::vector<std::int32_t> cached(scan.cached_drivers.begin(), scan.cached_drivers.end());
  std::ranges::sort(cached);
  for (auto& [place, ids] : matches) {
    const PlacedRevision& placed = scope.drivers[place];
    const std::int32_t id = catalog_->revisions()[placed.revision].id;
    if (!std::ranges::binary_search(cached, id)) {
      answer.fresh.push_back({place, std::move(ids)});
    } else if (HasChanged(scope, placed, scan.anchor)) {
      answer.changed.push_back({place, std::move(ids)});
    }
  }
  for (const std::int32_t id : cached) {
    const RevisionOrdinal r = catalog_->FindId(id);
    const std::uint32_t place = r == kNone ? kNone : scope.DriverPositionOf(r);
    if (place == kNone || !matches.contains(place)) answer.out_of_scope.push_back(id);
  }
  return answer;
}

}  // namespace gapferry::server
