#include "mirror/mirror.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "mirror/audit.h"
#include "mirror/catalog.h"
#include "mirror/intent.h"
#include "mirror/job_history.h"
#include "mirror/job_lock.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::mirror {
namespace {

class MirrorTest : public testing::Test {
 protected:
  std::filesystem::path Path() const { return dir_.path() / "m"; }
  Mirror Make() {
    const auto done = Mirror::Init(Path(), TestConfig());
    EXPECT_TRUE(done.has_value()) << done.error().message;
    return std::move(*Mirror::Open(Path()));
  }
  TemporaryDirectory dir_;
};

TEST_F(MirrorTest, InitMakesAWholeMirror) {
  Mirror mirror = Make();
  EXPECT_EQ(mirror.identity().name, "test");
  EXPECT_FALSE(mirror.identity().guid.IsZero());
  EXPECT_EQ(mirror.catalog().Published()->name.generation, 0);
  EXPECT_EQ(mirror.catalog().Published()->name.epoch, mirror.identity().epoch);
  EXPECT_TRUE(ReadCookieKey(Path()).has_value());
  struct stat status {};
  ASSERT_EQ(::stat((Path() / "keys").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700U);
  for (const auto& key : {mirror.keys().signing, mirror.keys().encryption, mirror.keys().cookie}) {
    ASSERT_EQ(::stat(key.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U) << key;
  }
  EXPECT_FALSE(std::filesystem::exists(Path() / "init.unfinished"));
}

TEST_F(MirrorTest, GuidStaysAndDiffersBetweenMirrors) {
  const Guid guid = Make().identity().guid;
  EXPECT_EQ(Mirror::Open(Path())->identity().guid, guid);
  ASSERT_TRUE(Mirror::Init(dir_.path() / "n", TestConfig()));
  EXPECT_NE(Mirror::Open(dir_.path() / "n")->identity().guid, guid);
}

TEST_F(MirrorTest, InitRefusesWhatIsNotEmptyAndTouchesNothing) {
  ASSERT_TRUE(CreateDirectories(Path()));
  ASSERT_TRUE(WriteFileAtomically(Path() / "letter.txt", AsBytes("dear")));
  EXPECT_EQ(Mirror::Init(Path(), TestConfig()).error().reason, "not-empty");
  EXPECT_THAT(ListDirectory(Path()).value(), testing::ElementsAre("letter.txt"));
}

TEST_F(MirrorTest, InitRefusesAMirror) {
  const Guid guid = Make().identity().guid;
  EXPECT_EQ(Mirror::Init(Path(), TestConfig()).error().reason, "mirror-exists");
  EXPECT_EQ(Mirror::Open(Path())->identity().guid, guid);
}

TEST_F(MirrorTest, AnInterruptedInitIsDoneAgain) {
  Make();
  // As a kill before the last steps leaves it.
  ASSERT_TRUE(RemoveFile(Path() / "gapferry.yaml"));
  ASSERT_TRUE(WriteFileAtomically(Path() / "init.unfinished", {}));
  EXPECT_EQ(Mirror::Open(Path()).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(Mirror::Init(Path(), TestConfig()));
  EXPECT_TRUE(Mirror::Open(Path()).has_value());
}

TEST_F(MirrorTest, NewerSchemaIsRefused) {
  Make();
  {
    auto db = Database::Open(Path() / "catalog.db", {});
    ASSERT_TRUE(db->ExecuteScript("PRAGMA user_version=999"));
  }
  const auto refused = Mirror::Open(Path());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(refused.error().reason, "newer-schema");
}

TEST_F(MirrorTest, CookieKeyMustBePrivateAndWhole) {
  Mirror mirror = Make();
  std::filesystem::permissions(mirror.keys().cookie, std::filesystem::perms::others_read,
                               std::filesystem::perm_options::add);
  EXPECT_EQ(ReadCookieKey(Path()).error().code, ErrorCode::kUntrusted);
  ASSERT_TRUE(WriteFileAtomically(mirror.keys().cookie, AsBytes("short"), 0600));
  EXPECT_EQ(ReadCookieKey(Path()).error().code, ErrorCode::kCorrupt);
}

TEST_F(MirrorTest, JobLockIsExclusiveAndNamesTheHolder) {
  Make();
  const auto first = JobLock::Acquire(Path(), "sync");
  ASSERT_TRUE(first.has_value());
  const auto second = JobLock::Acquire(Path(), "import");
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kBusy);
  EXPECT_EQ(second.error().reason, "job-running");
  EXPECT_THAT(second.error().message, testing::HasSubstr("sync"));
}

TEST_F(MirrorTest, JobHistoryMarksWhatWasInterrupted) {
  Mirror mirror = Make();
  const auto first = mirror.jobs().Start("sync").value();
  const auto second = mirror.jobs().Start("sync").value();
  ASSERT_TRUE(mirror.jobs().End(second, JobResult::kDone, 7, "{}"));
  const auto recent = mirror.jobs().Recent(10).value();
  ASSERT_EQ(recent.size(), 2U);
  EXPECT_EQ(recent[0].id, second);
  EXPECT_EQ(recent[0].generation, 7);
  EXPECT_EQ(recent[1].id, first);
  EXPECT_EQ(recent[1].result, JobResult::kInterrupted);
  EXPECT_EQ(mirror.jobs().LastGood("sync").value()->id, second);
  EXPECT_FALSE(mirror.jobs().Last("import").value().has_value());
}

TEST_F(MirrorTest, AuditChainFindsAnyChange) {
  Mirror mirror = Make();
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(AppendAuditAlone(mirror.db(), SystemClock().Now(),
                                 {"user:a", "update.approve", std::to_string(i)}));
  }
  const auto head = VerifyAudit(mirror.db());
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->id, 5);
  EXPECT_EQ(head->hash, ReadAuditHead(mirror.db())->hash);
  EXPECT_EQ(ReadAudit(mirror.db(), 4, 2).value()[0].id, 3);
  ASSERT_TRUE(mirror.db().Run("UPDATE audit SET object = 'x' WHERE id = 3"));
  const auto broken = VerifyAudit(mirror.db());
  ASSERT_FALSE(broken.has_value());
  EXPECT_THAT(broken.error().message, testing::StartsWith("audit record 3: hash mismatch"));
  ASSERT_TRUE(mirror.db().Run("DELETE FROM audit WHERE id = 3"));
  EXPECT_EQ(VerifyAudit(mirror.db()).error().message, "audit record 4: expected number 3");
}

TEST_F(MirrorTest, PartsStayUsableWhenTheHandleMoves) {
  Mirror mirror = Make();
  Mirror moved = std::move(mirror);
  EXPECT_EQ(moved.intent().Groups()->size(), 2U);
}

}  // namespace
}  // namespace gapferry::mirror
