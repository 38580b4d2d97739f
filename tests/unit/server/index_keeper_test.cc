#include "server/index_keeper.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include "mirror/catalog.h"
#include "mirror/intent.h"
#include "tests/support/catalogue/catalogue.h"
#include "tests/support/catalogue/fill.h"

namespace gapferry::server {
namespace {

namespace fs = std::filesystem;
using mirror::Mirror;

/// Everything that answers are made from, with names instead of positions: an index that was
/// extended and one that was read anew must look the same.
class Description {
 public:
  explicit Description(const ScanIndex& index) : index_(index), catalog_(index.catalog()) {
    for (RevisionOrdinal r = 0; r < catalog_.revisions().size(); ++r) Revision(r);
    for (const RevisionOrdinal r : catalog_.categories()) text_ << "category " << Id(r) << '\n';
    for (const RevisionOrdinal r : catalog_.NewerThan(1)) text_ << "newer " << Id(r) << '\n';
    for (const DriverFacts& driver : catalog_.drivers()) {
      text_ << "driver " << Id(driver.revision) << ' ' << driver.hardware_id << ' '
            << catalog_.DriversFor(driver.hardware_id).size() << '\n';
    }
    Intent();
    Scopes();
  }
  std::string text() const { return text_.str(); }

 private:
  mirror::RevisionId Id(RevisionOrdinal r) const { return catalog_.revisions()[r].id; }
  std::string NameOf(UpdateOrdinal u) const { return catalog_.updates()[u].guid.ToString(); }

  void Revision(RevisionOrdinal r) {
    const RevisionFacts& facts = catalog_.revisions()[r];
    EXPECT_EQ(catalog_.FindId(facts.id), r);
    EXPECT_EQ(catalog_.Find(catalog_.NameOf(r)), r);
    text_ << facts.id << ' ' << NameOf(facts.update) << ' ' << facts.number << ' '
          << facts.is_latest << facts.is_expired << facts.is_deployable << facts.has_digest_conflict
          << facts.lacks_member << ' ' << facts.generation << ' ' << facts.bundled_since << ' '
          << catalog_.updates()[facts.update].named_since;
    if (facts.eula != kNone) text_ << " eula " << catalog_.eulas()[facts.eula].ToString();
    std::multiset<std::string> clauses;
    for (const ClauseOrdinal clause : catalog_.Clauses(r)) {
      std::set<std::string> names;
      for (const UpdateOrdinal u : catalog_.Alternatives(clause)) names.insert(NameOf(u));
      std::string all;
      for (const std::string& name : names) all += name + "|";
      clauses.insert(all);
    }
    for (const std::string& clause : clauses) text_ << " needs " << clause;
    for (const RevisionOrdinal member : catalog_.Members(r)) text_ << " bundles " << Id(member);
    for (const FileOrdinal f : catalog_.Payloads(r)) File("file", catalog_.files()[f]);
    for (const FileOrdinal f : catalog_.EulaFiles(r)) File("licence", catalog_.files()[f]);
    for (const RevisionOrdinal other : catalog_.RevisionsOf(facts.update)) {
      text_ << " beside " << Id(other);
    }
    text_ << '\n';
  }

  void File(const char* what, const FileFacts256& file) {
    EXPECT_TRUE(catalog_.DeclaresFile(file.sha1));
    text_ << ' ' << what << ' ' << file.sha1.ToHex() << '.' << catalog_.extension(file) << ' '
          << file.size_bytes << file.is_express;
  }

  void Intent() {
    const IntentFacts& intent = index_.intent();
    for (const auto& one : intent.deployments) {
      text_ << "deployment " << one.id << ' ' << one.update.guid.ToString() << '/'
            << one.update.revision << ' ' << one.group.ToString() << ' '
            << static_cast<int>(one.action) << ' ' << one.generation << '\n';
    }
    std::set<std::string> ended;
    for (const EndedDeployment& end : intent.ended) {
      ended.insert(end.update.ToString() + ' ' + end.group.ToString() + ' ' +
                   std::to_string(end.generation));
    }
    for (const std::string& end : ended) text_ << "ended " << end << '\n';
    for (const Guid& guid : intent.declined) text_ << "declined " << guid.ToString() << '\n';
    for (const auto& [generation, time] : intent.commits) {
      text_ << "commit " << generation << ' ' << time.ticks << '\n';
    }
  }

