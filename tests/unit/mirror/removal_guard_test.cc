#include "mirror/removal_guard.h"

#include <gtest/gtest.h>

#include "mirror/catalog_load.h"
#include "mirror/job_lock.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::mirror {
namespace {

using protocol::UpdateId;

const Guid kBig = TestGuid(1, 1);
const Guid kPair = TestGuid(1, 2);
const Guid kLone = TestGuid(1, 3);

// 100 updates of one product, two of another, one of a third.
class RemovalGuardTest : public testing::Test {
 protected:
  RemovalGuardTest() {
    EXPECT_TRUE(Mirror::Init(dir_.path() / "m", TestConfig()).has_value());
    mirror_.emplace(std::move(*Mirror::Open(dir_.path() / "m")));
    const auto lock = JobLock::Acquire(mirror_->path(), "sync");
    auto load = CatalogLoad::Open(*mirror_, *lock, "sync");
    for (const Guid& product : {kBig, kPair, kLone}) {
      TestDocument document;
      document.id = {product, 1};
      document.type = "Category";
      document.category_type = "Product";
      document.title = "Product " + std::to_string(product.bytes[1]);
      EXPECT_TRUE(load->Add(document.Incoming()).has_value());
    }
    for (std::uint8_t n = 1; n <= 103; ++n) {
      TestDocument document;
      document.id = Id(n);
      document.prerequisites = {{n <= 100 ? kBig : n <= 102 ? kPair : kLone}};
      EXPECT_TRUE(load->Add(document.Incoming()).has_value());
    }
    EXPECT_TRUE(load->Prepare().has_value());
    auto commit = load->BeginCommit("sync");
    EXPECT_TRUE(commit->Finish().has_value());
  }
  static UpdateId Id(int n) { return {TestGuid(9, static_cast<std::uint8_t>(n)), 1}; }
  RemovalVerdict Judge(const Removals& removals, const std::set<Guid>& arriving = {}) {
    const auto verdict = JudgeRemovals(*mirror_, removals, arriving);
    EXPECT_TRUE(verdict.has_value()) << verdict.error().message;
    return *verdict;
  }

  TemporaryDirectory dir_;
  std::optional<Mirror> mirror_;
};

TEST_F(RemovalGuardTest, FollowsTheRule) {
  const struct {
    const char* name;
    Removals removals;
    std::uint64_t count;
    bool needs_consent;
  } kCases[] = {
      {"nothing", {}, 0, false},
      {"one withdrawn", {{Id(1)}, {}, {}}, 1, false},
      {"two of 103 are not more than two percent", {{Id(1)}, {Id(2).guid}, {}}, 2, false},
      {"three are, whatever takes them", {{Id(1)}, {Id(2).guid}, {Id(3).guid}}, 3, true},
      {"the same one three times", {{Id(1)}, {Id(1).guid}, {Id(1).guid}}, 1, false},
      {"those that are not here do not count",
       {{Id(1), Id(200)}, {Id(201).guid}, {Id(202).guid, kBig}},
       1,
       false},
      {"an older revision is no removal", {{{Id(1).guid, 0}}, {}, {}}, 0, false},
      {"a product's last two", {{Id(101)}, {Id(102).guid}, {}}, 2, true},
      {"one of a product's two", {{Id(101)}, {}, {}}, 1, false},
      {"the only one of a product is not listed", {{Id(103)}, {}, {}}, 1, true},
      {"the only one of a product has expired", {{}, {Id(103).guid}, {}}, 1, false},
      {"the only one of a product is declined", {{}, {}, {Id(103).guid}}, 1, false},
  };
  for (const auto& c : kCases) {
    const RemovalVerdict verdict = Judge(c.removals);
    EXPECT_EQ(verdict.removals, c.count) << c.name;
    EXPECT_EQ(verdict.needs_consent, c.needs_consent) << c.name;
    EXPECT_EQ(verdict.live, 103u);
  }
}

TEST_F(RemovalGuardTest, AProductThatGetsSomethingNewIsNotLeftEmpty) {
  EXPECT_TRUE(Judge({{Id(101), Id(102)}, {}, {}}).needs_consent);
  EXPECT_FALSE(Judge({{Id(101), Id(102)}, {}, {}}, {kPair}).needs_consent);
}

TEST_F(RemovalGuardTest, SaysWhatWouldGoAndWhatToType) {
  const Error error =
      RemovalsNeedConsent(Judge({{Id(101), Id(102)}, {}, {}}), "sync", "gapferry sync ...");
  EXPECT_EQ(error.reason, "removals-need-acceptance");
  EXPECT_EQ(error.next, "gapferry sync ...");
  EXPECT_EQ(error.message,
            "sync would take away 2 of 103 live updates: 2 withdrawn, 0 expired, 0 declined; 1 "
            "product(s) would be left without any, such as " +
                kPair.ToString() + " Product 2\n  " + Id(101).guid.ToString() + " An update\n  " +
                Id(102).guid.ToString() + " An update");
}

}  // namespace
}  // namespace gapferry::mirror
