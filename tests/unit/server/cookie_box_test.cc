#include "server/cookie_box.h"

#include <gtest/gtest.h>

namespace gapferry::server {
namespace {

mirror::CookieKey KeyOf(std::uint8_t byte) {
  mirror::CookieKey key;
  key.fill(byte);
  return key;
}

const UtcTime kNow = UtcTime::FromUnixSeconds(1'790'000'000);

ClientCookie SampleClient() {
  ClientCookie cookie;
  cookie.client_id = "e1da06a3-5601-43c9-bac3-52d5db701494";
  cookie.dns_name = "pc.example";
  cookie.target_group = "Pilot";
  cookie.state = {*Guid::Parse("11111111-1111-1111-1111-111111111111"), 17,
                  Sha256(std::string_view("chain"))};
  cookie.protocol_version = PackProtocolVersion("2.90");
  cookie.issued = kNow;
  cookie.expires = kNow + std::chrono::hours(1);
  cookie.config_last_change = kNow - std::chrono::hours(5);
  cookie.anchor = ScanAnchor{16, 9, 0xFEDCBA9876543210ULL, kNow};
  cookie.category_anchor = ScanAnchor{17, 9, 1, kNow};
  return cookie;
}

TEST(CookieBox, GivesBackWhatItSealed) {
  const CookieBox box(KeyOf(1));
  ClientCookie cookie = SampleClient();
  const auto sealed = box.Seal(CookiePurpose::kClient, EncodeCookie(cookie), kNow);
  ASSERT_TRUE(sealed.has_value());
  const auto plain = box.Open(CookiePurpose::kClient, *sealed);
  ASSERT_TRUE(plain.has_value());
  const auto decoded = DecodeClientCookie(*plain);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(*decoded, cookie);

  cookie.anchor.reset();
  EXPECT_EQ(*DecodeClientCookie(EncodeCookie(cookie)), cookie);

  const ServerCookie server{Guid::Random(), "dss", Guid::Random(), Guid::Random(), 0x10014, kNow};
  EXPECT_EQ(*DecodeServerCookie(EncodeCookie(server)), server);
}

TEST(CookieBox, AnotherProcessWithTheSameKeyOpensIt) {
  const auto sealed = CookieBox(KeyOf(1)).Seal(CookiePurpose::kServer, AsBytes("x"), kNow);
  EXPECT_TRUE(CookieBox(KeyOf(1)).Open(CookiePurpose::kServer, *sealed).has_value());
}

TEST(CookieBox, RefusesOtherPurposesAndKeys) {
  const CookieBox box(KeyOf(1));
  const auto sealed = box.Seal(CookiePurpose::kClientAuthorization, AsBytes("who"), kNow);
  for (const CookiePurpose purpose :
       {CookiePurpose::kClient, CookiePurpose::kServerAuthorization, CookiePurpose::kServer}) {
    EXPECT_EQ(box.Open(purpose, *sealed).error().code, ErrorCode::kUntrusted);
  }
  EXPECT_FALSE(CookieBox(KeyOf(2)).Open(CookiePurpose::kClientAuthorization, *sealed).has_value());
}

TEST(CookieBox, RefusesEveryFlippedBitAndEveryPrefix) {
  const CookieBox box(KeyOf(1));
  const Bytes sealed = *box.Seal(CookiePurpose::kClient, EncodeCookie(SampleClient()), kNow);
  for (std::size_t at = 0; at < sealed.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes forged = sealed;
      forged[at] = static_cast<std::uint8_t>(forged[at] ^ (1U << bit));
      ASSERT_FALSE(box.Open(CookiePurpose::kClient, forged).has_value()) << at << "." << bit;
    }
  }
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    ASSERT_FALSE(box.Open(CookiePurpose::kClient, ByteView(sealed).first(size)).has_value());
  }
  Bytes longer = sealed;
  longer.push_back(0);
  EXPECT_FALSE(box.Open(CookiePurpose::kClient, longer).has_value());
}

TEST(CookieBox, EqualTextsLookDifferent) {
  const CookieBox box(KeyOf(1));
  EXPECT_NE(*box.Seal(CookiePurpose::kClient, AsBytes("same"), kNow),
            *box.Seal(CookiePurpose::kClient, AsBytes("same"), kNow));
}

TEST(ClientCookie, RefusesCutAndLongTexts) {
  const Bytes whole = EncodeCookie(SampleClient());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(DecodeClientCookie(ByteView(whole).first(size)).has_value());
  }
  Bytes longer = whole;
  longer.push_back(0);
  EXPECT_EQ(DecodeClientCookie(longer).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace gapferry::server
