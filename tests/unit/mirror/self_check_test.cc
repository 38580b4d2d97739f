#include "mirror/self_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mirror/catalog.h"
#include "mirror/catalog_load.h"
#include "mirror/content_store.h"
#include "mirror/intent.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::mirror {
namespace {

class SelfCheckTest : public testing::Test {
 protected:
  SelfCheckTest() : mirror_(MakeMirror()) {
    const auto lock = JobLock::Acquire(mirror_.path(), "sync");
    auto load = CatalogLoad::Open(mirror_, *lock, "sync");
    TestDocument document;
    document.id = {TestGuid(2, 2), 1};
    EXPECT_TRUE(load->Add(document.Incoming()));
    EXPECT_TRUE(load->Prepare());
    EXPECT_TRUE(load->BeginCommit("sync")->Finish());
    EXPECT_TRUE(mirror_.intent().AddGroup("Servers", kAllComputers, "user:test"));
    ContentExpectation expected{Sha1("one"), Sha256("one"), 3, "exe"};
    const auto path = mirror_.content().StagedPath(expected).value();
    EXPECT_TRUE(WriteFileAtomically(path, AsBytes("one")));
    std::vector<VerifiedContent> batch;
    batch.push_back(std::move(*ContentStore::VerifyStaged(path, expected)));
    EXPECT_TRUE(mirror_.content().Publish(std::move(batch)));
  }
  Mirror MakeMirror() {
    EXPECT_TRUE(Mirror::Init(dir_.path() / "m", TestConfig()));
    return std::move(*Mirror::Open(dir_.path() / "m"));
  }
  std::string First(bool deep) {
    const auto found = CheckCatalog(mirror_, deep, NoProgress(), {});
    if (!found) return found.error().message;
    return found->empty() ? "" : (*found)[0].where;
  }

  TemporaryDirectory dir_;
  Mirror mirror_;
};

TEST_F(SelfCheckTest, ASoundMirrorHasNoFindings) {
  EXPECT_EQ(First(false), "");
  EXPECT_EQ(First(true), "");
}

struct DamageCase {
  const char* name;
  const char* sql;
  const char* where;
  bool deep;
};

void PrintTo(const DamageCase& damage, std::ostream* out) { *out << damage.name; }

class SelfCheckDamage : public SelfCheckTest, public testing::WithParamInterface<DamageCase> {};

TEST_P(SelfCheckDamage, IsFound) {
  const auto damaged = mirror_.db().ExecuteScript(GetParam().sql);
  ASSERT_TRUE(damaged.has_value()) << damaged.error().message;
  EXPECT_EQ(First(GetParam().deep), GetParam().where);
}

INSTANTIATE_TEST_SUITE_P(
    All, SelfCheckDamage,
    testing::Values(DamageCase{"chain",
                               "UPDATE generation_log SET change_digest = zeroblob(32) "
                               "WHERE generation = 1",
                               "history", false},
                    DamageCase{"published", "UPDATE mirror SET published = 1", "history", false},
                    DamageCase{"documents_root",
                               "UPDATE digest_bucket SET digest = zeroblob(32) "
                               "WHERE tree = 1",
                               "documents", false},
                    DamageCase{"revision", "UPDATE revision SET document_sha256 = zeroblob(32)",
                               "documents", true},
                    DamageCase{"text", "UPDATE document_part SET bytes = x'00'", "documents", true},
                    DamageCase{"group", "UPDATE target_group SET name = 'x'", "intent", true},
                    DamageCase{"counts", "UPDATE catalog_count SET revisions = 7", "counts", true},
                    DamageCase{"content", "UPDATE content SET size_bytes = 4", "content digest",
                               true}),
    [](const auto& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace gapferry::mirror
