#include "manifests/evidence_document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "manifests/card.h"
#include "manifests/document.h"

namespace gapferry::manifests {
namespace {

std::string Signed(const SigningKey& key) {
  const auto text = SignEvidence(
      {{"bundle", JsonValue::Object{{"name", "gapferry-plant-000007"}}}, {"side", "sender"}}, key);
  EXPECT_TRUE(text);
  return *text;
}

TEST(EvidenceDocument, IsReadAsItWasSigned) {
  const auto key = SigningKey::Generate();
  const auto read = ReadEvidence(AsBytes(Signed(key)));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->key, key.public_key());
  EXPECT_EQ(*read->members.at("side").AsString(), "sender");
  EXPECT_FALSE(read->members.contains("signature"));
}

TEST(EvidenceDocument, EveryFlippedByteAndEachTruncationIsSeen) {
  const auto key = SigningKey::Generate();
  const std::string good = Signed(key);
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    const auto read = ReadEvidence(AsBytes(bad));
    // A changed key needs a changed key id and a new signature: then it is somebody else's
    // evidence.
    EXPECT_FALSE(read) << at;
    EXPECT_FALSE(ReadEvidence(AsBytes(good.substr(0, at)))) << at;
  }
}

TEST(EvidenceDocument, NoOtherSignedDocumentPassesForIt) {
  const auto key = SigningKey::Generate();
  Card card;
  card.guid = *Guid::Parse("22222222-2222-4222-8222-222222222222");
  card.name = "plant";
  card.roles = {SignerRole::kOrigin};
  card.signing_key = key.public_key();
  const auto text = EncodeCard(card, key);
  ASSERT_TRUE(text);
  const auto read = ReadEvidence(AsBytes(*text));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().reason, "document-type");
  EXPECT_FALSE(DecodeCard(AsBytes(Signed(key))));
}

TEST(EvidenceDocument, SomebodyElsesKeyGivesSomebodyElsesEvidence) {
  const auto key = SigningKey::Generate();
  const auto other = SigningKey::Generate();
  auto members = ReadEvidence(AsBytes(Signed(key)))->members;
  const auto resigned = SignEvidence(members, other);
  const auto read = ReadEvidence(AsBytes(*resigned));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->key, other.public_key());
}

}  // namespace
}  // namespace gapferry::manifests
