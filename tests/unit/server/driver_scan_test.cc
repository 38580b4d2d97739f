// The rules for drivers of MS-WUSP 3.1.5.7 and 3.1.5.12.
#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <map>

#include "server/scan_index.h"

namespace gapferry::server {
namespace {

using mirror::UpdateType;

Guid Id(int n) {
  Guid guid;
  guid.bytes[0] = static_cast<std::uint8_t>(n);
  guid.bytes[15] = 1;
  return guid;
}

protocol::DriverMetadata Driver(const std::string& hardware_id, const std::string& date,
                                const std::string& version) {
  protocol::DriverMetadata driver;
  driver.hardware_id = hardware_id;
  driver.ver_date = date;
  driver.ver_version = version;
  driver.provider = "Contoso";
  driver.manufacturer = "Contoso Devices";
  return driver;
}

protocol::Device Device(std::vector<std::string> hardware_ids,
                        std::vector<std::string> compatible_ids = {}) {
  return {std::move(hardware_ids), std::move(compatible_ids), std::nullopt};
}

class DriverScanTest : public testing::Test {
 protected:
  /// Returns the revision id.
  std::int32_t Add(std::vector<protocol::DriverMetadata> drivers) {
    mirror::RevisionRelations relations;
    const int number = static_cast<int>(revisions_.size());
    relations.row.id = 100 + number;
    relations.row.update = {Id(number + 1), 1};
    relations.row.type = UpdateType::kDriver;
    relations.row.is_explicitly_deployable = true;
    revisions_.push_back(std::move(relations));
    drivers_.push_back(std::move(drivers));
    return 100 + number;
  }

