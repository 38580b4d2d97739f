#include <algorithm>
#include <fstream>

#include "tests/unit/client/client_fixture.h"

namespace gapferry::client {
namespace {

TEST_F(ClientTest, HandshakesRegistersAndWalksDownTheTree) {
  Add(1, "Category", kTrue).is_leaf = false;
  FakeRevision& product = Add(2, "Category", kTrue);
  product.is_leaf = false;
  product.prerequisites = {{GuidOf(1)}};
  FakeRevision& other_product = Add(3, "Category", kFalse);
  other_product.is_leaf = false;
  other_product.prerequisites = {{GuidOf(1)}};
  AddApproved(4, kFalse).prerequisites = {{GuidOf(2)}};
  AddApproved(5, kFalse).prerequisites = {{GuidOf(3)}};

  const ScanResult scan = Scan();
  EXPECT_EQ(Numbers(scan), std::vector<int>{4});
  EXPECT_EQ(scan.offered[0].title, "Update 4");
  EXPECT_EQ(scan.revisions_cached, 4u);
  EXPECT_EQ(scan.round_trips, 4);  // three software passes, one driver pass
  ASSERT_GE(server_.calls.size(), 5u);
  EXPECT_EQ((std::vector<std::string>(server_.calls.begin(), server_.calls.begin() + 5)),
            (std::vector<std::string>{"GetConfig", "GetAuthorizationCookie", "GetCookie",
                                      "RegisterComputer", "SyncUpdates"}));
  EXPECT_EQ(server_.authorized->target_group_name, "Pilots");
  EXPECT_EQ(server_.registered->dns_name, "pc1.example");
  // Installed non-leaf revisions are told apart from everything else.
  EXPECT_TRUE(server_.syncs[0].installed_non_leaf_update_ids.empty());
  EXPECT_TRUE(server_.syncs[0].other_cached_update_ids.empty());
  EXPECT_EQ(server_.syncs[1].installed_non_leaf_update_ids, std::vector<std::int32_t>{10});
  EXPECT_EQ(server_.syncs[2].installed_non_leaf_update_ids, (std::vector<std::int32_t>{10, 20}));
  EXPECT_EQ(server_.syncs[2].other_cached_update_ids, std::vector<std::int32_t>{30});
  // The driver pass repeats the installed list and drops the other.
  EXPECT_TRUE(server_.syncs[3].skip_software_sync);
  EXPECT_EQ(server_.syncs[3].installed_non_leaf_update_ids, (std::vector<std::int32_t>{10, 20}));
  EXPECT_TRUE(server_.syncs[3].other_cached_update_ids.empty());
  EXPECT_EQ(server_.syncs[3].system_spec.size(), 1u);
}

TEST_F(ClientTest, NextScanStartsWithSyncUpdatesAndSeesOnlyChanges) {
  Add(1, "Category", kTrue).is_leaf = false;
  AddApproved(2, kFalse).prerequisites = {{GuidOf(1)}};
  Scan();
  server_.calls.clear();
  server_.syncs.clear();
  AddApproved(3, kFalse).prerequisites = {{GuidOf(1)}};
  std::erase_if(server_.revisions, [](const FakeRevision& r) { return r.id == 20; });
  const ScanResult scan = Scan();
  EXPECT_EQ(server_.calls[0], "SyncUpdates");
  EXPECT_EQ(Numbers(scan), std::vector<int>{3});
  EXPECT_EQ(scan.new_revisions, 1u);
  EXPECT_EQ(scan.dropped_revisions, 1u);
  EXPECT_EQ(scan.round_trips, 2);
}

TEST_F(ClientTest, GoesOnWhilePagesAreTruncated) {
  for (int n = 1; n <= 25; ++n) AddApproved(n, kFalse);
  server_.page_size = 10;
  const ScanResult scan = Scan();
  EXPECT_EQ(scan.offered.size(), 25u);
  EXPECT_EQ(scan.round_trips, 4);
}

TEST_F(ClientTest, HonoursActions) {
  AddApproved(1, kFalse).deadline = clock_.Now();
  AddApproved(2, kTrue);
  AddApproved(3, kNeverApplies);
  Add(4, "Software", kTrue, {}, DeploymentAction::kUninstall);
  Add(5, "Software", kFalse, {}, DeploymentAction::kUninstall);
  Add(6, "Software", kFalse, {}, DeploymentAction::kPreDeploymentCheck);
  Add(7, "Software", kFalse, {}, DeploymentAction::kBlock);
  Add(8, "Software", kFalse, {}, DeploymentAction::kEvaluate);
  Add(9, "Software", kFalse, {}, DeploymentAction::kBundle);
  Add(10, "Software", kFalse, {}, DeploymentAction::kOptionalInstall);
  Add(11, "Software", kTrue, {}, DeploymentAction::kPreDeploymentCheck);
  AddApproved(12, "<IsInstalled><b.WmiQuery /></IsInstalled>");
  AddApproved(13, "<IsInstalled><False /></IsInstalled><IsSuperseded><True /></IsSuperseded>");

  const ScanResult scan = Scan();
  EXPECT_EQ(Numbers(scan), (std::vector<int>{1, 4, 10}));
  EXPECT_EQ(scan.offered[0].deadline, clock_.Now());
  EXPECT_EQ(scan.offered[1].action, DeploymentAction::kUninstall);
  EXPECT_EQ(scan.offered[2].action, DeploymentAction::kOptionalInstall);
  const std::pair<int, const char*> reasons[] = {{2, "installed"},
                                                 {3, "not-applicable"},
                                                 {5, "not-installed"},
                                                 {6, "not-approved"},
                                                 {7, "blocked"},
                                                 {8, ""},
                                                 {9, ""},
                                                 {11, "installed"},
                                                 {12, "unknown-rule"},
                                                 {13, "superseded"}};
  for (const auto& [n, reason] : reasons) EXPECT_EQ(ReasonOf(scan, n), reason) << n;
  EXPECT_EQ(scan.unknown_operators, std::set<std::string>{"b.WmiQuery"});
  // The inventory: what is deployed and can be installed, or is.
  EXPECT_EQ(scan.needed,
            (std::vector<Guid>{GuidOf(1), GuidOf(5), GuidOf(6), GuidOf(7), GuidOf(10)}));
  EXPECT_EQ(scan.installed, (std::vector<Guid>{GuidOf(2), GuidOf(4), GuidOf(11)}));
}

TEST_F(ClientTest, DecidesBundlesByTheirMembers) {
  const auto member = [&](int n, std::string_view rules) -> FakeRevision& {
    return Add(n, "Software", rules, {}, DeploymentAction::kBundle);
  };
  member(1, kTrue);
  member(2, kNeverApplies);
  const std::string bytes = AddFile(member(3, kFalse), "member three");
  AddFile(member(4, kFalse), "member four");
  Add(5, "Software", "", Bundling({{3, 4}}), DeploymentAction::kBundle);
  AddApproved(10, "", Bundling({{1, 2}, {2, 1}}));  // installed
  AddApproved(11, "", Bundling({{2}, {3}}));        // a group without anything
  AddApproved(12, "", Bundling({{2, 1}, {5}}));     // through a bundle in it
  AddApproved(13, "", Bundling({{99}}));            // a member that was not sent
  AddApproved(14, "", Bundling({{14}}));            // itself
  AddApproved(15, kNeverApplies, Bundling({{3}}));  // its own rule forbids

  const ScanResult scan = Scan();
  EXPECT_EQ(Numbers(scan), std::vector<int>{12});
  EXPECT_EQ(ReasonOf(scan, 10), "installed");
  for (const int n : {11, 13, 14, 15}) EXPECT_EQ(ReasonOf(scan, n), "not-applicable") << n;
  // One applicable member per group, and only where no member is installed.
  ASSERT_EQ(scan.offered[0].files.size(), 1u);
  EXPECT_EQ(scan.offered[0].files[0].file.sha1, Sha1(bytes));
  EXPECT_EQ(scan.offered[0].bytes, bytes.size());
  EXPECT_TRUE(scan.offered[0].files[0].url.starts_with("http://wsus.test:8530/Content/"));
}

TEST_F(ClientTest, HidesWhatAnApplicableApprovedUpdateSupersedes) {
  AddApproved(1, kFalse);
  AddApproved(2, kFalse, Superseding({1}));
  AddApproved(3, kFalse);
  AddApproved(4, kNeverApplies, Superseding({3}));
  AddApproved(5, kFalse);
  Add(6, "Software", kFalse, Superseding({5}), DeploymentAction::kPreDeploymentCheck);
  AddApproved(7, kFalse);
  AddApproved(8, kTrue, Superseding({7}));
  const ScanResult scan = Scan();
  EXPECT_EQ(Numbers(scan), (std::vector<int>{2, 3, 5}));
  EXPECT_EQ(ReasonOf(scan, 1), "superseded");
  EXPECT_EQ(ReasonOf(scan, 7), "superseded");
}

TEST_F(ClientTest, OffersDriversOfDevices) {
  const auto metadata = [](const char* id, const char* version) {
    return std::string(
               "<IsInstalled><d.WindowsDriverInstalled /></IsInstalled><IsInstallable>"
               "<d.WindowsDriverInstallable /></IsInstallable><Metadata>"
               "<d.WindowsDriverMetaData HardwareID=\"") +
           id + "\" DriverVerVersion=\"" + version + "\" /></Metadata>";
  };
  Add(1, "Driver", metadata("pci\\a", "1.1.0.0"), {}, DeploymentAction::kInstall);
  Add(2, "Driver", metadata("pci\\a", "1.0.0.0"), {}, DeploymentAction::kInstall);
  const ScanResult scan = Scan();
  EXPECT_EQ(Numbers(scan), std::vector<int>{1});
  EXPECT_TRUE(scan.needed.empty());
  // Drivers are never told as cached.
  Scan();
  for (const auto& sync : server_.syncs) EXPECT_TRUE(sync.other_cached_update_ids.empty());
}

TEST_F(ClientTest, AnswersFaultsAsAnAgentDoes) {
  Add(1, "Category", kTrue).is_leaf = false;
  AddApproved(2, kFalse).prerequisites = {{GuidOf(1)}};
  Scan();
  const auto calls_after = [&](FaultCode code) {
    server_.faults["SyncUpdates"].push_back(code);
    server_.calls.clear();
    EXPECT_EQ(Numbers(Scan()), std::vector<int>{2}) << FaultCodeName(code);
    return server_.calls;
  };
  const auto expect_start = [&](FaultCode code, std::vector<std::string> expected) {
    auto calls = calls_after(code);
    calls.resize(std::min(calls.size(), expected.size()));
    EXPECT_EQ(calls, expected) << FaultCodeName(code);
  };
  expect_start(FaultCode::kCookieExpired,
               {"SyncUpdates", "GetConfig", "GetAuthorizationCookie", "GetCookie", "SyncUpdates"});
  expect_start(FaultCode::kConfigChanged,
               {"SyncUpdates", "GetConfig", "GetAuthorizationCookie", "GetCookie", "SyncUpdates"});
  expect_start(FaultCode::kRegistrationRequired,
               {"SyncUpdates", "RegisterComputer", "SyncUpdates"});
  expect_start(FaultCode::kServerBusy, {"SyncUpdates", "SyncUpdates"});
  expect_start(FaultCode::kFileLocationChanged, {"SyncUpdates", "GetFileLocations", "SyncUpdates"});
  for (const FaultCode code : {FaultCode::kInvalidCookie, FaultCode::kServerChanged}) {
    // The server numbers its revisions anew.
    for (FakeRevision& revision : server_.revisions) revision.id += 1;
    expect_start(code, {"SyncUpdates", "GetConfig", "GetAuthorizationCookie", "GetCookie",
                        "RegisterComputer", "RefreshCache", "SyncUpdates"});
    EXPECT_EQ(server_.syncs.back().installed_non_leaf_update_ids,
              std::vector<std::int32_t>{server_.revisions[0].id});
  }
}

TEST_F(ClientTest, RenewsAnExpiredCookieByItself) {
  AddApproved(1, kFalse);
  Scan();
  clock_.Set(server_.cookie_expiration);
  server_.cookie_expiration = clock_.Now() + std::chrono::hours(1);
  server_.calls.clear();
  Scan();
  EXPECT_EQ(server_.Count("GetCookie"), 1u);
  EXPECT_EQ(server_.Count("RegisterComputer"), 0u);
}

TEST_F(ClientTest, GivesUpOnAFaultThatComesBack) {
  for (int i = 0; i < 20; ++i) server_.faults["SyncUpdates"].push_back(FaultCode::kCookieExpired);
  const auto scan = TryScan();
  ASSERT_FALSE(scan.has_value());
  EXPECT_EQ(protocol::FaultCodeOf(scan.error()), FaultCode::kCookieExpired);
  EXPECT_LT(server_.calls.size(), 40u);
}

TEST_F(ClientTest, InterruptedScanGoesOnWhereItWas) {
  for (int n = 1; n <= 25; ++n) AddApproved(n, kFalse);
  server_.page_size = 10;
  server_.faults["SyncUpdates"] = {};
  // The third call fails for good.
  server_.faults["GetExtendedUpdateInfo"] = {FaultCode::kInvalidParameters};
  ASSERT_FALSE(TryScan().has_value());
  const std::size_t before = server_.syncs.size();
  const ScanResult scan = Scan();
  EXPECT_EQ(scan.offered.size(), 25u);
  EXPECT_EQ(scan.new_revisions, 0u);
  EXPECT_EQ(server_.syncs.size() - before, 2u);  // nothing new, then drivers
}

TEST_F(ClientTest, TornCacheTailIsCutOff) {
  AddApproved(1, kFalse);
  Scan();
  const auto cache = directory_ / "cache.jsonl";
  const auto size = std::filesystem::file_size(cache);
  std::ofstream(cache, std::ios::app) << "{\"r\":\"clear\"}\n{\"r\":\"put\",\"id\":5,";
  server_.calls.clear();
  EXPECT_EQ(Numbers(Scan()), std::vector<int>{1});
  EXPECT_EQ(server_.calls[0], "SyncUpdates");
  EXPECT_GT(std::filesystem::file_size(cache), size);
}

TEST_F(ClientTest, AnotherServerStartsAfresh) {
  AddApproved(1, kFalse);
  Scan();
  auto state = ClientState::Open(directory_, std::nullopt);
  ASSERT_TRUE(state.has_value());
  auto session = WuspSession::Open(server_, "http://other.test:8530", facts_, state->client_id(),
                                   state->cache(), clock_, options_, {});
  EXPECT_TRUE(state->cache().revisions().empty());
}

TEST_F(ClientTest, StateIsHeldByOneProcess) {
  const auto first = ClientState::Open(directory_, std::nullopt);
  const auto second = ClientState::Open(directory_, std::nullopt);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kBusy);
}

TEST_F(ClientTest, RefusesAnswersThatMakeNoSense) {
  FakeRevision& revision = AddApproved(1, kFalse);
  revision.core = "<UpdateIdentity ";
  const auto scan = TryScan();
  ASSERT_FALSE(scan.has_value());
  EXPECT_EQ(scan.error().code, ErrorCode::kCorrupt);
}

TEST_F(ClientTest, DownloadsByRangesAndVerifies) {
  const std::string bytes = AddFile(AddApproved(1, kFalse), Pattern((2 << 20) + 5));
  Scan();
  const auto result = Download();
  ASSERT_TRUE(result.has_value()) << result.error().message;
  ASSERT_EQ(result->updates.size(), 1u);
  EXPECT_FALSE(result->updates[0].error.has_value());
  EXPECT_EQ(result->fetched_bytes, bytes.size());
  std::ranges::sort(server_.ranges);  // they come in any order
  EXPECT_EQ(server_.ranges,
            (std::vector<std::pair<std::uint64_t, std::uint64_t>>{
                {0, (1 << 20) - 1}, {1 << 20, (2 << 20) - 1}, {2 << 20, (2 << 20) + 4}}));
  const auto path = result->updates[0].files.at(0).path;
  EXPECT_EQ(path.filename().string(), Sha1(bytes).ToHex(HexCase::kUpper) + ".exe");
  EXPECT_EQ(*ReadTextFile(path, 10 << 20), bytes);
  const auto again = Download();
  EXPECT_EQ(again->fetched_bytes, 0u);
  EXPECT_TRUE(again->updates[0].files[0].was_there);
}

TEST_F(ClientTest, ResumesAPartialFile) {
  const std::string bytes = AddFile(AddApproved(1, kFalse), Pattern(3 << 20));
  Scan();
  int left = 2;
  server_.on_content = [&](const FetchRequest&, int& status, std::string&) {
    if (left-- <= 0) status = 404;
  };
  const auto broken = Download();
  ASSERT_TRUE(broken.has_value());
  EXPECT_TRUE(broken->updates[0].error.has_value());
  server_.on_content = nullptr;
  const auto result = Download();
  EXPECT_FALSE(result->updates[0].error.has_value());
  EXPECT_EQ(result->resumed_bytes, 2u << 20);
  EXPECT_EQ(result->fetched_bytes, 1u << 20);
}

TEST_F(ClientTest, KeepsNoFileWhoseBytesAreWrong) {
  AddFile(AddApproved(1, kFalse), Pattern(1000));
  AddFile(AddApproved(2, kFalse), Pattern(500));
  Scan();
  server_.on_content = [](const FetchRequest&, int&, std::string& body) {
    if (body.size() == 1000) body[500] ^= 1;
  };
  const auto result = Download();
  ASSERT_TRUE(result.has_value());
  ASSERT_EQ(result->updates.size(), 2u);
  ASSERT_TRUE(result->updates[0].error.has_value());
  EXPECT_EQ(result->updates[0].error->code, ErrorCode::kCorrupt);
  EXPECT_NE(result->updates[0].error->message.find("file 'setup.exe': SHA-1 mismatch: expected"),
            std::string::npos);
  EXPECT_FALSE(result->updates[1].error.has_value());
  EXPECT_EQ(ListDirectory(directory_ / "content")->size(), 1u);
}

TEST_F(ClientTest, SpoiledPartialFileIsFetchedAgainOnce) {
  const std::string bytes = AddFile(AddApproved(1, kFalse), Pattern(2000));
  Scan();
  const std::string name = Sha1(bytes).ToHex(HexCase::kUpper) + ".exe.part";
  std::ofstream(directory_ / "content" / name) << std::string(700, '!');
  const auto result = Download();
  ASSERT_TRUE(result.has_value());
  EXPECT_FALSE(result->updates[0].error.has_value());
  EXPECT_EQ(result->fetched_bytes, 1300u + 2000u);
}

TEST_F(ClientTest, ReportsTheScanItsInventoryDownloadsAndInstallations) {
  const std::string bytes = AddFile(AddApproved(1, kFalse), Pattern(100));
  AddApproved(2, kTrue);
  AddApproved(3, kFalse);
  Scan();
  ASSERT_TRUE(Download().has_value());
  const auto report = [&](std::optional<int> installed) {
    return WithClient([&](ClientState& state, WuspSession& session) -> Result<ReportResult> {
      if (installed) TRY(MarkInstalled(state, GuidOf(*installed), clock_));
      return Report(session, state, facts_, clock_);
    });
  };
  const auto first = report(std::nullopt);
  ASSERT_TRUE(first.has_value()) << first.error().message;
  EXPECT_EQ(first->event_ids, (std::vector<std::int32_t>{167, 162, 147, 156}));
  const auto& events = server_.events;
  EXPECT_EQ(events[1].update.guid, GuidOf(1));
  EXPECT_EQ(events[1].misc_data.back(), "B=100");
  EXPECT_EQ(events[2].replacement_strings, std::vector<std::string>{"2"});
  const auto& status = events[3].misc_data;
  EXPECT_EQ(
      std::vector(status.end() - 3, status.end()),
      (std::vector<std::string>{
          "U=AB000000-0000-0000-0000-000000000001;AB000000-0000-0000-0000-000000000003",
          "V=AB000000-0000-0000-0000-000000000002", "h=AB000000-0000-0000-0000-000000000001"}));
  EXPECT_EQ(events[3].computer_brand, "Unknown");

  const auto second = report(1);
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->event_ids, (std::vector<std::int32_t>{183, 147, 156}));
  EXPECT_EQ(events[4].replacement_strings, std::vector<std::string>{"Update 1"});
  EXPECT_EQ(events[6].misc_data.back(),
            "V=AB000000-0000-0000-0000-000000000001;AB000000-0000-0000-0000-000000000002");
  EXPECT_EQ(Numbers(Scan()), std::vector<int>{3});

  const auto unknown = report(77);
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().code, ErrorCode::kNotFound);
}

TEST_F(ClientTest, KeepsEventsThatWereNotTaken) {
  AddFile(AddApproved(1, kFalse), Pattern(100));
  Scan();
  ASSERT_TRUE(Download().has_value());
  server_.faults["ReportEventBatch"] = {FaultCode::kInvalidParameters};
  const auto report = [&] {
    return WithClient([&](ClientState& state, WuspSession& session) {
      return Report(session, state, facts_, clock_);
    });
  };
  EXPECT_FALSE(report().has_value());
  const auto sent = report();
  ASSERT_TRUE(sent.has_value());
  EXPECT_EQ(sent->event_ids.front(), 167);
}

}  // namespace
}  // namespace gapferry::client
