#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <deque>

#include "base/file.h"
#include "manifests/passphrase.h"
#include "manifests/sign_file.h"
#include "manifests/trust_store.h"

namespace gapferry::manifests {
namespace {

using testing::HasSubstr;

/// A mirror or a person with keys of its own.
struct Someone {
  Someone(std::string name, std::vector<SignerRole> roles) {
    card.guid = Guid::Random();
    card.name = std::move(name);
    card.roles = std::move(roles);
    card.formats = {"gapferry-manifest/1"};
    card.encryption_key.bytes.fill(7);
    card.signing_key = key.public_key();
  }

  /// The next card under a fresh key, which takes the place of the old one; nobody has signed yet.
  TrustDocument NewKey(const std::string& why = "yearly") {
    TrustDocument document;
    document.holder = card.guid;
    document.number = card.number + 1;
    document.ended_key = key.public_key().Id();
    document.why = why;
    document.created = *UtcTime::ParseXml("2026-10-04T16:03:35Z");
    old.push_back(std::exchange(key, SigningKey::Generate()));
    card.number = document.number;
    card.signing_key = key.public_key();
    document.card = card;
    document.card_text = *EncodeCard(card, key);
    return document;
  }
  TrustDocument Revocation() const {
    TrustDocument document;
    document.act = TrustAct::kRevocation;
    document.holder = card.guid;
    document.number = card.number + 1;
    document.ended_key = key.public_key().Id();
    document.created = *UtcTime::ParseXml("2026-10-04T16:03:35Z");
    return document;
  }

  SigningKey key = SigningKey::Generate();
  std::deque<SigningKey> old;
  Card card;
};

TrustDocument Signed(TrustDocument document, std::initializer_list<const SigningKey*> keys) {
  for (const SigningKey* key : keys) EXPECT_TRUE(SignTrustDocument(document, *key).has_value());
  return document;
}

class TrustTest : public testing::Test {
 protected:
  TrustState State(unsigned release = 0) const {
    return StateOf({sender_.card, jane_.card, joe_.card, ann_.card}, {release});
  }
  static TrustOutcome Apply(TrustState& state, const TrustDocument& document) {
    // What travels is the text.
    const auto read = DecodeTrustDocument(AsBytes(EncodeTrustDocument(document)));
    EXPECT_TRUE(read.has_value()) << read.error().message;
    const auto outcome = ApplyTrustDocument(state, *read);
    EXPECT_TRUE(outcome.has_value()) << outcome.error().message;
    return outcome.value_or(TrustOutcome::kForeign);
  }