  DriverScanAnswer Scan(const DriverScan& scan) {
    Build();
    return index_->ScanDrivers({Id(200)}, scan);
  }
  /// id -> hardware ids it is offered for.
  std::map<std::int32_t, std::vector<std::string>> Offered(const DriverScanAnswer& answer) {
    std::map<std::int32_t, std::vector<std::string>> offered;
    for (const auto& match : answer.fresh) offered[IdOf(answer, match)] = match.hardware_ids;
    return offered;
  }
  std::int32_t IdOf(const DriverScanAnswer& answer, const DriverScanAnswer::Match& match) {
    return index_->catalog().revisions()[answer.scope->drivers[match.driver].revision].id;
  }
  /// The one driver offered to `device`; 0: none.
  std::int32_t Best(const protocol::Device& device, std::vector<Guid> computer_ids = {}) {
    const std::vector<protocol::Device> devices = {device};
    DriverScan scan;
    scan.devices = devices;
    scan.computer_ids = computer_ids;
    scan.feature_key = "AMD64.10.0";
    scan.installed = installed_;
    const DriverScanAnswer answer = Scan(scan);
    EXPECT_LE(answer.fresh.size(), 1U);
    return answer.fresh.empty() ? 0 : IdOf(answer, answer.fresh[0]);
  }
  void Build() {
    CatalogIndexBuilder builder;
    for (std::size_t i = 0; i < revisions_.size(); ++i) builder.Add(revisions_[i], drivers_[i]);
    index_ = ScanIndex::Build(
        builder.Finish(), std::make_shared<ContentHoldings>(std::vector<mirror::ContentFile>(), 0),
        intent_, {}, UtcTime::FromUnixSeconds(1'800'000'000));
  }

  std::vector<mirror::RevisionRelations> revisions_;
  std::vector<std::vector<protocol::DriverMetadata>> drivers_;
  std::vector<std::int32_t> installed_;
  IntentFacts intent_;
  std::shared_ptr<const ScanIndex> index_;
};

TEST_F(DriverScanTest, MatchesHardwareIdsWithoutCase) {
  const auto driver = Add({Driver("PCI\\VEN_8086&DEV_1234", "2026-01-01", "1.0.0.0")});
  EXPECT_EQ(Best(Device({"pci\\ven_8086&dev_1234"})), driver);
  EXPECT_EQ(Best(Device({"pci\\ven_8086"}, {"PCI\\VEN_8086&DEV_1234"})), driver) << "compatible";
  EXPECT_EQ(Best(Device({"pci\\ven_8086"})), 0);
  EXPECT_EQ(Best(Device({})), 0);
}

TEST_F(DriverScanTest, RanksByTheRulesInTheirOrder) {
  auto for_computer = Driver("B", "2020-01-01", "1.0.0.0");
  for_computer.target_computer_ids = {Id(151)};
  auto scored = Driver("B", "2020-01-01", "1.0.0.0");
  scored.feature_scores = {{"amd64.10.0", 10}, {"X86.10.0", 1}};
  const auto old = Add({Driver("A", "2020-01-01", "9.0.0.0")});
  const auto newer = Add({Driver("A", "2021-01-01", "1.0.0.0")});
  const auto higher = Add({Driver("A", "2021-01-01", "1.0.0.10")});
  const auto other = Add({Driver("B", "2026-01-01", "99.0.0.0")});
  EXPECT_EQ(Best(Device({"A", "B"})), higher) << "place of the id before date, version as numbers";
  EXPECT_EQ(Best(Device({"B", "A"})), other);
  const auto with_score = Add({scored});
  EXPECT_EQ(Best(Device({"A", "B"})), with_score) << "score before place";
  const auto targeted = Add({for_computer});
  EXPECT_EQ(Best(Device({"A", "B"}), {Id(150), Id(151)}), targeted) << "computer before all";
  EXPECT_EQ(Best(Device({"A", "B"}), {Id(150)}), with_score) << "made for other computers";
  EXPECT_NE(old, newer);
}

TEST_F(DriverScanTest, TheComputerIdListedFirstWins) {
  auto first = Driver("A", "2020-01-01", "1.0.0.0");
  first.distribution_computer_ids = {Id(150)};
  auto second = Driver("A", "2026-01-01", "1.0.0.0");
  second.target_computer_ids = {Id(151)};
  const auto specific = Add({first});
  const auto general = Add({second});
  EXPECT_EQ(Best(Device({"A"}), {Id(150), Id(151)}), specific);
  EXPECT_EQ(Best(Device({"A"}), {Id(151), Id(150)}), general);
}

TEST_F(DriverScanTest, ReplacesOnlyWhatIsWorse) {
  const auto driver = Add({Driver("B", "2021-01-01", "2.0.0.0")});
  protocol::Device device = Device({"A", "B"});
  protocol::InstalledDriver& has = device.installed_driver.emplace();
  has.matching_id = "b";
  has.driver_rank = 0x00FF0001;
  has.driver_ver_date = *UtcTime::ParseXml("2021-01-01T00:00:00Z");
  has.driver_ver_version = PackDriverVersion("2.0.0.0");
  EXPECT_EQ(Best(device), 0) << "the same";
  has.driver_ver_version = PackDriverVersion("1.9.0.0");
  EXPECT_EQ(Best(device), driver) << "a higher version";
  has.driver_ver_date = *UtcTime::ParseXml("2022-01-01T00:00:00Z");
  EXPECT_EQ(Best(device), 0) << "an earlier date";
  has.matching_id = "COMPATIBLE";
  EXPECT_EQ(Best(device), driver) << "a better id";
  has.driver_rank = 0x00100001;
  EXPECT_EQ(Best(device), 0) << "the feature score in its rank is better than none";
  has.driver_rank = 0x00FF0001;
  has.matching_computer_hwid = Id(150);
  EXPECT_EQ(Best(device, {Id(150)}), 0) << "what it has is made for this computer";
  has.driver_rank = -1;
  EXPECT_EQ(Best(device, {Id(150)}), driver) << "no driver at all";
}

TEST_F(DriverScanTest, AnyVersionOfADeviceCompares) {
  const auto driver = Add({Driver("B", "2021-01-01", "2.0.0.0")});
  protocol::Device device = Device({"B"});
  protocol::InstalledDriver& has = device.installed_driver.emplace();
  has.matching_id = "B";
  has.driver_rank = 0x00FF0000;
  has.driver_ver_date = *UtcTime::ParseXml("2021-01-01T00:00:00Z");
  has.driver_ver_version = std::numeric_limits<std::int64_t>::min();
  EXPECT_EQ(Best(device), driver);
  has.driver_ver_version = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(Best(device), 0);
}

TEST_F(DriverScanTest, ADeviceThatRepeatsItselfCostsNoMore) {
  const auto driver = Add({Driver("B", "2021-01-01", "2.0.0.0")});
  protocol::Device device = Device(std::vector<std::string>(30'000, "B"));
  protocol::InstalledDriver& has = device.installed_driver.emplace();
  has.matching_id = "C";
  has.driver_rank = 0x00FF0000;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(Best(device), driver);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST_F(DriverScanTest, PrintersKeepProviderAndManufacturer) {
  const auto driver = Add({Driver("A", "2026-01-01", "2.0.0.0")});
  protocol::Device device = Device({"A"});
  protocol::InstalledDriver& has = device.installed_driver.emplace();
  has.matching_id = "A";
  has.driver_rank = 0x00FF0000;
  has.device_class = "Printer";
  has.provider = "CONTOSO";
  has.manufacturer = "Fabrikam";
  EXPECT_EQ(Best(device), 0);
  has.manufacturer = "Contoso Devices";
  EXPECT_EQ(Best(device), driver);
  has.provider.reset();
  EXPECT_EQ(Best(device), 0);
  has.device_class = "{4d36e96c-e325-11ce-bfc1-08002be10318}";
  EXPECT_EQ(Best(device), driver) << "other classes may change hands";
}

TEST_F(DriverScanTest, AsksForPrerequisitesAndOneDriverForManyDevices) {
  const auto driver = Add({Driver("A", "2026-01-01", "1.0.0.0"), Driver("B", "2026-01-01", "1.0")});
  revisions_[0].prerequisites.push_back({false, {Id(90)}});
  mirror::RevisionRelations detectoid;
  detectoid.row.id = 500;
  detectoid.row.update = {Id(90), 1};
  detectoid.row.type = UpdateType::kDetectoid;
  revisions_.push_back(detectoid);
  drivers_.emplace_back();
  const std::vector<protocol::Device> devices = {Device({"a"}), Device({"B"}), Device({"A"})};
  DriverScan scan;
  scan.devices = devices;
  EXPECT_TRUE(Offered(Scan(scan)).empty()) << "its detectoid is not installed";
  installed_ = {500};
  scan.installed = installed_;
  EXPECT_EQ(Offered(Scan(scan)),
            (std::map<std::int32_t, std::vector<std::string>>{{driver, {"a", "B", "A"}}}));
}

TEST_F(DriverScanTest, ComparesWithWhatIsCached) {
  const auto first = Add({Driver("A", "2026-01-01", "1.0.0.0")});
  const auto second = Add({Driver("B", "2026-01-01", "1.0.0.0")});
  mirror::Deployment deployment;
  deployment.id = 7;
  deployment.update = {Id(1), 1};
  deployment.group = mirror::kAllComputers;
  deployment.generation = 4;
  intent_.deployments = {deployment};
  intent_.state.name.generation = 4;
  const std::vector<protocol::Device> devices = {Device({"A"})};
  const std::vector<std::int32_t> cached = {first, second, second, 4711, -1};
  DriverScan scan;
  scan.devices = devices;
  scan.cached_drivers = cached;
  DriverScanAnswer answer = Scan(scan);
  EXPECT_TRUE(answer.fresh.empty());
  ASSERT_EQ(answer.changed.size(), 1U) << "without an anchor";
  EXPECT_EQ(answer.out_of_scope, (std::vector<std::int32_t>{-1, second, 4711}));
  scan.anchor = index_->AnchorOf(*answer.scope, UtcTime::FromUnixSeconds(1'800'000'000));
  EXPECT_TRUE(Scan(scan).changed.empty());
  scan.anchor->generation = 3;
  EXPECT_EQ(Scan(scan).changed.size(), 1U);
}

TEST_F(DriverScanTest, NeverOffersDeclinedDrivers) {
  Add({Driver("A", "2026-01-01", "1.0.0.0")});
  intent_.declined = {Id(1)};
  EXPECT_EQ(Best(Device({"A"})), 0);
}

TEST_F(DriverScanTest, TheCatalogueOfPrintersHoldsThemAll) {
  auto printer = Driver("LPTENUM\\One", "2026-01-01", "1.0.0.0");
  printer.driver_class = "printer";
  auto also = Driver("USBPRINT\\One", "2026-01-01", "1.0.0.0");
  also.driver_class = "Printer";
  auto display = Driver("PCI\\Two", "2026-01-01", "1.0.0.0");
  display.driver_class = "Display";
  const auto first = Add({printer, also});
  Add({display});
  Build();
  PrinterScan scan;
  EXPECT_EQ(Offered(index_->ScanPrinters({Id(200)}, scan)),
            (std::map<std::int32_t, std::vector<std::string>>{
                {first, {"lptenum\\one", "usbprint\\one"}}}));
  const std::vector<std::int32_t> cached = {first, 101};
  scan.cached_drivers = cached;
  const DriverScanAnswer again = index_->ScanPrinters({Id(200)}, scan);
  EXPECT_TRUE(again.fresh.empty());
  EXPECT_EQ(again.out_of_scope, (std::vector<std::int32_t>{101}));
}

TEST_F(DriverScanTest, AnUnapprovedDriverDoesNotHideTheApprovedOne) {
  const auto approved = Add({Driver("A", "2020-01-01", "1.0.0.0")});
  Add({Driver("A", "2021-01-01", "1.0.0.0")});
  const auto newest = Add({Driver("A", "2022-01-01", "1.0.0.0")});
  mirror::Deployment deployment;
  deployment.id = 7;
  deployment.update = {Id(1), 1};
  deployment.group = mirror::kAllComputers;
  intent_.deployments = {deployment};
  const std::vector<protocol::Device> devices = {Device({"A"})};
  DriverScan scan;
  scan.devices = devices;
  const auto offered = Offered(Scan(scan));
  EXPECT_EQ(offered,
            (std::map<std::int32_t, std::vector<std::string>>{{approved, {"A"}}, {newest, {"A"}}}));
}

}  // namespace
}  // namespace gapferry::server