  void Scopes() {
    for (const char* computer : {"pc-1", "nobody"}) {
      const auto scope = index_.ScopeOf(index_.GroupsOf(computer));
      text_ << "scope of " << computer << '\n';
      for (const PlacedRevision& placed : scope->placed) {
        text_ << Id(placed.revision) << ' ' << static_cast<int>(placed.action) << ' '
              << placed.changed << '\n';
      }
    }
  }

  const ScanIndex& index_;
  const CatalogIndex& catalog_;
  std::ostringstream text_;
};

class IndexKeeperTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "gapferry-keeper-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    mirror::Config config;
    config.name = "kept";
    ASSERT_TRUE(Mirror::Init(path(), config).has_value());
    Fill(0);
    auto opened = Mirror::Open(path());
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    admin_.emplace(std::move(*opened));
  }
  void TearDown() override {
    admin_.reset();
    fs::remove_all(root_);
  }
  fs::path path() const { return root_ / "mirror"; }

  void Fill(std::uint32_t step) {
    catalogue::Options options;
    options.size = "600";
    options.file_median = 64;
    options.step = step;
    auto generated = catalogue::Catalogue::Make(options, 2);
    ASSERT_TRUE(generated.has_value()) << generated.error().message;
    const auto filled = catalogue::FillMirror(*generated, path(), {false, 2});
    ASSERT_TRUE(filled.has_value()) << filled.error().message;
  }

  std::unique_ptr<IndexKeeper> Start() {
    auto opened = Mirror::Open(path());
    EXPECT_TRUE(opened.has_value());
    auto keeper = IndexKeeper::Start(std::move(*opened), {});
    EXPECT_TRUE(keeper.has_value());
    return std::move(*keeper);
  }

  /// What can be approved, in the order of the catalogue.
  std::vector<protocol::UpdateId> Deployable(const ScanIndex& index) const {
    std::vector<protocol::UpdateId> ids;
    const CatalogIndex& catalog = index.catalog();
    for (RevisionOrdinal r = 0; r < catalog.revisions().size(); ++r) {
      const RevisionFacts& facts = catalog.revisions()[r];
      const bool software = facts.type == mirror::UpdateType::kSoftware;
      if (software && facts.is_deployable && facts.is_latest && !facts.is_expired) {
        ids.push_back(catalog.NameOf(r));
      }
    }
    return ids;
  }

  void Approve(const std::vector<protocol::UpdateId>& ids) {
    std::vector<mirror::Intent::Approval> approvals;
    for (const auto& id : ids) {
      mirror::Intent::Approval approval;
      approval.update = id;
      approval.group = mirror::kAllComputers;
      approval.accept_eula = true;
      approvals.push_back(approval);
    }
    const auto approved = admin_->intent().Approve(approvals, "test");
    ASSERT_TRUE(approved.has_value()) << approved.error().message;
  }