  Someone sender_{"Harbour", {SignerRole::kOrigin}};
  Someone jane_{"Jane", {SignerRole::kRelease}};
  Someone joe_{"Joe", {SignerRole::kRelease}};
  Someone ann_{"Ann", {SignerRole::kRelease}};
};

TEST_F(TrustTest, TheOldKeySignsForTheNewOne) {
  TrustState state = State();
  const TrustDocument document = sender_.NewKey();
  EXPECT_EQ(Apply(state, document), TrustOutcome::kUnproven);
  EXPECT_EQ(Apply(state, Signed(document, {&sender_.key})), TrustOutcome::kUnproven);
  EXPECT_EQ(Apply(state, Signed(document, {&sender_.old[0]})), TrustOutcome::kApplied);
  EXPECT_EQ(state.Find(sender_.card.guid)->card, sender_.card);
  EXPECT_EQ(state.Policy().ended.front().id, sender_.old[0].public_key().Id());
  EXPECT_EQ(Apply(state, Signed(document, {&sender_.old[0]})), TrustOutcome::kOld);
}

TEST_F(TrustTest, AHolderMovesByOneNumberTheReviewersMayJump) {
  TrustState state = State(2);
  TrustDocument first = sender_.NewKey();
  first = Signed(first, {&sender_.old[0]});
  TrustDocument far = sender_.NewKey("fast-forward");
  far.card.number = far.number = 999'999;
  sender_.card.number = far.number;
  far.card_text = *EncodeCard(far.card, sender_.key);
  EXPECT_EQ(Apply(state, Signed(far, {&sender_.old[1]})), TrustOutcome::kUnproven);
  far.ended_key = sender_.old[0].public_key().Id();
  EXPECT_EQ(Apply(state, Signed(far, {&sender_.old[0]})), TrustOutcome::kOutOfTurn);
  EXPECT_EQ(Apply(state, first), TrustOutcome::kApplied);
  EXPECT_EQ(Apply(state, Signed(far, {&jane_.key})), TrustOutcome::kUnproven);
  EXPECT_EQ(Apply(state, Signed(far, {&jane_.key, &joe_.key})), TrustOutcome::kApplied);
}

TEST_F(TrustTest, WithoutReviewersInThePolicyNobodyElseReplacesAKey) {
  TrustState state = State(0);
  const TrustDocument lost = sender_.NewKey("lost");
  EXPECT_EQ(Apply(state, Signed(lost, {&jane_.key, &joe_.key, &ann_.key})),
            TrustOutcome::kUnproven);
}

TEST_F(TrustTest, TheReviewersWinAgainstAThiefOfTheKey) {
  TrustState state = State(2);
  Someone thief{"Harbour", {SignerRole::kOrigin}};
  thief.card = sender_.card;
  TrustDocument stolen = thief.NewKey("mine now");
  stolen.ended_key = sender_.key.public_key().Id();
  EXPECT_EQ(Apply(state, Signed(stolen, {&sender_.key})), TrustOutcome::kApplied);
  sender_.card.number = 1;  // above what the thief could reach
  const TrustDocument cure = sender_.NewKey("stolen");
  EXPECT_EQ(Apply(state, Signed(cure, {&jane_.key, &ann_.key})), TrustOutcome::kApplied);
  EXPECT_EQ(state.Find(sender_.card.guid)->card, sender_.card);
  // Both keys that counted before are known as ended.
  for (const KeyId& id : {sender_.old[0].public_key().Id(), thief.key.public_key().Id()}) {
    const TrustPolicy policy = state.Policy();
    EXPECT_NE(std::ranges::find(policy.ended, id, &EndedKey::id), policy.ended.end());
  }
}

TEST_F(TrustTest, AReviewerDoesNotCountForHimself) {
  TrustState state = State(2);
  const TrustState before = state;
  const TrustDocument lost = jane_.NewKey("lost");
  EXPECT_EQ(Apply(state, Signed(lost, {&joe_.key, &jane_.key})), TrustOutcome::kUnproven);
  EXPECT_EQ(Apply(state, Signed(lost, {&joe_.key, &ann_.key})), TrustOutcome::kApplied);
  // Her new key counts for others, in whatever order the documents lie.
  TrustDocument sender_lost = sender_.NewKey("lost");
  sender_lost = Signed(sender_lost, {&jane_.key, &joe_.key});
  TrustState again = before;
  const auto applied =
      ApplyTrustDocuments(again, {sender_lost, Signed(lost, {&joe_.key, &ann_.key})});
  ASSERT_TRUE(applied.has_value());
  EXPECT_EQ(applied->size(), 2u);
}

TEST_F(TrustTest, ARevokedKeySpeaksNoMore) {
  TrustState state = State(1);
  EXPECT_EQ(Apply(state, Signed(sender_.Revocation(), {&sender_.key})), TrustOutcome::kApplied);
  EXPECT_TRUE(state.Find(sender_.card.guid)->is_revoked);
  sender_.card.number = 1;
  const TrustDocument back = sender_.NewKey();
  EXPECT_EQ(Apply(state, Signed(back, {&sender_.old[0]})), TrustOutcome::kUnproven);
  EXPECT_EQ(Apply(state, Signed(back, {&jane_.key})), TrustOutcome::kApplied);
  EXPECT_FALSE(state.Find(sender_.card.guid)->is_revoked);
}

TEST_F(TrustTest, ASignatureByAKnownKeyThatDoesNotMatchIsRefused) {
  TrustState state = State();
  TrustDocument document = sender_.NewKey();
  document = Signed(document, {&sender_.old[0]});
  document.why = "something else";
  const auto outcome = ApplyTrustDocument(state, document);
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error().reason, "trust-signature");
}

TEST_F(TrustTest, ReplayingNeedsNoKeysThatEndedSince) {
  TrustState state = State(1);
  TrustDocument by_jane = sender_.NewKey("lost");
  by_jane = Signed(by_jane, {&jane_.key});
  TrustDocument janes = jane_.NewKey();
  janes = Signed(janes, {&jane_.old[0]});
  EXPECT_EQ(Apply(state, by_jane), TrustOutcome::kApplied);
  EXPECT_EQ(Apply(state, janes), TrustOutcome::kApplied);
  TrustState later = StateOf({[&] {
                                Card card = sender_.card;
                                card.number = 0;
                                card.signing_key = sender_.old[0].public_key();
                                return card;
                              }(),
                              jane_.card},
                             {1});
  ReplayTrustDocument(later, by_jane);
  EXPECT_EQ(later.Find(sender_.card.guid)->card, sender_.card);
}

TEST_F(TrustTest, EveryFlippedByteOfADocumentIsRefusedOrProvesNothing) {
  const TrustDocument bare = sender_.NewKey();
  const std::string good = EncodeTrustDocument(Signed(bare, {&sender_.old[0]}));
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    TrustState state = StateOf({[&] {
      Card card = sender_.card;
      card.number = 0;
      card.signing_key = sender_.old[0].public_key();
      return card;
    }()});
    const auto document = DecodeTrustDocument(AsBytes(bad));
    if (!document) continue;
    const auto outcome = ApplyTrustDocument(state, *document);
    EXPECT_TRUE(!outcome || *outcome != TrustOutcome::kApplied) << at << " " << bad;
  }
  EXPECT_EQ(DecodeTrustDocuments(AsBytes(good + good.substr(0, 40))).error().reason,
            "trust-malformed");
}

