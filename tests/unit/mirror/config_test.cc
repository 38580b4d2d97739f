#include "mirror/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gapferry::mirror {
namespace {

TEST(Config, WrittenFileIsReadBackAsItWas) {
  Config config;
  config.name = "a \"quoted\" \\ name";
  config.serve.http = {"::1", 8530};
  config.serve.https.emplace();
  config.serve.https->certificate = "keys/server.pem";
  config.serve.https->key = "keys/server.key";
  config.serve.page_updates = 30;
  config.serve.content_url = "http://content.example";
  config.serve.evaluate_unapproved = false;
  config.serve.max_connections_per_address = 12;
  config.serve.max_header_bytes = 8192;
  config.serve.page_bytes = 3 << 20;
  config.serve.page_cache_bytes = 64 << 20;
  config.serve.targeting = Targeting::kClient;
  config.serve.self_update = "self-update";
  config.serve.idle_timeout = std::chrono::seconds(121);
  config.serve.rollup = RollupDetail::kSummary;
  config.upstream.wsus = "http://wsus.example:8530";
  config.upstream.proxy = "http://user:pass@proxy.example:3128";
  config.upstream.ca_file = "keys/ca.pem";
  config.upstream.client_certificate = "keys/client.pem";
  config.upstream.client_key = "keys/client.key";
  config.content.source = ContentSource::kUpstreamThenVendor;
  config.content.ask_upstream = false;
  config.content.bandwidth = 3 << 19;
  config.content.window = TimeWindow{22 * 60, 5 * 60};
  config.replica = true;
  config.keys_signing = "pkcs11:token=t;object=\"o\"";
  config.import.warn_after_days = 10;
  config.return_level = ReturnLevel::kDetailed;
  config.return_review = true;
  config.content.download = ContentPolicy::kAll;
  config.exporting.encrypt = true;
  config.exporting.parity = 7;
  config.import.deadline_floor = std::chrono::hours(36);
  config.import.scanner = {
      {"/opt/av/scan", "--quiet \"x\"", "{}"}, std::chrono::minutes(3), 4, OnReject::kWithhold};
  config.media.allowed = {"4C530001230101117362", "A0B1-C2D3"};
  config.limits.withdraw_percent = 5;
  config.schedule.sync.times = {std::chrono::hours(2), std::chrono::hours(14)};
  config.schedule.sync.days = 0x1f;
  config.schedule.sync.randomise = std::chrono::minutes(90);
  config.schedule.rollup_after_sync = true;
  config.schedule.rollup.times = {std::chrono::minutes(5)};
  const std::string text = WriteConfig(config);
  const auto read = ParseConfig(text, "gapferry.yaml");
  ASSERT_TRUE(read.has_value()) << read.error().message << "\n" << text;
  EXPECT_EQ(WriteConfig(*read), text);
  EXPECT_EQ(read->name, config.name);
  EXPECT_EQ(read->serve.http.host, "::1");
  EXPECT_EQ(read->serve.https->key, "keys/server.key");
  EXPECT_FALSE(read->serve.evaluate_unapproved);
  EXPECT_EQ(read->serve.max_connections_per_address, 12U);
  EXPECT_EQ(read->serve.max_header_bytes, 8192U);
  EXPECT_EQ(read->serve.page_bytes, 3U << 20);
  EXPECT_EQ(read->serve.page_cache_bytes, 64U << 20);
  EXPECT_EQ(read->serve.targeting, Targeting::kClient);
  EXPECT_EQ(read->serve.self_update, "self-update");
  EXPECT_EQ(read->serve.idle_timeout, std::chrono::seconds(121));
  EXPECT_EQ(read->serve.rollup, RollupDetail::kSummary);
  EXPECT_EQ(read->upstream.wsus, "http://wsus.example:8530");
  EXPECT_EQ(read->upstream.proxy, config.upstream.proxy);
  EXPECT_EQ(read->upstream.ca_file, "keys/ca.pem");
  EXPECT_EQ(read->upstream.client_key, "keys/client.key");
  EXPECT_EQ(read->content.source, ContentSource::kUpstreamThenVendor);
  EXPECT_FALSE(read->content.ask_upstream);
  EXPECT_EQ(read->content.bandwidth, 3U << 19);
  EXPECT_EQ(read->content.window, config.content.window);
  EXPECT_TRUE(read->replica);
  EXPECT_EQ(read->keys_signing, config.keys_signing);
  EXPECT_EQ(read->import.warn_after_days, 10U);
  EXPECT_TRUE(read->exporting.encrypt);
  EXPECT_EQ(read->exporting.parity, 7u);
  EXPECT_EQ(read->import.deadline_floor, std::chrono::hours(36));
  EXPECT_EQ(read->import.scanner, config.import.scanner);
  EXPECT_EQ(read->media.allowed, config.media.allowed);
  EXPECT_EQ(read->schedule, config.schedule);
}

TEST(Config, DefaultsAreReadBack) {
  Config config;
  config.name = "plain";
  config.upstream.gap = true;
  const auto read = ParseConfig(WriteConfig(config), "gapferry.yaml");
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_TRUE(read->upstream.gap);
  EXPECT_EQ(read->serve.http.port, 8530);
  EXPECT_FALSE(read->serve.https.has_value());
  EXPECT_EQ(read->content.source, ContentSource::kUpstream);
  EXPECT_TRUE(read->content.ask_upstream);
  EXPECT_EQ(read->content.bandwidth, 0U);
  EXPECT_FALSE(read->content.window.has_value());
  EXPECT_TRUE(read->upstream.proxy.empty());
  EXPECT_EQ(read->import.scanner, Config::Scanner());
  EXPECT_TRUE(read->media.allowed.empty());
}

TEST(Config, BandwidthTakesShortUnits) {
  EXPECT_EQ(ParseBandwidth("500K").value(), 500U << 10);
  EXPECT_EQ(ParseBandwidth("2M").value(), 2U << 20);
  EXPECT_EQ(ParseBandwidth("2MiB").value(), 2U << 20);
  EXPECT_EQ(ParseBandwidth("500k").value(), 500U << 10);
  EXPECT_EQ(ParseBandwidth("4096").value(), 4096U);
  EXPECT_EQ(ParseBandwidth("0").value(), 0U);
  for (const char* text : {"", "K", "1023", "-1", "2 M", "2x", "1e6", "99999999999G"}) {
    EXPECT_FALSE(ParseBandwidth(text)) << text;
  }
  EXPECT_EQ(ParseDuration("15m").value(), std::chrono::minutes(15));
  EXPECT_EQ(ParseDuration("0s").value(), std::chrono::seconds(0));
  EXPECT_EQ(ParseDuration("15").error().message, "'15' is no time such as 90s, 15m, 2h or 1d");
}

struct BadCase {
  const char* name;
  const char* text;
  const char* message;
};

class BadConfig : public testing::TestWithParam<BadCase> {};

TEST_P(BadConfig, IsRefusedWithLineAndColumn) {
  const auto refused = ParseConfig(GetParam().text, "f.yaml");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kUsage);
  EXPECT_THAT(refused.error().message, testing::StartsWith(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadConfig,
    testing::Values(
        BadCase{"unknown_key", "name: a\nserv:\n  x: 1\n", "f.yaml:2:1: unknown key 'serv'"},
        BadCase{"unknown_inner", "name: a\nserve:\n  http:\n    lisen: 1.2.3.4:5\n",
                "f.yaml:4:5: unknown key 'serve.http.lisen'"},
        BadCase{"scanner_without_path", "name: a\nimport:\n  scanner:\n    command: [clamscan]\n",
                "f.yaml:4:5: 'import.scanner' needs a command that begins with the path"},
        BadCase{"scanner_choice",
                "name: a\nimport:\n  scanner:\n    command: [/x]\n    on_reject: ask\n",
                "f.yaml:5:16: 'import.scanner.on_reject': 'ask' is none of refuse, withhold"},
        BadCase{"scanner_timeout",
                "name: a\nimport:\n  scanner:\n    command: [/x]\n    timeout: 0s\n",
                "f.yaml:4:5: 'import.scanner.timeout' is less than a second"},
        BadCase{"repeated", "name: a\nname: b\n", "f.yaml:2:1: key 'name' is repeated"},
        BadCase{"bad_address", "name: a\nserve:\n  http:\n    listen: localhost\n",
                "f.yaml:4:13: 'serve.http.listen': 'localhost' is no ADDRESS:PORT"},
        BadCase{"bad_port", "name: a\nserve:\n  http:\n    listen: 1.2.3.4:99999\n",
                "f.yaml:4:13: 'serve.http.listen'"},
        BadCase{"bad_bool", "name: a\nreplica: maybe\n", "f.yaml:2:10: 'replica': 'maybe' is"},
        BadCase{"both", "name: a\nupstream:\n  wsus: http://x\n  gap: true\n",
                "f.yaml:3:3: 'upstream' has either wsus or gap"},
        BadCase{"proxy", "name: a\nupstream:\n  proxy: user:secret@proxy\n",
                "f.yaml:3:10: 'upstream.proxy': the value is no URL such as"},
        BadCase{"half_client_certificate", "name: a\nupstream:\n  client_key: k\n",
                "f.yaml:3:3: 'upstream.client_key' needs 'upstream.client_certificate'"},
        BadCase{"source", "name: a\ncontent:\n  source: moon\n",
                "f.yaml:3:11: 'content.source': 'moon' is none of upstream, vendor"},
        BadCase{"bandwidth", "name: a\ncontent:\n  bandwidth: 10\n",
                "f.yaml:3:14: 'content.bandwidth': '10' is no number of bytes per second"},
        BadCase{"window", "name: a\ncontent:\n  window: 22-5\n",
                "f.yaml:3:11: 'content.window': '22-5' is no part of a day such as 22:00-05:00"},
        BadCase{"replica_of_nobody", "name: a\nreplica: true\n",
                "f.yaml: 'replica' is true, but there is no upstream"},
        BadCase{"bad_targeting", "name: a\nserve:\n  targeting: both\n",
                "f.yaml:3:14: 'serve.targeting': 'both' is none of server, client"},
        BadCase{"small_headers", "name: a\nserve:\n  max_header_bytes: 100\n",
                "f.yaml:3:3: 'serve.max_header_bytes' is not from 4KiB to 1MiB"},
        BadCase{"half_https", "name: a\nserve:\n  https:\n    key: k\n",
                "f.yaml:4:5: 'serve.https' needs certificate and key"},
        BadCase{"bad_rollup", "name: a\nserve:\n  rollup: all\n",
                "f.yaml:3:11: 'serve.rollup': 'all' is none of detailed, summary"},
        BadCase{"no_lifetime", "name: a\nserve:\n  downstream_cookie_lifetime: 0s\n",
                "f.yaml:3:3: 'serve.downstream_cookie_lifetime' is less than a second"},
        BadCase{"level", "name: a\nreturn:\n  level: all\n", "f.yaml:3:10: 'return.level': 'all'"},
        BadCase{"review", "name: a\nreturn:\n  review: yes\n",
                "f.yaml:3:11: 'return.review': 'yes'"},
        BadCase{"duration", "name: a\nimport:\n  deadline_floor: 7\n",
                "f.yaml:3:19: 'import.deadline_floor': '7' is no number with a unit"},
        BadCase{"list", "name: [a]\n", "f.yaml:1:7: 'name' must be one value"},
        BadCase{"scalar_section", "name: a\nserve: 5\n", "f.yaml:2:8: 'serve' must hold keys"},
        BadCase{"no_name", "replica: false\n", "f.yaml:1:1: 'name' is missing"},
        BadCase{"syntax", "name: a\nserve: {http: 1\n", "f.yaml:"},
        BadCase{"number", "name: a\nlimits:\n  withdraw_percent: 101\n",
                "f.yaml:3:21: 'limits.withdraw_percent': '101' is no number from 0 to 100"}),
    [](const auto& param) { return std::string(param.param.name); });

// ---- The schedule ------------------------------------------------------------------------------

Schedule TwiceADay() {
  Schedule schedule;
  schedule.sync.times = {std::chrono::hours(2), std::chrono::hours(14)};
  schedule.sync.randomise = std::chrono::minutes(30);
  schedule.rollup_after_sync = true;
  return schedule;
}

TEST(ConfigSchedule, IsReadInItsShortForms) {
  const auto read = ParseConfig(
      "name: x\nupstream: {wsus: http://w}\nschedule:\n  sync: {times: [\"14:00\", \"02:00\", "
      "\"14:00\"], days: [mon-wed, sun]}\n  rollup: {times: \"03:15\"}\n",
      "f.yaml");
  ASSERT_TRUE(read.has_value()) << read.error().message;
  const std::vector<std::chrono::minutes> times = {std::chrono::hours(2), std::chrono::hours(14)};
  EXPECT_EQ(read->schedule.sync.times, times);
  EXPECT_EQ(read->schedule.sync.days, 64 + 7);
  EXPECT_EQ(read->schedule.rollup.times.at(0), std::chrono::minutes(195));
  EXPECT_FALSE(read->schedule.rollup_after_sync);
}

TEST(ConfigSchedule, IsReplacedAndNothingElseMoves) {
  Config config;
  config.name = "m";
  config.upstream.wsus = "http://wsus:8530";
  std::string text = WriteConfig(config);
  text.insert(text.find("sync:\n  parallel"), "# said by a person\n");
  text.insert(text.find("    days: []"), "    # the line is busy by day\n");
  const auto changed = ReplaceSchedule(text, "f", TwiceADay());
  ASSERT_TRUE(changed.has_value()) << changed.error().message;
  EXPECT_EQ(ParseConfig(*changed, "f")->schedule, TwiceADay());
  EXPECT_THAT(*changed, testing::HasSubstr("# said by a person\nsync:\n"));
  EXPECT_THAT(*changed, testing::HasSubstr("# the line is busy by day\n"));
  // Back again: what people wrote is still there, and nothing else has piled up.
  const auto back = ReplaceSchedule(*changed, "f", Schedule{});
  ASSERT_TRUE(back.has_value());
  const auto again = ReplaceSchedule(*back, "f", TwiceADay());
  EXPECT_EQ(*again, *changed);
  EXPECT_EQ(back->size(), text.size());
}

TEST(ConfigSchedule, IsAddedWhereThereWasNone) {
  const std::string text = "name: m\nupstream:\n  wsus: http://wsus:8530";
  const auto changed = ReplaceSchedule(text, "f", TwiceADay());
  ASSERT_TRUE(changed.has_value()) << changed.error().message;
  EXPECT_TRUE(changed->starts_with(text + "\n"));
  EXPECT_EQ(ParseConfig(*changed, "f")->schedule, TwiceADay());
}

TEST(ConfigSchedule, ALayoutThatOnlyPeopleUnderstandIsLeftAlone) {
  for (const char* text : {"{name: m, schedule: {sync: {times: [\"02:00\"]}}}",
                           "name: m\n\"schedule\":\n  sync:\n    times: [\"02:00\"]\n"}) {
    const auto refused = ReplaceSchedule(text, "f", TwiceADay());
    ASSERT_FALSE(refused.has_value()) << text;
    EXPECT_EQ(refused.error().reason, "edit-by-hand");
  }
}

TEST(ConfigSchedule, NeedsAnUpstream) {
  Config config;
  EXPECT_TRUE(CheckSchedule(config).has_value());
  config.schedule = TwiceADay();
  EXPECT_EQ(CheckSchedule(config).error().reason, "no-upstream");
  config.upstream.gap = true;
  EXPECT_THAT(CheckSchedule(config).error().message, testing::HasSubstr("fed by bundles"));
  config.upstream.gap = false;
  config.upstream.wsus = "http://wsus";
  EXPECT_TRUE(CheckSchedule(config).has_value());
}

}  // namespace
}  // namespace gapferry::mirror
