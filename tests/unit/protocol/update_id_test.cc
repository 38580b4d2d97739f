#include "protocol/update_id.h"

#include <gtest/gtest.h>

namespace gapferry::protocol {
namespace {

constexpr char kGuid[] = "72e7624a-5b00-45d2-b92f-e561c0a6a160";

TEST(UpdateId, RoundTripsItsText) {
  const std::string text = std::string(kGuid) + "/200";
  const auto id = UpdateId::Parse(text);
  ASSERT_TRUE(id.has_value());
  EXPECT_EQ(id->revision, 200);
  EXPECT_EQ(id->ToString(), text);
}

TEST(UpdateId, RefusesWhatIsNoRevision) {
  for (const std::string tail : {"", "/", "/x", "/-1", "/2147483648", "/1/2", "/ 1"}) {
    EXPECT_FALSE(UpdateId::Parse(kGuid + tail).has_value()) << tail;
  }
}

TEST(UpdateIdArgument, TakesTheRevisionAsOptional) {
  EXPECT_EQ(UpdateIdArgument::Parse(kGuid)->revision, std::nullopt);
  EXPECT_EQ(UpdateIdArgument::Parse(std::string(kGuid) + "/7")->revision, 7);
}

TEST(UpdateId, OrdersRevisionsOfOneUpdateByNumber) {
  const Guid guid = *Guid::Parse(kGuid);
  EXPECT_LT((UpdateId{guid, 9}), (UpdateId{guid, 100}));
}

}  // namespace
}  // namespace gapferry::protocol
