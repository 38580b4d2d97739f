#include "mirror/ledger.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "mirror/exchange/update_traits.h"
#include "mirror/mirror.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::mirror {
namespace {

Guid Number(std::uint8_t number) {
  Guid guid;
  guid.bytes[15] = number;
  return guid;
}

PinnedFile File(std::uint8_t number) {
  const std::string text(1, static_cast<char>(number));
  return {Sha1(text), Sha256(text), 100, "exe"};
}

class LedgerTest : public testing::Test {
 protected:
  LedgerTest() : mirror_(MakeMirror()), ledger_(mirror_.db()) {
    site_ = Add("plant", 1);
    other_ = Add("ship", 2);
  }

  Mirror MakeMirror() {
    EXPECT_TRUE(Mirror::Init(dir_.path() / "m", TestConfig()).has_value());
    return std::move(*Mirror::Open(dir_.path() / "m"));
  }
  Site Add(const std::string& name, std::uint8_t number) {
    auto site = ledger_.AddSite(Number(number), name, AsBytes("card " + name), now_, "test");
    EXPECT_TRUE(site.has_value()) << site.error().message;
    return *site;
  }

  BundleOut Plan(const Guid& owner, Generation base, Generation target) {
    BundleOut bundle;
    bundle.site = owner;
    bundle.recipients = {site_.guid};
    bundle.full = base == 0;
    bundle.base.name.generation = base;
    bundle.target.name.generation = target;
    bundle.reserved_at = now_;
    return bundle;
  }
  BundleOut Send(Generation base, Generation target, const std::vector<PinnedFile>& pins) {
    return Send(Plan(site_.guid, base, target), pins);
  }
  BundleOut Send(BundleOut plan, std::vector<PinnedFile> pins) {
    std::ranges::sort(pins, {}, &PinnedFile::sha1);
    auto bundle = ledger_.Reserve(std::move(plan), pins, AsBytes("intent"));
    EXPECT_TRUE(bundle.has_value()) << bundle.error().message;
    now_.ticks += UtcTime::kTicksPerSecond;
    const Sha256Digest manifest = Sha256(std::to_string(bundle->sequence));
    EXPECT_TRUE(ledger_.MarkSigned(*bundle, manifest, "/to", 1, now_, {"test", "export", "", "{}"})
                    .has_value());
    return *bundle;
  }
  std::set<Sha1Digest> Implied(std::size_t behind) {
    const auto site = *ledger_.SiteByGuid(site_.guid);
    const auto implied = ledger_.Implied(*site, *ledger_.Sent(site_.guid), behind);
    EXPECT_TRUE(implied.has_value()) << implied.error().message;
    return *implied;
  }
  std::set<Sha1Digest> Files(const std::vector<std::uint8_t>& numbers) {
    std::set<Sha1Digest> out;
    for (const std::uint8_t number : numbers) out.insert(File(number).sha1);
    return out;
  }
  std::int64_t Count(const std::string& table) {
    return **mirror_.db().QueryInt("SELECT count(*) FROM " + table);
  }

