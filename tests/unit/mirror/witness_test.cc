#include "mirror/witness.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/text.h"
#include "mirror/evidence_log.h"
#include "mirror/mirror.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::mirror {
namespace {

using testing::HasSubstr;

const Guid kPartner = *Guid::Parse("22222222-2222-4222-8222-222222222222");

/// A mirror with a few records in its log.
class WitnessTest : public testing::Test {
 protected:
  WitnessTest() : mirror_(Make("plant")) {
    for (int i = 0; i < 12; ++i) Act("act " + std::to_string(i));
  }

  Mirror Make(const std::string& name) {
    EXPECT_TRUE(Mirror::Init(directory_.path() / name, TestConfig()));
    return std::move(*Mirror::Open(directory_.path() / name));
  }

  void Act(const std::string& object) {
    ASSERT_TRUE(AppendAuditAlone(mirror_.db(), now_, {"user:jane", "update.approve", object}));
    now_ = now_ + std::chrono::seconds(7);
  }

  Guid own() const { return mirror_.identity().guid; }

  /// The head after `records` records, as the partner saw it in its bundle or return `number`.
  WitnessedHead Head(std::int64_t records, std::uint64_t number = 1) {
    const auto record = ReadAuditFrom(mirror_.db(), records, 1);
    WitnessedHead head;
    head.log = own();
    head.witness = kPartner;
    head.head = {records, record->at(0).hash};
    head.kind = "return";
    head.number = number;
    head.document = Sha256("return " + std::to_string(number));
    head.created = now_;
    head.seen_at = now_;
    return head;
  }

  std::string Exported() {
    MemorySink out(1 << 20);
    EXPECT_TRUE(WriteLog(mirror_.db(), {own(), "plant", now_, {}}, out));
    return std::string(AsText(out.bytes()));
  }
  std::int64_t records() { return ReadAuditHead(mirror_.db())->id; }

  static Result<LogCheck> Check(const std::string& text, const std::vector<WitnessedHead>& heads) {
    MemorySource in(AsBytes(text));
    return CheckLog(in, heads);
  }
  static std::string ReasonOf(const std::string& text, const std::vector<WitnessedHead>& heads) {
    const auto check = Check(text, heads);
    return check ? "" : check.error().reason;
  }

  static std::vector<std::string> Lines(const std::string& text) {
    std::vector<std::string> lines;
    for (const auto line : Split(text, '\n')) {
      if (!line.empty()) lines.emplace_back(line);
    }
    return lines;
  }
  static std::string Joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const auto& line : lines) text += line + "\n";
    return text;
  }
  /// The log of a forger who has the program: cut to `keep` records, then `more` others of his own,
  /// all hashes computed afresh.
  std::string Rewritten(std::int64_t keep, int more) {
    Mirror forged = Make("forged-" + std::to_string(++forged_));
    EXPECT_TRUE(forged.db().Run("DELETE FROM audit"));
    const auto kept = ReadAuditFrom(mirror_.db(), 1, static_cast<int>(keep));
    for (const auto& record : *kept) {
      EXPECT_TRUE(AppendAuditAlone(forged.db(), record.at, record.entry));
    }
    for (int i = 0; i < more; ++i) {
      EXPECT_TRUE(AppendAuditAlone(forged.db(), now_, {"user:mallory", "forged", "x"}));
    }
    MemorySink out(1 << 20);
    EXPECT_TRUE(WriteLog(forged.db(), {own(), "plant", now_, {}}, out));
    return std::string(AsText(out.bytes()));
  }

  TemporaryDirectory directory_;
  Mirror mirror_;
  int forged_ = 0;
  UtcTime now_ = UtcTime::FromUnixSeconds(1'790'000'000);
};

TEST_F(WitnessTest, AWholeLogIsIntactUpToTheLastHeadThatWasSeen) {
  const auto check = Check(Exported(), {Head(3, 1), Head(9, 2)});
  ASSERT_TRUE(check) << check.error().message;
  EXPECT_EQ(check->heads, 2u);
  EXPECT_EQ(check->header.head.id, records());
  ASSERT_TRUE(check->last);
  EXPECT_EQ(check->last->head.id, 9);
  EXPECT_EQ(check->last->Source(), "return 2");
}

