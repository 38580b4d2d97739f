// What happens after a scan: installing, failing, restarting, removing, and being asked why.
#include <algorithm>
#include <fstream>
#include <mutex>

#include "client/latency.h"
#include "client/load.h"
#include "client/partial_file.h"
#include "client/sync_scanner.h"
#include "protocol/wusp_codec.h"
#include "tests/unit/client/client_fixture.h"

namespace gapferry::client {
namespace {

class ClientLife : public ClientTest {
 protected:
  template <class Use>
  auto WithState(Use use) {
    return WithClient([&](ClientState& state, WuspSession&) { return use(state); });
  }
  Result<std::vector<InstallStep>> Install(const InstallOptions& options = {}) {
    return WithState([&](ClientState& state) {
      return PretendInstall(state, Judge(state, facts_).offered, options, clock_);
    });
  }
  std::vector<std::int32_t> Report() {
    const auto result = WithClient([&](ClientState& state, WuspSession& session) {
      return client::Report(session, state, facts_, clock_);
    });
    EXPECT_TRUE(result.has_value());
    return result ? result->event_ids : std::vector<std::int32_t>();
  }
  // The server's next answer tells everything anew.
  void Forget() {
    const Result<void> forgotten = WithState([](ClientState& state) {
      state.cache().Clear();
      return state.cache().Commit();
    });
    EXPECT_TRUE(forgotten.has_value());
  }
  // The lists of the last inventory, such as "U=...".
  std::vector<std::string> Inventory() {
    std::vector<std::string> lists;
    for (const std::string& item : server_.events.back().misc_data) {
      if (std::string_view("UVWgh").find(item[0]) != std::string_view::npos) lists.push_back(item);
    }
    return lists;
  }
  static std::string List(char key, int n) {
    return std::string(1, key) + "=" + ToUpper(GuidOf(n).ToString());
  }
  static std::string ToUpper(std::string text) {
    std::ranges::transform(text, text.begin(), [](char c) {
      return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    return text;
  }
};

TEST_F(ClientLife, InstallsWhatWasDownloaded) {
  AddFile(AddApproved(1, kFalse), Pattern(100));
  Scan();
  const auto early = Install();
  ASSERT_FALSE(early.has_value());
  EXPECT_EQ(early.error().reason, "not-downloaded");
  ASSERT_TRUE(Download().has_value());
  const auto steps = Install();
  ASSERT_TRUE(steps.has_value());
  ASSERT_EQ(steps->size(), 1u);
  EXPECT_EQ(steps->front().outcome, "installed");
  EXPECT_EQ(ReasonOf(Scan(), 1), "installed");
  EXPECT_EQ(Report(), (std::vector<std::int32_t>{167, 162, 181, 183, 147, 156}));
  EXPECT_EQ(server_.events[3].replacement_strings, std::vector<std::string>{"Update 1"});
  EXPECT_EQ(Inventory(), std::vector<std::string>{List('V', 1)});
}

TEST_F(ClientLife, WaitsForTheRestart) {
  AddApproved(1, kFalse);
  Scan();
  InstallOptions options;
  options.needs_restart = true;
  EXPECT_EQ(Install(options)->front().outcome, "restart-pending");
  EXPECT_EQ(ReasonOf(Scan(), 1), "restart-pending");
  EXPECT_EQ(Report(), (std::vector<std::int32_t>{181, 201, 147, 156}));
  EXPECT_EQ(server_.events[1].win32_hresult, 0x00240005);
  EXPECT_EQ(Inventory(), std::vector<std::string>{List('W', 1)});
  EXPECT_EQ(*WithState([&](ClientState& state) { return PretendRestart(state, clock_); }), 1u);
  EXPECT_EQ(ReasonOf(Scan(), 1), "installed");
  EXPECT_EQ(Report().front(), 202);
}

TEST_F(ClientLife, ReportsFailuresWithTheirCode) {
  AddApproved(1, kFalse);
  Scan();
  InstallOptions options;
  options.failures[GuidOf(1)] = static_cast<std::int32_t>(0x80070643);
  EXPECT_EQ(Install(options)->front().outcome, "failed");
  EXPECT_EQ(Numbers(Scan()), std::vector<int>{1});  // still offered
  EXPECT_EQ(Report(), (std::vector<std::int32_t>{181, 182, 147, 156}));
  EXPECT_EQ(server_.events[1].replacement_strings,
            (std::vector<std::string>{"0x80070643", "Update 1"}));
  EXPECT_EQ(server_.events[1].win32_hresult, static_cast<std::int32_t>(0x80070643));
  EXPECT_EQ(Inventory(), (std::vector<std::string>{List('U', 1), List('g', 1)}));
  EXPECT_EQ(server_.events[1].misc_data.back(), "C=0");
  EXPECT_EQ(Install(options)->front().outcome, "failed");
  Report();
  EXPECT_EQ(server_.events[5].event_id, 182);
  EXPECT_EQ(server_.events[5].misc_data.back(), "C=1");
  EXPECT_EQ(Install()->front().outcome, "installed");  // and then it works
  Report();
  EXPECT_EQ(Inventory(), std::vector<std::string>{List('V', 1)});
}

TEST_F(ClientLife, RemovesWhatTheServerWantsRemoved) {
  Add(1, "Software", kTrue, {}, DeploymentAction::kUninstall);
  EXPECT_EQ(Numbers(Scan()), std::vector<int>{1});
  EXPECT_EQ(Install()->front().outcome, "removed");
  // Its rule still says installed: what was done here counts more.
  EXPECT_EQ(ReasonOf(Scan(), 1), "not-installed");
  EXPECT_EQ(Report(), (std::vector<std::int32_t>{226, 222, 147, 156}));
}

TEST_F(ClientLife, RemembersThatSomethingWasInstalledOnce) {
  AddApproved(1,
              "<IsInstalled><False /></IsInstalled><IsInstallable><Not><b.InstalledOnce />"
              "</Not></IsInstallable>");
  Scan();
  EXPECT_EQ(Install()->front().outcome, "installed");
  server_.revisions[0].action = DeploymentAction::kUninstall;
  Forget();
  Scan();
  EXPECT_EQ(Install()->front().outcome, "removed");
  server_.revisions[0].action = DeploymentAction::kInstall;
  Forget();
  EXPECT_EQ(ReasonOf(Scan(), 1), "not-applicable");
}

TEST_F(ClientLife, SaysWhy) {
  Add(1, "Software",
      "<IsInstalled><b.RegDword Key=\"HKLM\" Subkey=\"A\" Value=\"V\" Comparison=\"EqualTo\" "
      "Data=\"1\" /></IsInstalled><IsInstallable><And><True /><False /></And></IsInstallable>",
      Bundling({{2}}), DeploymentAction::kInstall);
  Scan();
  const auto explanations =
      WithState([&](ClientState& state) { return Explain(state, facts_, GuidOf(1)); });
  ASSERT_EQ(explanations.size(), 1u);
  EXPECT_EQ(explanations[0].reason, "not-applicable");
  EXPECT_EQ(explanations[0].lines,
            (std::vector<std::string>{
                "not applicable", "IsInstalled:",
                "  b.RegDword Key=\"HKLM\" Subkey=\"A\" Value=\"V\" Comparison=\"EqualTo\" "
                "Data=\"1\": false",
                "IsSuperseded: no rule", "IsInstallable:", "  And: false", "    True: true",
                "    False: false", "one of these members (group 1):",
                "  " + UpdateId{GuidOf(2), 1}.ToString() + ": the server has not told of it"}));
  EXPECT_TRUE(
      WithState([&](ClientState& state) { return Explain(state, facts_, GuidOf(9)); }).empty());
}

TEST_F(ClientLife, ScansByCategory) {
  Add(1, "Category", kTrue).is_leaf = false;
  AddApproved(2, kFalse).prerequisites = {{GuidOf(1)}};
  ScanOptions options;
  options.categories = {GuidOf(1), GuidOf(7)};
  const auto scan = WithClient([&](ClientState& state, WuspSession& session) {
    return client::Scan(session, state, facts_, clock_, NoProgress(), options);
  });
  ASSERT_TRUE(scan.has_value()) << scan.error().message;
  EXPECT_EQ(scan->unknown_categories, std::vector<Guid>{GuidOf(7)});
  EXPECT_EQ(server_.syncs.front().filter_category_ids, std::vector<Guid>{GuidOf(1)});
  for (const auto& sync : server_.syncs) EXPECT_FALSE(sync.skip_software_sync);
  options.categories = {GuidOf(7)};
  server_.syncs.clear();
  ASSERT_TRUE(WithClient([&](ClientState& state, WuspSession& session) {
                return client::Scan(session, state, facts_, clock_, NoProgress(), options);
              }).has_value());
  EXPECT_TRUE(server_.syncs.empty());  // nothing is left to scan for
}

TEST_F(ClientLife, CountsWithoutRegistering) {
  options_.may_register = false;
  AddApproved(1, kFalse);
  ASSERT_TRUE(TryScan().has_value());
  EXPECT_EQ(server_.Count("RegisterComputer"), 0u);
  EXPECT_NE(server_.syncs.front().products_parameters->caller_attributes.find("Survey=1;"),
            std::string::npos);
  server_.faults["SyncUpdates"] = {FaultCode::kRegistrationRequired};
  const auto refused = TryScan();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(protocol::FaultCodeOf(refused.error()), FaultCode::kRegistrationRequired);
}

TEST_F(ClientLife, DescribesDevicesAsAnAgentDoes) {
  facts_ = *Facts::Parse(R"(
name: pc1.example
computer_ids: [11111111-1111-1111-1111-111111111111]
devices:
  - hardware_ids: [USB\VID_1&PID_2]
    compatible_ids: [USB\CLASS_3]
    class: Printer
    driver: {version: 10.0.26100.8036, date: 2006-06-21, provider: P, manufacturer: M}
  - hardware_ids: [PCI\VEN_9]
)",
                         "facts");
  Scan();
  const auto& sync = server_.syncs.back();
  EXPECT_EQ(sync.computer_spec->size(), 1u);
  ASSERT_EQ(sync.system_spec.size(), 2u);
  const auto& printer = *sync.system_spec[0].installed_driver;
  EXPECT_EQ(sync.system_spec[0].compatible_ids, std::vector<std::string>{"USB\\CLASS_3"});
  EXPECT_EQ(printer.driver_ver_version, 2814751477604196);
  EXPECT_EQ(printer.driver_ver_date.ToXml(), "2006-06-21T00:00:00Z");
  EXPECT_EQ(printer.device_class, "Printer");
  EXPECT_EQ(printer.matching_id, "USB\\VID_1&PID_2");
  const auto& none = *sync.system_spec[1].installed_driver;
  EXPECT_EQ(none.driver_rank, -1);
  EXPECT_EQ(none.driver_ver_date.ToXml(), "0001-01-01T00:00:00Z");
}

// ---- Files in pieces ---------------------------------------------------------------------------

TEST_F(ClientLife, PiecesAreRememberedInAnyOrder) {
  const auto part = directory_ / "f.part";
  {
    auto partial = PartialFile::Open(part, 10, 4);
    ASSERT_TRUE(partial.has_value());
    EXPECT_EQ(partial->Missing().size(), 3u);
    ASSERT_TRUE(partial->MarkDone(2).has_value());
    ASSERT_TRUE(partial->MarkDone(0).has_value());
  }
  auto again = PartialFile::Open(part, 10, 4);
  ASSERT_TRUE(again.has_value());
  ASSERT_EQ(again->Missing().size(), 1u);
  EXPECT_EQ(again->Missing()[0].first, 4u);
  EXPECT_EQ(again->Missing()[0].end, 8u);
  EXPECT_EQ(again->present_bytes(), 6u);
  // Another size: what the map says is about another file.
  EXPECT_EQ(PartialFile::Open(part, 11, 4)->Missing().size(), 3u);
}

// A server for several threads.
class LockedFetcher : public Fetcher {
 public:
  LockedFetcher(Fetcher& inner, std::mutex& lock) : inner_(inner), lock_(lock) {}
  Result<FetchResponse> Fetch(const FetchRequest& request, Sink& sink,
                              std::stop_token stop) override {
    const std::lock_guard guard(lock_);
    ++calls;
    return inner_.Fetch(request, sink, stop);
  }
  int calls = 0;