TEST_F(TrustTest, MergingJoinsSignatures) {
  TrustState state = State(2);
  const TrustDocument bare = sender_.NewKey("lost");
  std::vector<TrustDocument> documents = {bare};
  MergeTrustDocument(documents, Signed(bare, {&jane_.key}));
  MergeTrustDocument(documents, Signed(bare, {&joe_.key}));
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents.front().signers.size(), 2u);
  EXPECT_EQ(Apply(state, documents.front()), TrustOutcome::kApplied);
}

TEST_F(TrustTest, RulesOfStreamsBeforeThoseOfSendersBeforeTheDefault) {
  TrustPolicy policy = State(1).Policy();
  const Guid sender = sender_.card.guid;
  policy.rules = {{sender, "", {2}, {}}, {sender, "ship-7", {3}, {}}};
  EXPECT_EQ(policy.RuleFor(Guid::Random(), "x").rule.release_persons, 1u);
  EXPECT_EQ(policy.RuleFor(sender, "x").rule.release_persons, 2u);
  EXPECT_EQ(policy.RuleFor(sender, "ship-7").rule.release_persons, 3u);
  SignatureReport report;
  report.origin.holder = sender;
  report.released = {{jane_.card.signing_key, SignerRole::kRelease, jane_.card.guid, "Jane"},
                     {joe_.card.signing_key, SignerRole::kRelease, joe_.card.guid, "Joe"}};
  EXPECT_TRUE(CheckRelease(report, policy, "x").has_value());
  EXPECT_EQ(CheckRelease(report, policy, "ship-7").error().reason, "signature-threshold");
  policy.rules[0].reviewers = {jane_.card.guid, ann_.card.guid};
  EXPECT_EQ(CheckRelease(report, policy, "x").error().reason, "signature-threshold")
      << "Joe is none of the two who count";
}

// ---- Files -------------------------------------------------------------------------------------

class TrustFiles : public TrustTest {
 protected:
  TrustFiles() : root_(fs::path(testing::TempDir()) / ("trust." + std::to_string(::getpid()))) {
    EXPECT_TRUE(RemoveTree(root_).has_value() && CreateDirectories(root_, 0700).has_value());
  }
  ~TrustFiles() override {
    (void)RemoveTree(root_);
    ::unsetenv(kPassphraseFileVariable);
  }
  void Passphrase(const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(root_ / "secret", AsBytes(text + "\n"), 0600).has_value());
    ::setenv(kPassphraseFileVariable, (root_ / "secret").c_str(), 1);
  }
  const fs::path root_;
};

