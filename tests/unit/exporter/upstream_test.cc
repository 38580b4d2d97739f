#include "exporter/upstream.h"

#include <gtest/gtest.h>

#include <set>

#include "exporter/fault_table.h"
#include "exporter/update_stream.h"
#include "protocol/soap.h"
#include "protocol/sync_codec.h"
#include "tests/support/upstream_simulator.h"

namespace gapferry::exporter {
namespace {

using protocol::FaultCode;
using protocol::UpdateId;
using testing_support::UpstreamSimulator;

const Guid kProduct = *Guid::Parse("11111111-0000-4000-8000-000000000001");
const Guid kClass = *Guid::Parse("22222222-0000-4000-8000-000000000001");

Guid Numbered(int n) {
  char text[40];
  std::snprintf(text, sizeof(text), "33333333-0000-4000-8000-%012d", n);
  return *Guid::Parse(text);
}

class UpstreamTest : public testing::Test {
 protected:
  UpstreamTest() : fetcher_(simulator_.NewFetcher()), clock_(UtcTime::FromUnixSeconds(1791126194)) {
    UpstreamOptions options;
    options.url = "http://wsus:8530";
    options.account_name = "mirror";
    options.wait = [this](std::chrono::milliseconds time, std::stop_token) {
      waits_.push_back(time.count());
      return true;
    };
    upstream_.emplace(*fetcher_, clock_, options, std::stop_token());
  }

  Result<void> Fetch(const std::vector<UpdateId>& ids) {
    received_.clear();
    BatchFetcher fetcher(*upstream_,
                         {[&](protocol::ReceivedUpdate update) -> Result<void> {
                            received_.push_back(update.id);
                            return {};
                          },
                          [](protocol::FileUrl) -> Result<void> { return {}; }},
                         1 << 20, {});
    TRY(fetcher.Fetch(ids));
    gone_ = fetcher.gone;
    return {};
  }

  UpstreamSimulator simulator_;
  std::unique_ptr<Fetcher> fetcher_;
  FixedClock clock_;
  std::optional<Upstream> upstream_;
  std::vector<std::int64_t> waits_;
  std::vector<UpdateId> received_;
  std::vector<UpdateId> gone_;
};

// What makes an answer malformed: the first `text` of each.
class Spoiling : public Fetcher {
 public:
  Spoiling(std::unique_ptr<Fetcher> inner, std::string text)
      : inner_(std::move(inner)), text_(std::move(text)) {}
  Result<FetchResponse> Fetch(const FetchRequest& request, Sink& sink,
                              std::stop_token stop) override {
    MemorySink whole(1 << 20);
    TRY_ASSIGN(auto answer, inner_->Fetch(request, whole, std::move(stop)));
    std::string text(AsText(whole.bytes()));
    if (const auto at = text.find(text_); at != std::string::npos) text.replace(at, 2, "<&");
    TRY(sink.Write(AsBytes(text)));
    return answer;
  }

