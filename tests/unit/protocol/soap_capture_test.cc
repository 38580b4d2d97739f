// Replays the real exchanges: every one decodes, and what is ours to write comes out byte for byte.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/file.h"
#include "protocol/reporting_codec.h"
#include "protocol/sync_codec.h"
#include "protocol/wusp_codec.h"

namespace gapferry::protocol {
namespace {

const fs::path kCaptures = fs::path(GAPFERRY_SOURCE_DIR) / "../shared/captures";

class SoapCapture : public testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(kCaptures)) GTEST_SKIP() << "no captures beside the source tree";
  }
  static std::string Read(const std::string& name) {
    auto text = ReadTextFile(kCaptures / name, 1 << 24);
    EXPECT_TRUE(text.has_value()) << name;
    return text.value_or("");
  }
  template <class Message>
  static Message DecodeFile(const std::string& name) {
    auto message = SoapMessage::Parse(Read(name), SoapLimits::Answer());
    EXPECT_TRUE(message.has_value()) << name << ": " << message.error().message;
    auto decoded = Decode<Message>(*message);
    EXPECT_TRUE(decoded.has_value()) << name << ": " << decoded.error().message;
    return std::move(*decoded);
  }
  template <class Message>
  static Message RoundTrip(const std::string& name) {
    Message message = DecodeFile<Message>(name);
    EXPECT_EQ(Flatten(EncodeBody(message), 1 << 26).value_or("failed"), Read(name)) << name;
    return message;
  }
};

TEST_F(SoapCapture, AgentExchangesRoundTrip) {
  RoundTrip<GetConfigRequest>("scan/000001/request.body");
  const auto config = RoundTrip<GetConfigResponse>("scan/000001/response.body");
  EXPECT_EQ(config.auth_info.at(0).service_url, "SimpleAuthWebService/SimpleAuth.asmx");
  EXPECT_EQ(config.properties.size(), 5u);
  RoundTrip<SimpleAuthorizationRequest>("scan/000002/request.body");
  const auto authorization = RoundTrip<SimpleAuthorizationResponse>("scan/000002/response.body");
  EXPECT_EQ(authorization.cookie.cookie_data.size(), 496u);
  const auto get_cookie = RoundTrip<GetCookieRequest>("scan/000003/request.body");
  EXPECT_TRUE(get_cookie.old_cookie->encrypted_data.empty());
  RoundTrip<GetCookieResponse>("scan/000003/response.body");
  EXPECT_EQ(RoundTrip<RegisterComputerRequest>("scan/000004/request.body").computer.os_build_number,
            26200);
  RoundTrip<RegisterComputerResponse>("scan/000004/response.body");
  RoundTrip<StartCategoryScanRequest>("scan/000005/request.body");
  RoundTrip<StartCategoryScanResponse>("scan/000005/response.body");
}

TEST_F(SoapCapture, SyncUpdatesRoundTrips) {
  for (const char* exchange : {"scan/000006", "scan/000007", "scan/000008"}) {
    const auto request = RoundTrip<SyncUpdatesRequest>(std::string(exchange) + "/request.body");
    EXPECT_EQ(request.parameters.filter_category_ids.size(), 1u);
    const auto answer = RoundTrip<SyncUpdatesResponse>(std::string(exchange) + "/response.body");
    ASSERT_EQ(answer.result.new_updates.size(), 1u);
    EXPECT_TRUE(answer.result.new_updates[0].deployment.has_value());
  }
  RoundTrip<SyncUpdatesResponse>("scan/000009/response.body");
}

TEST_F(SoapCapture, ExtendedUpdateInfoRoundTrips) {
  RoundTrip<GetExtendedUpdateInfoRequest>("scan/000010/request.body");
  EXPECT_EQ(RoundTrip<GetExtendedUpdateInfoResponse>("scan/000010/response.body").updates.size(),
            6u);
}

TEST_F(SoapCapture, DownstreamExchangesRoundTrip) {
  const std::string root = "wsusss/exchanges/";
  DecodeFile<GetAuthConfigRequest>(root + "000001/request.body");
  RoundTrip<GetAuthConfigResponse>(root + "000001/response.body");
  EXPECT_EQ(DecodeFile<DssAuthorizationRequest>(root + "000002/request.body").account_name,
            "probe.lab.invalid");
  RoundTrip<DssAuthorizationResponse>(root + "000002/response.body");
  EXPECT_EQ(DecodeFile<DssGetCookieRequest>(root + "000003/request.body").protocol_version, "1.20");
  RoundTrip<DssGetCookieResponse>(root + "000003/response.body");
  EXPECT_TRUE(
      DecodeFile<GetConfigDataRequest>(root + "000004/request.body").config_anchor.has_value());
  RoundTrip<GetConfigDataResponse>(root + "000004/response.body");
  EXPECT_EQ(RoundTrip<GetConfigDataResponse>(root + "000005/response.body").languages.size(), 39u);
  for (const char* number : {"07", "08", "09", "10", "11", "12"}) {
    DecodeFile<GetRevisionIdListRequest>(root + "0000" + number + "/request.body");
    RoundTrip<GetRevisionIdListResponse>(root + "0000" + number + "/response.body");
  }
  DecodeFile<GetUpdateDataRequest>(root + "000014/request.body");
  const auto compressed = RoundTrip<GetUpdateDataResponse>(root + "000014/response.body");
  ASSERT_TRUE(compressed.updates.at(0).compressed_blob);
  EXPECT_EQ(compressed.updates[0].file_digests.size(), 1u);
  EXPECT_EQ(compressed.file_urls.at(0).file_digest, compressed.updates[0].file_digests[0]);
  const auto plain = RoundTrip<GetUpdateDataResponse>(root + "000015/response.body");
  const auto& text = std::get<PlainText>(plain.updates.at(0).blob.value()).text;
  EXPECT_TRUE(text.starts_with("<upd:Update "));
}

TEST_F(SoapCapture, FaultsRoundTrip) {
  for (const char* number : {"17", "18", "19"}) {
    const std::string name = std::string("wsusss/exchanges/0000") + number + "/response.body";
    auto message = SoapMessage::Parse(Read(name), SoapLimits::Answer());
    ASSERT_TRUE(message.has_value());
    const auto fault = DecodeFault(*message);
    ASSERT_TRUE(fault.has_value());
    EXPECT_EQ(EncodeFault(*fault, SoapStyle::kClassic, SoapVersion::k11), Read(name));
  }
}

}  // namespace
}  // namespace gapferry::protocol