  /// Waits until `keeper` shows what is published, then compares it with one that reads it anew.
  void ExpectSameAsNew(IndexKeeper& keeper) {
    const auto published = admin_->catalog().Published();
    ASSERT_TRUE(published.has_value());
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (keeper.Current()->intent().state.name.generation != published->name.generation) {
      ASSERT_LT(std::chrono::steady_clock::now(), until) << "the index does not follow";
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    const auto fresh = Start();
    EXPECT_EQ(Description(*keeper.Current()).text(), Description(*fresh->Current()).text());
  }

  fs::path root_;
  std::optional<Mirror> admin_;
};

TEST_F(IndexKeeperTest, FollowsApprovalsByGeneration) {
  const auto keeper = Start();
  const auto ids = Deployable(*keeper->Current());
  ASSERT_GT(ids.size(), 12U);
  Approve({ids[0], ids[1], ids[2], ids[3], ids[4], ids[5]});
  ASSERT_TRUE(admin_->intent().AssignComputer("PC-1", {}, "test").has_value());
  ExpectSameAsNew(*keeper);

  // Ended, approved once more, declined, and new ones, seen at once.
  ASSERT_TRUE(admin_->intent().Unapprove({ids[1].guid, ids[2].guid}, std::nullopt, "test"));
  Approve({ids[2], ids[7]});
  ASSERT_TRUE(admin_->intent().Decline({ids[3].guid}, "test"));
  ExpectSameAsNew(*keeper);
  EXPECT_EQ(keeper->Current()->intent().deployments.size(), 5U);

  const auto before = keeper->Current()->shared_catalog();
  const auto group = admin_->intent().AddGroup("Pilot", mirror::kAllComputers, "test");
  ASSERT_TRUE(group.has_value());
  ASSERT_TRUE(admin_->intent().AssignComputer("PC-1", {group->id}, "test").has_value());
  Approve({ids[8]});
  ExpectSameAsNew(*keeper);
  EXPECT_EQ(keeper->Current()->shared_catalog(), before);  // revisions were not read again
}

TEST_F(IndexKeeperTest, GoesOnFromTheLastCatalogue) {
  const auto keeper = Start();
  const auto first = keeper->Current();
  Approve({Deployable(*first)[0], Deployable(*first)[1]});
  for (const std::uint32_t step : {1U, 3U}) {
    Fill(step);
    ExpectSameAsNew(*keeper);
  }
  const CatalogIndex& catalog = keeper->Current()->catalog();
  ASSERT_GT(catalog.revisions().size(), first->catalog().revisions().size());
  // Positions stay: what is known is not read again.
  for (RevisionOrdinal r = 0; r < first->catalog().revisions().size(); ++r) {
    EXPECT_EQ(catalog.revisions()[r].update, first->catalog().revisions()[r].update);
  }
}

TEST_F(IndexKeeperTest, MakesGoodARefreshThatFailedAfterTheHoldings) {
  const auto keeper = Start();
  const std::int64_t before = keeper->Current()->holdings().sequence();
  mirror::Database& db = admin_->db();
  ASSERT_TRUE(db.Run("ALTER TABLE eula_acceptance RENAME TO eula_away"));
  ASSERT_TRUE(db.Run("UPDATE mirror SET content_sequence = content_sequence + 1"));
  std::this_thread::sleep_for(std::chrono::milliseconds(800));
  EXPECT_EQ(keeper->Current()->holdings().sequence(), before);
  ASSERT_TRUE(db.Run("ALTER TABLE eula_away RENAME TO eula_acceptance"));
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (keeper->Current()->holdings().sequence() == before) {
    ASSERT_LT(std::chrono::steady_clock::now(), until) << "the index does not follow";
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ExpectSameAsNew(*keeper);
}

mirror::RevisionRelations Relations(mirror::RevisionId id, std::uint8_t name, int generation) {
  mirror::RevisionRelations relations;
  relations.row.id = id;
  relations.row.update = {Guid{}, 1};
  relations.row.update.guid.bytes[0] = name;
  relations.row.generation = generation;
  return relations;
}

TEST(CatalogIndexExtension, IsRefusedWhenABundleWaitedForWhatCame) {
  auto bundle = Relations(1, 1, 1);
  const auto member = Relations(2, 2, 2);
  bundle.bundled.push_back({member.row.update});
  CatalogIndexBuilder builder;
  builder.Add(bundle);
  const auto base = builder.Finish();
  ASSERT_NE(base, nullptr);
  EXPECT_TRUE(base->revisions()[0].lacks_member);

  CatalogIndexBuilder other(*base);
  other.Add(Relations(3, 3, 2));
  const auto extended = other.Finish();
  ASSERT_NE(extended, nullptr);
  EXPECT_EQ(extended->revisions().size(), 2U);

  CatalogIndexBuilder waited(*extended);
  waited.Add(Relations(4, 2, 3));
  EXPECT_EQ(waited.Finish(), nullptr);
}

TEST(CatalogIndexExtension, TakesConflictsAsTheyAreNow) {
  CatalogIndexBuilder builder;
  builder.Add(Relations(1, 1, 1));
  builder.Add(Relations(2, 2, 1));
  builder.SetDigestConflicts({2});
  const auto base = builder.Finish();
  EXPECT_FALSE(base->revisions()[0].has_digest_conflict);
  EXPECT_TRUE(base->revisions()[1].has_digest_conflict);
  CatalogIndexBuilder next(*base);
  next.SetDigestConflicts({1});
  const auto changed = next.Finish();
  EXPECT_TRUE(changed->revisions()[0].has_digest_conflict);
  EXPECT_FALSE(changed->revisions()[1].has_digest_conflict);
}

}  // namespace
}  // namespace gapferry::server