  TemporaryDirectory dir_;
  UtcTime now_{1'000 * UtcTime::kTicksPerSecond};
  Mirror mirror_;
  Ledger ledger_;
  Site site_, other_;
};

TEST_F(LedgerTest, ReservationsThatWereKilledStandForNothing) {
  auto& db = mirror_.db();
  // As a killed Reserve leaves it: the row, some of the pins, part of the intent object.
  ASSERT_TRUE(ledger_.Reserve(Plan(site_.guid, 0, 5), {File(1), File(2)}, AsBytes("half")));
  ASSERT_TRUE(db.Run("UPDATE bundle_out SET state = 0").has_value());
  ASSERT_TRUE(db.Run("UPDATE site SET last_sequence = 0").has_value());
  EXPECT_FALSE(ledger_.Unfinished(site_.guid)->has_value());
  EXPECT_TRUE(ledger_.Bundles(site_.guid)->empty());
  EXPECT_FALSE(ledger_.FindBundle(site_.guid, 1)->has_value());
  EXPECT_TRUE(ledger_.IsPinned(File(1).sha1));  // nothing deletes what may just be reserved

  const auto again = ledger_.Reserve(Plan(site_.guid, 0, 6), {File(3)}, AsBytes("whole"));
  ASSERT_TRUE(again.has_value()) << again.error().message;
  EXPECT_EQ(again->sequence, 1U);
  EXPECT_EQ(ledger_.Pins(site_.guid, 1)->size(), 1U);
  EXPECT_EQ(Count("bundle_plan_part"), 1);
  EXPECT_EQ(Count("bundle_recipient"), 1);
  EXPECT_FALSE(ledger_.IsPinned(File(1).sha1));
  EXPECT_EQ((*ledger_.Unfinished(site_.guid))->target.name.generation, 6);
}

TEST_F(LedgerTest, LargeReservationsAreManyShortWrites) {
  std::vector<PinnedFile> pins;
  for (std::uint32_t i = 0; i < 20'000; ++i) {
    const std::string text = std::to_string(i);
    pins.push_back({Sha1(text), Sha256(text), i, "cab"});
  }
  const Bytes intent(3 << 20, 0x5a);
  const auto bundle = ledger_.Reserve(Plan(site_.guid, 0, 5), pins, intent);
  ASSERT_TRUE(bundle.has_value()) << bundle.error().message;
  EXPECT_EQ(ledger_.Pins(site_.guid, 1)->size(), pins.size());
  MemorySink copy(intent.size());
  ASSERT_TRUE(ledger_.CopyIntentObject(site_.guid, 1, copy).has_value());
  EXPECT_EQ(copy.Take(), intent);
}

TEST_F(LedgerTest, WhatEveryWayCarriesHasArrived) {
  // Each bundle starts at the target of the one before the last: one may be lost.
  Send(0, 10, {File(1)});
  Send(0, 20, {File(1), File(2)});
  Send(10, 30, {File(2), File(3)});
  Send(20, 40, {File(3), File(4)});
  EXPECT_EQ(Implied(0), Files({}));
  EXPECT_EQ(Implied(1), Files({1}));
  // 2 came with the second or the third bundle, whichever was lost.
  EXPECT_EQ(Implied(2), Files({1, 2}));
  EXPECT_EQ(Implied(3), Files({1, 2, 3}));
  // Nobody is beyond the last one yet, but for who has imported it.
  EXPECT_EQ(Implied(4), Files({1, 2, 3, 4}));
}

TEST_F(LedgerTest, WhatOneWayLeftOutMayBeMissing) {
  Send(0, 10, {File(1), File(2)});
  Send(0, 20, {File(1)});  // 2 had no room: who lost the first one has not got it
  Send(10, 30, {File(3)});
  EXPECT_EQ(Implied(3), Files({1, 3}));
  Send(20, 40, {File(2)});
  EXPECT_EQ(Implied(4), Files({1, 2}));  // 3 may have been jumped over
}

TEST_F(LedgerTest, ForgottenAndVoidBundlesDoNotCount) {
  Send(0, 10, {File(1)});
  const BundleOut second = Send(10, 20, {File(2)});
  ASSERT_TRUE(ledger_.Abandon(site_.guid, second.sequence, now_, "test").has_value());
  EXPECT_EQ(ledger_.Sent(site_.guid)->size(), 1U);
  EXPECT_EQ(Implied(1), Files({1}));
  ASSERT_TRUE(ledger_.ForgetContent(site_.guid, now_, "test").has_value());
  EXPECT_EQ(Implied(1), Files({}));
  EXPECT_TRUE(ledger_.Believed(site_.guid)->empty());
}

TEST_F(LedgerTest, GroupsHaveStreamsOfTheirOwn) {
  const auto taken = ledger_.AddToGroup("Plant", {other_}, now_, "test");
  ASSERT_FALSE(taken.has_value());
  EXPECT_EQ(taken.error().reason, "name-taken");
  const auto group = ledger_.AddToGroup("Fleet", {site_, other_}, now_, "test");
  ASSERT_TRUE(group.has_value()) << group.error().message;
  EXPECT_EQ(ledger_.StreamOwner("fleet")->value(), group->guid);
  const auto to = ledger_.FindDestination("FLEET");
  ASSERT_TRUE(to.has_value()) << to.error().message;
  EXPECT_EQ(to->recipients.size(), 2U);
  BundleOut plan = Plan(group->guid, 0, 10);
  plan.recipients = {site_.guid, other_.guid};
  Send(plan, {File(7)});
  EXPECT_EQ(ledger_.Sent(other_.guid)->front().owner, group->guid);
  EXPECT_EQ((*ledger_.FindGroup("fleet")).last_sequence, 1U);

  // Its numbers are kept when it goes and comes back.
  ASSERT_TRUE(ledger_.RemoveFromGroup(*group, {}, now_, "test").has_value());
  EXPECT_EQ(ledger_.FindDestination("fleet").error().reason, "site-unknown");
  ASSERT_TRUE(ledger_.AddToGroup("Fleet", {site_}, now_, "test").has_value());
  EXPECT_EQ(ledger_.FindGroup("fleet")->last_sequence, 1U);
}

TEST_F(LedgerTest, RecipientsAcknowledgeOneByOne) {
  const auto group = *ledger_.AddToGroup("Fleet", {site_, other_}, now_, "test");
  BundleOut plan = Plan(group.guid, 0, 10);
  plan.recipients = {site_.guid, other_.guid};
  const BundleOut bundle = Send(plan, {File(7)});
  const auto known = [&](const StateName& name) -> Result<std::optional<KnownState>> {
    return std::optional(KnownState{name, {}});
  };
  const auto receive = [&](const Site& from) {
    ReturnEffect effect;
    effect.site = from.guid;
    effect.number = 1;
    effect.sha256 = Sha256(from.name);
    effect.site_epoch = from.guid;
    effect.receipts = {{"fleet", bundle.sequence, Sha256("1"), bundle.target}};
    const auto applied = ledger_.ApplyReturn(effect, known, now_, "test");
    ASSERT_TRUE(applied.has_value()) << applied.error().message;
  };
  receive(site_);
  EXPECT_EQ(*ledger_.Believed(site_.guid), Files({7}));
  EXPECT_TRUE(ledger_.Believed(other_.guid)->empty());
  EXPECT_EQ((*ledger_.FindBundle(group.guid, 1))->state, BundleState::kSigned);
  const auto given_up = ledger_.Abandon(group.guid, 1, now_, "test");
  ASSERT_FALSE(given_up.has_value());  // one of them has it
  EXPECT_EQ(given_up.error().reason, "bundle-acknowledged");
  receive(other_);
  EXPECT_EQ(*ledger_.Believed(other_.guid), Files({7}));
  EXPECT_EQ((*ledger_.FindBundle(group.guid, 1))->state, BundleState::kAcknowledged);
}

TEST_F(LedgerTest, SettingsAreKeptAndChecked) {
  SiteSettings settings;
  settings.content = SiteContent::kApproved;
  settings.languages = {"de", "en"};
  settings.architectures = {"x64"};
  settings.groups = {Number(9)};
  settings.express = false;
  settings.max_bytes = 1'000'000;
  settings.no_returns = true;
  settings.overlap_bundles = 3;
  settings.overlap_days = 30;
  settings.encrypt = true;
  settings.parity = 5;
  ASSERT_TRUE(ledger_.SetSettings(site_.guid, settings, now_, "test").has_value());
  EXPECT_EQ((*ledger_.FindSite("plant")).settings, settings);
  EXPECT_EQ((*ledger_.FindSite("ship")).settings, SiteSettings{});
  for (const char* wrong : {"{}", "{\"content\":\"some\"}", "[]", "x"}) {
    EXPECT_FALSE(DecodeSiteSettings(wrong).has_value()) << wrong;
  }
}

TEST_F(LedgerTest, RequestsEndWithTheReturnThatIsApplied) {
  ASSERT_TRUE(ledger_.AskForResend({"plant", 0}, now_, "test").has_value());
  ReturnOut out;
  out.recipient = Number(3);
  out.number = 1;
  out.created_at = UtcTime{now_.ticks - 1};  // written before it was asked
  ASSERT_TRUE(ledger_.ReserveReturn(out).has_value());
  ASSERT_TRUE(ledger_.MarkReturnWritten(out, {"test", "return", "", "{}"}, now_).has_value());
  ASSERT_TRUE(ledger_.DropResends(out.recipient, 1).has_value());
  EXPECT_EQ(ledger_.ResendsWanted()->size(), 1U);
  out.number = 2;
  out.created_at = now_;
  ASSERT_TRUE(ledger_.ReserveReturn(out).has_value());
  ASSERT_TRUE(ledger_.MarkReturnWritten(out, {"test", "return", "", "{}"}, now_).has_value());
  ASSERT_TRUE(ledger_.DropResends(out.recipient, 2).has_value());
  EXPECT_TRUE(ledger_.ResendsWanted()->empty());
}

TEST(UpdateTraits, TitlesAndFileNamesTellArchitectures) {
  using exchange::ArchitecturesIn;
  using List = std::vector<std::string>;
  const std::vector<std::pair<std::string, List>> cases = {
      {"2026-10 Cumulative Update for Windows 11 for x64-based Systems (KB5000001)", {"x64"}},
      {"Update for ARM64-based Systems", {"arm64"}},
      {"Writer 2016 (KB300) 32-Bit Edition", {"x86"}},
      {"Writer 2016 (KB300) 64-Bit Edition", {"x64"}},
      {"windows10.0-kb5031356-x64_0a1b.cab", {"x64"}},
      {"setup-amd64.exe", {"x64"}},
      {"setup.x86.exe", {"x86"}},
      {"for x86 and x64", {"x64", "x86"}},
      {"Matrix64 driver", {}},
      {"x640 display", {}},
      {"", {}}};
  for (const auto& [text, wanted] : cases) EXPECT_EQ(ArchitecturesIn(text), wanted) << text;
}

}  // namespace
}  // namespace gapferry::mirror