 private:
  std::unique_ptr<Fetcher> inner_;
  std::string text_;
};

// Addresses stand behind all updates of an answer.
TEST_F(UpstreamTest, OneUpdateThatCannotBeReadCostsTheOthersNothing) {
  std::vector<UpdateId> ids;
  for (int i = 0; i < 10; ++i) {
    const std::string name = "update-" + std::to_string(i) + ".";
    ids.push_back(simulator_.AddUpdate(Numbered(i), 1, name, kProduct, kClass, {name}));
  }
  Spoiling spoiling(simulator_.NewFetcher(), "update-7.");
  Upstream upstream = upstream_->Connect(spoiling, {});
  std::vector<UpdateId> updates;
  std::set<Sha1Digest> addresses;
  BatchFetcher fetcher(upstream,
                       {[&](const protocol::ReceivedUpdate& update) -> Result<void> {
                          updates.push_back(update.id);
                          return {};
                        },
                        [&](const protocol::FileUrl& url) -> Result<void> {
                          addresses.insert(url.file_digest);
                          return {};
                        }},
                       1 << 20, {});
  const auto fetched = fetcher.Fetch(ids);
  ASSERT_TRUE(fetched.has_value()) << fetched.error().message;
  ASSERT_EQ(fetcher.refused.size(), 1u);
  EXPECT_EQ(fetcher.refused[0].update, ids[7]);
  EXPECT_EQ(updates.size(), 9u);  // each once
  EXPECT_EQ(addresses.size(), 9u);
}

TEST_F(UpstreamTest, AnAnswerThatIsWrongAfterItsLastUpdateIsNoSuccess) {
  const UpdateId id = simulator_.AddUpdate(Numbered(1), 1, "update", kProduct, kClass, {"content"});
  Spoiling broken(simulator_.NewFetcher(), "</fileUrls>");
  Upstream upstream = upstream_->Connect(broken, {});
  BatchFetcher fetcher(upstream,
                       {[](const protocol::ReceivedUpdate&) -> Result<void> { return {}; },
                        [](const protocol::FileUrl&) -> Result<void> { return {}; }},
                       1 << 20, {});
  const auto fetched = fetcher.Fetch({id});
  ASSERT_FALSE(fetched.has_value());
  EXPECT_EQ(fetched.error().code, ErrorCode::kCorrupt);
}

TEST_F(UpstreamTest, AuthorizesOnceAndWhenTheCookieIsRefused) {
  ASSERT_TRUE(upstream_->GetConfigData().has_value());
  ASSERT_TRUE(upstream_->GetConfigData().has_value());
  EXPECT_EQ(simulator_.Count("GetAuthorizationCookie"), 1);
  simulator_.faults["GetConfigData"] = {FaultCode::kInvalidCookie};
  ASSERT_TRUE(upstream_->GetConfigData().has_value());
  EXPECT_EQ(simulator_.Count("GetAuthorizationCookie"), 2);
  simulator_.faults["GetConfigData"] = {FaultCode::kInvalidCookie, FaultCode::kInvalidCookie};
  EXPECT_EQ(protocol::FaultCodeOf(upstream_->GetConfigData().error()), FaultCode::kInvalidCookie);
}

TEST_F(UpstreamTest, RetriesWhatIsTransientAndOnlyThat) {
  simulator_.refuse_connections = 2;
  ASSERT_TRUE(upstream_->GetConfigData().has_value());
  EXPECT_EQ(waits_.size(), 2u);
  waits_.clear();
  simulator_.faults["GetConfigData"] = {FaultCode::kServerBusy};
  ASSERT_TRUE(upstream_->GetConfigData().has_value());
  EXPECT_EQ(waits_, (std::vector<std::int64_t>{60'000}));
  waits_.clear();
  simulator_.faults["GetConfigData"] = {FaultCode::kInvalidParameters};
  EXPECT_EQ(upstream_->GetConfigData().error().code, ErrorCode::kUsage);
  EXPECT_TRUE(waits_.empty());
}

TEST_F(UpstreamTest, NeverSendsHalfAFilter) {
  protocol::SyncFilter filter;
  filter.categories.push_back({kProduct, false});
  EXPECT_EQ(upstream_->GetRevisionIdList(filter).error().reason, "half-filter");
  EXPECT_EQ(simulator_.Count("GetRevisionIdList"), 0);
}

TEST_F(UpstreamTest, AsksAgainForWhatAShortAnswerLeftOut) {
  std::vector<UpdateId> ids;
  for (int i = 0; i < 7; ++i) {
    ids.push_back(simulator_.AddUpdate(Numbered(i), 1, "u", kProduct, kClass, {}));
  }
  simulator_.max_updates_per_answer = 3;
  ASSERT_TRUE(Fetch(ids).has_value());
  EXPECT_EQ(received_.size(), 7u);
  EXPECT_EQ(simulator_.batch_sizes, (std::vector<std::size_t>{7, 4, 1}));
}

TEST_F(UpstreamTest, FindsTheIdThatTheUpstreamCannotDeliver) {
  std::vector<UpdateId> ids;
  for (int i = 0; i < 10; ++i) {
    ids.push_back(simulator_.AddUpdate(Numbered(i), 1, "u", kProduct, kClass, {}));
  }
  simulator_.undeliverable = {ids[6]};
  ASSERT_TRUE(Fetch(ids).has_value());
  EXPECT_EQ(received_.size(), 9u);
  EXPECT_EQ(gone_, (std::vector<UpdateId>{ids[6]}));
  for (const std::size_t size : simulator_.batch_sizes) EXPECT_LE(size, 10u);
}

// ---- The table of faults (companion of MS-WSUSSS 1.5), row by row -------------------------------

TEST(FaultTable, HasARowForEveryFaultAndEachHasANextStep) {
  using enum FaultReaction;
  const struct {
    FaultCode code;
    FaultReaction reaction;
    int attempts;
  } kRows[] = {
      {FaultCode::kInvalidParameters, kStartOverAfterAnchor, 1},
      {FaultCode::kTooManyIds, kStartOverAfterAnchor, 1},
      {FaultCode::kInvalidCookie, kAuthorize, 1},
      {FaultCode::kInvalidAuthorizationCookie, kAuthorize, 1},
      {FaultCode::kIncompatibleProtocolVersion, kStop, 1},
      {FaultCode::kInternalServerError, kRetry, 3},
      {FaultCode::kServerBusy, kRetry, 4},
      {FaultCode::kServerChanged, kStartOver, 1},
      {FaultCode::kFileDigestsMissing, kListAgain, 1},
      {FaultCode::kUnknown, kStop, 1},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(RuleOf(row.code).code, row.code);
    EXPECT_EQ(RuleOf(row.code).reaction, row.reaction) << FaultCodeName(row.code);
    EXPECT_EQ(RuleOf(row.code).attempts, row.attempts) << FaultCodeName(row.code);
  }
  for (const FaultRule& rule : FaultRules()) EXPECT_FALSE(rule.next.empty());
}

TEST_F(UpstreamTest, FaultsThatNothingHelpsEndTheCallAtOnce) {
  for (const FaultCode code :
       {FaultCode::kInvalidParameters, FaultCode::kTooManyIds,
        FaultCode::kIncompatibleProtocolVersion, FaultCode::kServerChanged, FaultCode::kUnknown}) {
    simulator_.calls.clear();
    simulator_.faults["GetConfigData"] = {code};
    const auto answer = upstream_->GetConfigData();
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(protocol::FaultCodeOf(answer.error()), code);
    EXPECT_EQ(answer.error().next, RuleOf(code).next);
    EXPECT_EQ(simulator_.Count("GetConfigData"), 1);
    EXPECT_EQ(upstream_->TakeDemands().start_over, code == FaultCode::kServerChanged);
  }
  EXPECT_TRUE(waits_.empty());
}

TEST_F(UpstreamTest, AnInvalidParameterIsNamed) {
  simulator_.faults["GetConfigData"] = {FaultCode::kInvalidParameters};
  EXPECT_NE(upstream_->GetConfigData().error().message.find("GetConfigData"), std::string::npos);
}

TEST_F(UpstreamTest, AnAuthorizationCookieThatIsRefusedIsMadeAnewOnce) {
  simulator_.faults["GetCookie"] = {FaultCode::kInvalidAuthorizationCookie};
  ASSERT_TRUE(upstream_->Authorize().has_value());
  EXPECT_EQ(simulator_.Count("GetAuthorizationCookie"), 2);
  simulator_.faults["GetCookie"].assign(2, FaultCode::kInvalidAuthorizationCookie);
  EXPECT_FALSE(upstream_->Authorize().error().next.empty());
  EXPECT_EQ(simulator_.Count("GetAuthorizationCookie"), 4);
  simulator_.faults["GetConfigData"] = {FaultCode::kInvalidAuthorizationCookie};
  ASSERT_TRUE(upstream_->GetConfigData().has_value());
}

TEST_F(UpstreamTest, InternalServerErrorIsTriedThreeTimes) {
  simulator_.faults["GetConfigData"] = {FaultCode::kInternalServerError,
                                        FaultCode::kInternalServerError};
  ASSERT_TRUE(upstream_->GetConfigData().has_value());
  EXPECT_EQ(waits_.size(), 2u);
  waits_.clear();
  simulator_.calls.clear();
  simulator_.faults["GetConfigData"].assign(5, FaultCode::kInternalServerError);
  const auto answer = upstream_->GetConfigData();
  EXPECT_EQ(answer.error().code, ErrorCode::kTransient);
  EXPECT_FALSE(answer.error().next.empty());
  EXPECT_EQ(simulator_.Count("GetConfigData"), 3);
}

TEST_F(UpstreamTest, ABusyServerIsAskedAgainAfterOneFiveAndFifteenMinutes) {
  simulator_.faults["GetRevisionIdList"].assign(9, FaultCode::kServerBusy);
  const auto answer = upstream_->GetRevisionIdList({});
  EXPECT_EQ(protocol::FaultCodeOf(answer.error()), FaultCode::kServerBusy);
  EXPECT_FALSE(answer.error().next.empty());
  EXPECT_EQ(waits_, (std::vector<std::int64_t>{60'000, 300'000, 900'000}));
  waits_.clear();
  simulator_.retry_after = "77";
  simulator_.faults["GetRevisionIdList"] = {FaultCode::kServerBusy};
  ASSERT_TRUE(upstream_->GetRevisionIdList({}).has_value());
  EXPECT_EQ(waits_, (std::vector<std::int64_t>{77'000}));
  waits_.clear();
  simulator_.retry_after = "100000";
  simulator_.faults["GetUpdateData"] = {FaultCode::kServerBusy};
  const UpdateId id = simulator_.AddUpdate(Numbered(1), 1, "u", kProduct, kClass, {});
  ASSERT_TRUE(Fetch({id}).has_value());
  EXPECT_EQ(waits_, (std::vector<std::int64_t>{900'000}));
}

TEST_F(UpstreamTest, FilesThatAreUnknownMakeItListAgain) {
  simulator_.faults["DownloadFiles"] = {FaultCode::kFileDigestsMissing};
  const auto asked = upstream_->DownloadFiles({Sha1(std::string_view("x"))});
  EXPECT_EQ(asked.error().reason, "FileDigestsMissing");
  EXPECT_FALSE(asked.error().next.empty());
  EXPECT_TRUE(upstream_->TakeDemands().list_again);
  EXPECT_FALSE(upstream_->TakeDemands().list_again);  // said once
}

// ---- Cookies
// -------------------------------------------------------------------------------------

TEST_F(UpstreamTest, RenewsTheCookieBetweenBatchesBeforeItEnds) {
  std::vector<UpdateId> ids;
  for (int i = 0; i < 20; ++i) {
    ids.push_back(simulator_.AddUpdate(Numbered(i), 1, "u", kProduct, kClass, {}));
  }
  simulator_.max_updates_per_answer = 1;  // twenty requests, two minutes apart
  simulator_.only_newest_cookie = true;
  simulator_.cookie_expiration = clock_.Now() + std::chrono::minutes(20);
  simulator_.on_call = [&](std::string_view operation) {
    if (operation == "GetUpdateData") clock_.Set(clock_.Now() + std::chrono::minutes(2));
    if (operation == "GetCookie") {
      simulator_.cookie_expiration = clock_.Now() + std::chrono::minutes(20);
    }
  };
  ASSERT_TRUE(Fetch(ids).has_value());
  EXPECT_EQ(received_.size(), 20u);
  // Renewed when a quarter of 20 minutes is left: after 8 calls, and 8 calls later again.
  EXPECT_EQ(simulator_.Count("GetCookie"), 3);
  EXPECT_EQ(simulator_.Count("GetUpdateData"), 20);  // none was refused
}

TEST_F(UpstreamTest, ConnectionsShareOneCookie) {
  ASSERT_TRUE(upstream_->Authorize().has_value());
  const auto second_fetcher = simulator_.NewFetcher();
  Upstream second = upstream_->Connect(*second_fetcher, {});
  ASSERT_TRUE(second.GetConfigData().has_value());
  EXPECT_EQ(simulator_.Count("GetCookie"), 1);
  simulator_.faults["GetConfigData"] = {FaultCode::kInvalidCookie};
  ASSERT_TRUE(second.GetConfigData().has_value());
  ASSERT_TRUE(upstream_->GetConfigData().has_value());  // with the new one
  EXPECT_EQ(simulator_.Count("GetCookie"), 2);
}

// ---- Keys
// ----------------------------------------------------------------------------------------

TEST_F(UpstreamTest, AKeyThatCannotBeReadIsNotShown) {
  const std::string body =
      R"(<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>)"
      R"(<GetUpdateDecryptionDataResponse xmlns="http://www.microsoft.com/SoftwareDistribution">)"
      R"(<GetUpdateDecryptionDataResult><UpdateFileDecryptionData><ServerSyncUpdateFileDecryption>)"
      R"(<UpdateId><UpdateID>33333333-0000-4000-8000-000000000001</UpdateID>)"
      R"(<RevisionNumber>1</RevisionNumber></UpdateId><FileDecryptionData>)"
      R"(<ServerSyncFileDecryption><FileDigest>AAAAAAAAAAAAAAAAAAAAAAAAAAA=</FileDigest>)"
      R"(<DecryptionKey>U0VDUkVU!</DecryptionKey></ServerSyncFileDecryption></FileDecryptionData>)"
      R"(</ServerSyncUpdateFileDecryption></UpdateFileDecryptionData>)"
      R"(</GetUpdateDecryptionDataResult></GetUpdateDecryptionDataResponse></s:Body></s:Envelope>)";
  const auto message = protocol::SoapMessage::Parse(body, protocol::SoapLimits::Answer());
  ASSERT_TRUE(message.has_value()) << message.error().message;
  const auto answer = protocol::Decode<protocol::GetUpdateDecryptionDataResponse>(*message);
  ASSERT_FALSE(answer.has_value());
  EXPECT_NE(answer.error().message.find("DecryptionKey"), std::string::npos);
  EXPECT_EQ(answer.error().message.find("U0VD"), std::string::npos) << answer.error().message;
}

TEST(ContentRoot, FollowsTheRuleOfPorts) {
  const struct {
    const char* url;
    const char* root;
  } kCases[] = {
      {"http://wsus", "http://wsus"},
      {"http://wsus:8530/x", "http://wsus:8530"},
      {"https://wsus", "http://wsus"},
      {"https://wsus:443", "http://wsus"},
      {"https://wsus:8531", "http://wsus:8530"},
      {"https://[::1]:8531/", "http://[::1]:8530"},
      {"https://[::1]", "http://[::1]"},
  };
  for (const auto& c : kCases) EXPECT_EQ(ContentRootOf(c.url), c.root) << c.url;
}

}  // namespace
}  // namespace gapferry::exporter