 private:
  Fetcher& inner_;
  std::mutex& lock_;
};

TEST_F(ClientLife, SeveralConnectionsShareAFile) {
  const std::string bytes = AddFile(AddApproved(1, kFalse), Pattern(100'000));
  Scan();
  std::mutex lock;
  LockedFetcher first(server_, lock);
  LockedFetcher second(server_, lock);
  const auto result =
      WithClient([&](ClientState& state, WuspSession& session) -> Result<DownloadResult> {
        auto updates = Judge(state, facts_).offered;
        TRY(Locate(session, state, facts_, updates));
        DownloadOptions options;
        options.range_bytes = 1000;
        Fetcher* const fetchers[] = {&first, &second};
        return client::Download(fetchers, state, updates, clock_, NoProgress(), {}, options);
      });
  ASSERT_TRUE(result.has_value()) << result.error().message;
  ASSERT_FALSE(result->updates[0].error.has_value());
  EXPECT_EQ(result->requests, 100u);
  EXPECT_EQ(first.calls + second.calls, 100);
  EXPECT_EQ(*ReadTextFile(result->updates[0].files.at(0).path, 1 << 20), bytes);
  auto sorted = server_.ranges;
  EXPECT_FALSE(std::ranges::is_sorted(sorted));                  // shuffled
  EXPECT_EQ(ListDirectory(directory_ / "content")->size(), 1u);  // no part, no map
}

TEST_F(ClientLife, AFailureStopsTheOtherConnections) {
  AddFile(AddApproved(1, kFalse), Pattern(100'000));
  Scan();
  server_.on_content = [](const FetchRequest& request, int& status, std::string&) {
    if (request.range_first == 50'000) status = 404;
  };
  std::mutex lock;
  LockedFetcher first(server_, lock);
  LockedFetcher second(server_, lock);
  const auto result =
      WithClient([&](ClientState& state, WuspSession& session) -> Result<DownloadResult> {
        auto updates = Judge(state, facts_).offered;
        TRY(Locate(session, state, facts_, updates));
        DownloadOptions options;
        options.range_bytes = 1000;
        Fetcher* const fetchers[] = {&first, &second};
        return client::Download(fetchers, state, updates, clock_, NoProgress(), {}, options);
      });
  ASSERT_TRUE(result.has_value());
  ASSERT_TRUE(result->updates[0].error.has_value());
  EXPECT_EQ(result->updates[0].error->code, ErrorCode::kNotFound);
}

// ---- Load --------------------------------------------------------------------------------------

TEST(Latencies, AreWithinThreePercent) {
  LatencyHistogram histogram;
  for (std::uint64_t i = 1; i <= 10'000; ++i) histogram.Add(i * 10);
  EXPECT_EQ(histogram.count(), 10'000u);
  EXPECT_NEAR(static_cast<double>(histogram.Quantile(0.5)), 50'000, 1'600);
  EXPECT_NEAR(static_cast<double>(histogram.Quantile(0.99)), 99'000, 3'100);
  EXPECT_EQ(histogram.max(), 100'000u);
  LatencyHistogram other;
  other.Add(0);
  other.Add(~std::uint64_t{0});
  histogram.Merge(other);
  EXPECT_EQ(histogram.Quantile(1), ~std::uint64_t{0});
}

TEST(SyncScanner, ReadsWhatAWalkNeeds) {
  protocol::SyncUpdatesResponse response;
  protocol::UpdateInfo info;
  info.id = 7;
  info.deployment.emplace();
  info.deployment->id = 99;
  info.is_leaf = false;
  info.xml = protocol::PlainText{"<IsLeaf>true</IsLeaf><ID>8</ID>"};
  response.result.new_updates.push_back(info);
  response.result.changed_updates.resize(2);
  for (auto& changed : response.result.changed_updates) changed.deployment.emplace();
  response.result.out_of_scope_revision_ids = {4, 5};
  response.result.truncated = true;
  response.result.new_cookie = protocol::Cookie{UtcTime::FromUnixSeconds(0), {1, 2, 3}};
  const auto outline = ScanSyncAnswer(protocol::Encode(response));
  ASSERT_TRUE(outline.has_value()) << outline.error().message;
  ASSERT_EQ(outline->fresh.size(), 1u);
  EXPECT_EQ(outline->fresh[0].id, 7);
  EXPECT_FALSE(outline->fresh[0].is_leaf);
  EXPECT_EQ(outline->changed, 2u);
  EXPECT_EQ(outline->out_of_scope, (std::vector<std::int32_t>{4, 5}));
  EXPECT_TRUE(outline->truncated);
  EXPECT_EQ(outline->cookie.encrypted_data, (Bytes{1, 2, 3}));
}

TEST(SyncScanner, RefusesWhatIsNoAnswer) {
  for (const char* body :
       {"", "<html>", "<Truncated>false</Truncated>",
        "<NewUpdates><UpdateInfo><ID>x</ID>"
        "<IsLeaf>true</IsLeaf></UpdateInfo></NewUpdates><Truncated>false</Truncated>"}) {
    EXPECT_FALSE(ScanSyncAnswer(body).has_value()) << body;
  }
  EXPECT_EQ(FaultCodeIn("<detail><ErrorCode>CookieExpired</ErrorCode></detail>"), "CookieExpired");
  EXPECT_EQ(FaultCodeIn("<a/>"), "");
}

TEST(Load, RefusesWhatCannotBe) {
  LoadOptions options;
  options.server = "wsus:8530";
  EXPECT_EQ(RunLoad(options, NoProgress(), {}).error().code, ErrorCode::kUsage);
  options.server = "http://wsus:8530";
  options.clients = 0;
  EXPECT_EQ(RunLoad(options, NoProgress(), {}).error().code, ErrorCode::kUsage);
}

}  // namespace
}  // namespace gapferry::client
