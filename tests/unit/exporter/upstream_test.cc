#include "exporter/upstream.h"

#include <gtest/gtest.h>

#include "exporter/update_stream.h"
#include "protocol/soap.h"
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