TEST_F(WitnessTest, HeadsOfOtherLogsSayNothing) {
  WitnessedHead foreign = Head(9);
  foreign.log = kPartner;
  foreign.head.hash = Sha256("another log");
  const auto check = Check(Exported(), {foreign});
  ASSERT_TRUE(check);
  EXPECT_EQ(check->heads, 0u);
  EXPECT_FALSE(check->last);
}

TEST_F(WitnessTest, ACutFileIsSeen) {
  const std::string text = Exported();
  auto lines = Lines(text);
  lines.pop_back();
  EXPECT_EQ(ReasonOf(Joined(lines), {}), "log-truncated");
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(Check(text.substr(0, size), {})) << size;
  }
}

TEST_F(WitnessTest, ATailThatWasCutOffCleanlyIsSeenByTheHeadOfThePartner) {
  const WitnessedHead seen = Head(10);
  const std::string cut = Rewritten(6, 0);
  EXPECT_TRUE(Check(cut, {})) << "in itself it is whole";
  const auto check = Check(cut, {Head(4), seen});
  ASSERT_FALSE(check);
  EXPECT_EQ(check.error().reason, "log-truncated");
  EXPECT_EQ(check.error().code, ErrorCode::kUntrusted);
  EXPECT_THAT(check.error().message, HasSubstr("ends at record 6, but in return 1"));
  EXPECT_THAT(check.error().message, HasSubstr("it had 10 records"));
  EXPECT_THAT(check.error().message, HasSubstr("the records up to 4 are as they were witnessed"));
}

TEST_F(WitnessTest, AnAlteredRecordIsNamed) {
  auto lines = Lines(Exported());
  const auto at = lines[5].find("act ");
  lines[5].replace(at, 4, "ACT ");
  const auto check = Check(Joined(lines), {Head(3)});
  ASSERT_FALSE(check);
  EXPECT_EQ(check.error().reason, "log-record-altered");
  EXPECT_THAT(check.error().message, HasSubstr("record 5 does not follow"));
  EXPECT_THAT(check.error().message, HasSubstr("up to 3 are as they were witnessed"));
}

TEST_F(WitnessTest, ARemovedRecordIsNamed) {
  auto lines = Lines(Exported());
  lines.erase(lines.begin() + 5);
  const auto check = Check(Joined(lines), {});
  ASSERT_FALSE(check);
  EXPECT_EQ(check.error().reason, "log-record-removed");
  EXPECT_THAT(check.error().message, HasSubstr("record 6 follows record 4: record 5 were removed"));
}

TEST_F(WitnessTest, AnotherOrderIsSeen) {
  auto lines = Lines(Exported());
  std::swap(lines[5], lines[6]);
  EXPECT_EQ(ReasonOf(Joined(lines), {}), "log-reordered");
  lines = Lines(Exported());
  lines.insert(lines.begin() + 6, lines[5]);
  EXPECT_EQ(ReasonOf(Joined(lines), {}), "log-reordered") << "one occurs twice";
}

TEST_F(WitnessTest, AChainThatWasComputedAfreshIsSeenByTheHeadOfThePartner) {
  const std::string forged = Rewritten(6, 8);
  EXPECT_TRUE(Check(forged, {})) << "in itself it is whole";
  EXPECT_TRUE(Check(forged, {Head(6)})) << "what was seen is still there";
  const auto check = Check(forged, {Head(5, 1), Head(8, 2)});
  ASSERT_FALSE(check);
  EXPECT_EQ(check.error().reason, "log-rewritten");
  EXPECT_THAT(check.error().message, HasSubstr("record 8 has the hash"));
  EXPECT_THAT(check.error().message, HasSubstr("it was rewritten after record 5"));
  EXPECT_EQ(ReasonOf(Rewritten(0, 12), {Head(2)}), "log-rewritten");
}