TEST_F(TrustFiles, ThePolicyIsReadAsItWasWritten) {
  LocalPolicy policy;
  policy.rule.release_persons = 2;
  policy.rules = {{sender_.card.guid, "plant", {1}, {jane_.card.guid}}};
  policy.roles[jane_.card.guid] = {SignerRole::kRelease};
  policy.ended = {{joe_.card.signing_key.Id(), joe_.card.guid, "Joe", "revoked: left"}};
  ASSERT_TRUE(WriteLocalPolicy(root_, policy).has_value());
  const auto read = ReadLocalPolicy(root_);
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(*read, policy);
  for (const Someone* one : {&sender_, &joe_}) {
    ASSERT_TRUE(AddTrustedCard(root_, AsBytes(*EncodeCard(one->card, one->key))).has_value());
  }
  const auto state = ReadTrustState(root_, {});
  ASSERT_TRUE(state.has_value()) << state.error().message;
  EXPECT_TRUE(state->Find(joe_.card.guid)->is_revoked);
  EXPECT_FALSE(state->Find(sender_.card.guid)->is_revoked);
  ASSERT_TRUE(WriteFileAtomically(root_ / "policy.json", AsBytes("{}\n")).has_value());
  EXPECT_EQ(ReadTrustState(root_, {}).error().reason, "policy-malformed") << "nothing is guessed";
}

TEST_F(TrustFiles, AKeyUnderAPassphraseOpensWithThisOneOnly) {
  const SigningKey key = SigningKey::Generate();
  const EncryptionKey box = EncryptionKey::Generate();
  ASSERT_TRUE(key.Save(root_ / "s.pem", "correct horse").has_value());
  ASSERT_TRUE(box.Save(root_ / "e.pem", "correct horse").has_value());
  EXPECT_TRUE(*IsProtectedKey(root_ / "s.pem"));
  // The public halves are there without it.
  EXPECT_EQ(*LoadSigningPublicKey(root_ / "s.pem"), key.public_key());
  EXPECT_EQ(*LoadEncryptionPublicKey(root_ / "e.pem"), box.public_key());
  Passphrase("battery staple");
  const auto wrong = SigningKey::Load(root_ / "s.pem");
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().reason, "passphrase-wrong");
  EXPECT_EQ(wrong.error().message.find("battery"), std::string::npos);
  Passphrase("correct horse");
  EXPECT_EQ(SigningKey::Load(root_ / "s.pem")->public_key(), key.public_key());
  const EncryptionKey other = EncryptionKey::Generate();
  EXPECT_EQ(*EncryptionKey::Load(root_ / "e.pem")->Agree(other.public_key()),
            *other.Agree(box.public_key()));
  ASSERT_TRUE(ChangePassphrase(root_ / "s.pem", "").has_value());
  ::unsetenv(kPassphraseFileVariable);
  EXPECT_EQ(SigningKey::Load(root_ / "s.pem")->public_key(), key.public_key());
}

TEST_F(TrustFiles, APublicKeyOfSmallOrderGivesNoSecret) {
  EncryptionPublicKey zero;
  EXPECT_EQ(EncryptionKey::Generate().Agree(zero).error().reason, "key-malformed");
}

TEST_F(TrustFiles, ASignatureIsAddedInOrderAndOncePerKey) {
  const std::string text = "document";
  const fs::path sig = root_ / "d.sig", elsewhere = root_ / "e.sig";
  const auto first = *SignDocument(AsBytes(text), sender_.key, SignerRole::kOrigin);
  ASSERT_TRUE(WriteFileAtomically(sig, AsBytes(EncodeSignatures({first}))).has_value());
  const auto add = [&](const fs::path& to, const SigningKey& key, SignerRole role) {
    return AddSignature(AsBytes(text), sig, to, key, role);
  };
  ASSERT_TRUE(add(elsewhere, jane_.key, SignerRole::kRelease).has_value());
  EXPECT_EQ(DecodeSignatures(*ReadTextFile(sig, 1000))->size(), 1u) << "only --to was written";
  ASSERT_TRUE(add(sig, jane_.key, SignerRole::kRelease).has_value());
  ASSERT_TRUE(add(sig, jane_.key, SignerRole::kRelease).has_value());
  EXPECT_EQ(DecodeSignatures(*ReadTextFile(sig, 1000))->size(), 2u);
  EXPECT_EQ(add(sig, sender_.key, SignerRole::kRelease).error().reason, "signature-other-role");
}

}  // namespace
}  // namespace gapferry::manifests