TEST_F(WitnessTest, AfterTheRestorationOfABackupLaterHeadsFitAgain) {
  WitnessedHead lost = Head(8, 2);
  lost.head.hash = Sha256("what was done before the disk died");
  const auto check = Check(Exported(), {Head(5, 1), lost, Head(10, 3)});
  ASSERT_FALSE(check);
  EXPECT_EQ(check.error().reason, "log-rewritten");
  EXPECT_THAT(check.error().message, HasSubstr("rewritten after record 5"));
  EXPECT_THAT(check.error().message, HasSubstr("record 10 is as it was seen in return 3"));
}

TEST_F(WitnessTest, EveryFlippedByteIsSeen) {
  const std::string text = Exported();
  const auto head = Head(records());
  for (std::size_t at = text.find('\n') + 1; at < text.size(); at += 3) {
    std::string damaged = text;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    EXPECT_FALSE(Check(damaged, {head})) << at << ": " << damaged[at];
  }
}

TEST_F(WitnessTest, AHeadIsKeptOnceAndToldBack) {
  auto& db = mirror_.db();
  ASSERT_TRUE(RecordWitness(db, Head(3, 1)));
  ASSERT_TRUE(RecordWitness(db, Head(3, 1)));
  ASSERT_TRUE(RecordWitness(db, Head(7, 2)));
  WitnessedHead empty = Head(3, 3);
  empty.head = {};
  ASSERT_TRUE(RecordWitness(db, empty));
  const auto heads = WitnessedHeads(db, own());
  ASSERT_TRUE(heads);
  EXPECT_EQ(*heads, (std::vector{Head(3, 1), Head(7, 2)}));
  EXPECT_EQ(LastWitnessed(db, own(), kPartner)->id, 7);
  EXPECT_EQ(LastWitnessed(db, kPartner, own())->id, 0);
}

TEST_F(WitnessTest, HeadsThatCannotBeOfOneLogAreTold) {
  EXPECT_EQ(Contradiction({Head(3, 1), Head(7, 2)}), "");
  WitnessedHead other = Head(7, 3);
  other.head.hash = Sha256("x");
  EXPECT_THAT(Contradiction({Head(3, 1), Head(7, 2), other}), HasSubstr("record 7 had the hash"));
  EXPECT_THAT(Contradiction({Head(3, 9), Head(7, 2)}),
              HasSubstr("had 7 records in return 2, and 3 in the later return 9"));
}

TEST_F(WitnessTest, OurOwnLogIsComparedWithWhatPartnersSaw) {
  auto& db = mirror_.db();
  EXPECT_FALSE(CheckOwnChain(db, own())->has_value());
  ASSERT_TRUE(RecordWitness(db, Head(7, 2)));
  EXPECT_EQ(CheckOwnChain(db, own())->value().head.id, 7);
  WitnessedHead beyond = Head(7, 3);
  beyond.head.id = 1000;
  ASSERT_TRUE(RecordWitness(db, beyond));
  const auto cut = CheckOwnChain(db, own());
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().reason, "audit-contradicted");
  EXPECT_THAT(cut.error().message, HasSubstr("saw record 1000"));
  ASSERT_TRUE(db.Run("DELETE FROM audit_witness"));
  WitnessedHead other = Head(5, 4);
  other.head.hash = Sha256("x");
  ASSERT_TRUE(RecordWitness(db, other));
  EXPECT_THAT(CheckOwnChain(db, own()).error().message, HasSubstr("record 5 of this mirror's log"));
}

TEST_F(WitnessTest, TextsThatAreNoUtf8AreKeptEscaped) {
  Act("bad \xff name");
  const auto check = Check(Exported(), {Head(records())});
  ASSERT_TRUE(check) << check.error().message;
  EXPECT_TRUE(VerifyAudit(mirror_.db()));
}

}  // namespace
}  // namespace gapferry::mirror
