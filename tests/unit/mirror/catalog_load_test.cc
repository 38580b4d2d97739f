#include "mirror/catalog_load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "mirror/exchange/metadata_batch.h"
#include "mirror/fragment_store.h"
#include "mirror/intent.h"
#include "mirror/load_digests.h"
#include "protocol/xpress.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::mirror {
namespace {

using protocol::UpdateId;

class CatalogLoadTest : public testing::Test {
 protected:
  CatalogLoadTest() : mirror_(MakeMirror("a")) {}

  Mirror MakeMirror(const std::string& name, MirrorOptions options = {}) {
    options.clock = &clock_;
    const auto done = Mirror::Init(dir_.path() / name, TestConfig(), options);
    EXPECT_TRUE(done.has_value()) << done.error().message;
    return Reopen(name, options);
  }
  Mirror Reopen(const std::string& name, MirrorOptions options = {}) {
    options.clock = &clock_;
    auto mirror = Mirror::Open(dir_.path() / name, options);
    EXPECT_TRUE(mirror.has_value()) << mirror.error().message;
    return std::move(*mirror);
  }
  JobLock Lock(Mirror& mirror) { return std::move(*JobLock::Acquire(mirror.path(), "sync")); }

  StateName LoadAll(Mirror& mirror, const std::vector<TestDocument>& documents) {
    const auto lock = Lock(mirror);
    auto load = CatalogLoad::Open(mirror, lock, "sync");
    EXPECT_TRUE(load.has_value()) << load.error().message;
    for (const auto& document : documents) {
      const auto added = load->Add(document.Incoming());
      EXPECT_TRUE(added.has_value()) << added.error().message;
    }
    return Commit(*load);
  }
  StateName Commit(CatalogLoad& load) {
    const auto prepared = load.Prepare();
    EXPECT_TRUE(prepared.has_value()) << prepared.error().message;
    auto commit = load.BeginCommit("sync");
    EXPECT_TRUE(commit.has_value()) << commit.error().message;
    auto state = commit->Finish();
    EXPECT_TRUE(state.has_value()) << state.error().message;
    return *state;
  }
  static std::vector<std::string> Visible(Mirror& mirror) {
    std::vector<std::string> names;
    const auto done = mirror.catalog().ForEachRevision([&](const RevisionRow& row) -> Result<void> {
      names.push_back(row.update.ToString() + (row.is_latest ? " latest" : ""));
      return {};
    });
    EXPECT_TRUE(done.has_value()) << done.error().message;
    std::sort(names.begin(), names.end());
    return names;
  }

  std::vector<TestDocument> Family() const {
    TestDocument product;
    product.id = {TestGuid(1, 1), 100};
    product.type = "Category";
    product.properties = "";
    product.category_type = "Product";
    product.title = "Product One";
    TestDocument leaf;
    leaf.id = {TestGuid(2, 2), 200};
    leaf.properties = "";
    leaf.files = {{"leaf content"}};
    TestDocument bundle;
    bundle.id = {TestGuid(3, 3), 200};
    bundle.title = "Security fix &amp; more";
    bundle.prerequisites = {{product.id.guid}};
    bundle.bundled = {leaf.id};
    bundle.superseded = {TestGuid(9, 9)};
    return {product, leaf, bundle};
  }

  TemporaryDirectory dir_;
  FixedClock clock_{UtcTime::FromUnixSeconds(1'790'000'000)};
  Mirror mirror_;
};

TEST_F(CatalogLoadTest, NothingIsSeenBeforeTheCommitAndAllAfterIt) {
  const auto lock = Lock(mirror_);
  auto load = CatalogLoad::Open(mirror_, lock, "sync");
  ASSERT_TRUE(load.has_value());
  for (const auto& document : Family()) {
    EXPECT_EQ(load->Add(document.Incoming()).value(), Added::kNew);
  }
  ASSERT_TRUE(load->Flush());
  EXPECT_THAT(Visible(mirror_), testing::IsEmpty());
  EXPECT_FALSE(mirror_.catalog().Find(Family()[0].id).value().has_value());
  EXPECT_TRUE(load->Has(Family()[0].id).value());
  const StateName state = Commit(*load);
  EXPECT_EQ(state.generation, 1);
  EXPECT_EQ(Visible(mirror_).size(), 3U);
  const auto published = mirror_.catalog().Published().value();
  EXPECT_EQ(published.name, state);
  EXPECT_EQ(published.state_digest, published.passed_on_digest);
  EXPECT_EQ(mirror_.catalog().Knows(state).value(), StateKnowledge::kCurrent);
}

TEST_F(CatalogLoadTest, KeepsRelationsFilesTextsAndTheDocumentAsItCame) {
  LoadAll(mirror_, Family());
  auto& catalog = mirror_.catalog();
  const auto row = catalog.FindLatest(TestGuid(3, 3)).value();
  ASSERT_TRUE(row.has_value());
  const auto relations = catalog.Relations(row->id).value();
  ASSERT_TRUE(relations.has_value());
  ASSERT_EQ(relations->prerequisites.size(), 1U);
  EXPECT_TRUE(relations->prerequisites[0].is_category);
  EXPECT_THAT(relations->prerequisites[0].alternatives, testing::ElementsAre(TestGuid(1, 1)));
  ASSERT_EQ(relations->bundled.size(), 1U);
  EXPECT_EQ(relations->bundled[0][0], (UpdateId{TestGuid(2, 2), 200}));
  EXPECT_THAT(relations->superseded, testing::ElementsAre(TestGuid(9, 9)));
  EXPECT_EQ(catalog.Text(row->id)->title, "Security fix & more");
  const std::string text = Family()[2].Text();
  EXPECT_EQ(AsText(catalog.ReadDocument(row->id).value()), text);
  EXPECT_EQ(catalog.Document(row->id)->sha256, Sha256(text));
  const auto payload = catalog.PayloadOf(row->id).value();
  EXPECT_EQ(payload.files, 1U);
  EXPECT_EQ(payload.missing_bytes, 12U);
  const auto core = (*mirror_.fragments())->FindCore(row->id).value();
  ASSERT_TRUE(core.has_value());
  EXPECT_THAT(core->escaped_text, testing::StartsWith("&lt;UpdateIdentity UpdateID=\"03030303"));
  const auto products = catalog.Categories(CategoryType::kProduct).value();
  ASSERT_EQ(products.size(), 1U);
  EXPECT_EQ(products[0].title, "Product One");
  EXPECT_EQ(products[0].updates, 1U);
}

TEST_F(CatalogLoadTest, BulkRelationsEqualSingleOnes) {
  LoadAll(mirror_, Family());
  std::size_t seen = 0;
  const auto done =
      mirror_.catalog().ForEachRelations(0, [&](RevisionRelations& bulk) -> Result<void> {
        ++seen;
        const auto single = mirror_.catalog().Relations(bulk.row.id).value();
        EXPECT_EQ(bulk.bundled, single->bundled);
        EXPECT_EQ(bulk.superseded, single->superseded);
        EXPECT_EQ(bulk.prerequisites.size(), single->prerequisites.size());
        EXPECT_EQ(bulk.files.size(), single->files.size());
        return {};
      });
  ASSERT_TRUE(done.has_value()) << done.error().message;
  EXPECT_EQ(seen, 3U);
}

TEST_F(CatalogLoadTest, SameDocumentsInAnotherOrderGiveTheSameDigests) {
  auto documents = Family();
  LoadAll(mirror_, documents);
  Mirror other = MakeMirror("b");
  std::reverse(documents.begin(), documents.end());
  LoadAll(other, {documents[0]});
  LoadAll(other, {documents[1], documents[2]});
  const auto a = mirror_.catalog().Published().value();
  const auto b = other.catalog().Published().value();
  EXPECT_EQ(a.state_digest, b.state_digest);
  EXPECT_EQ(a.documents_digest, b.documents_digest);
  EXPECT_NE(a.name.chain, b.name.chain);
  EXPECT_EQ(mirror_.catalog().Knows(b.name).value(), StateKnowledge::kOtherHistory);
}

TEST_F(CatalogLoadTest, KnownDocumentsChangeNothing) {
  const auto first = LoadAll(mirror_, Family());
  const auto second = LoadAll(mirror_, Family());
  EXPECT_EQ(first, second);
}

TEST_F(CatalogLoadTest, AnotherTextForAKnownRevisionIsRefusedAndNothingChanges) {
  const auto state = LoadAll(mirror_, Family());
  const auto lock = Lock(mirror_);
  auto load = CatalogLoad::Open(mirror_, lock, "sync");
  auto changed = Family()[1];
  changed.title = "Another text";
  const auto refused = load->Add(changed.Incoming());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(refused.error().reason, "document-conflict");
  EXPECT_EQ(Commit(*load), state);
  const auto row = mirror_.catalog().Find(changed.id).value();
  EXPECT_EQ(AsText(mirror_.catalog().ReadDocument(row->id).value()), Family()[1].Text());
}

TEST_F(CatalogLoadTest, ConflictsAreFoundAmongRevisionsOfTheSameLoad) {
  const auto lock = Lock(mirror_);
  auto load = CatalogLoad::Open(mirror_, lock, "sync");
  auto changed = Family()[1];
  ASSERT_TRUE(load->Add(changed.Incoming()));
  EXPECT_EQ(load->Add(changed.Incoming()).value(), Added::kKnown);
  changed.title = "Another text";
  EXPECT_EQ(load->Add(changed.Incoming()).error().reason, "document-conflict");
}

TEST_F(CatalogLoadTest, WrongIdentityAndWrongDigestAreRefused) {
  const auto lock = Lock(mirror_);
  auto load = CatalogLoad::Open(mirror_, lock, "sync");
  auto incoming = Family()[1].Incoming();
  incoming.update.revision = 7;
  EXPECT_EQ(load->Add(incoming).error().reason, "wrong-identity");
  incoming = Family()[1].Incoming();
  incoming.expected_sha256 = Sha256("something else");
  EXPECT_EQ(load->Add(incoming).error().reason, "digest-mismatch");
  incoming = Family()[1].Incoming();
  incoming.bytes.resize(incoming.bytes.size() / 2);
  EXPECT_EQ(load->Add(incoming).error().code, ErrorCode::kCorrupt);
}

TEST_F(CatalogLoadTest, ARestartedJobAdoptsWhatTheFirstOneLoaded) {
  const auto documents = Family();
  {
    const auto lock = Lock(mirror_);
    auto load = CatalogLoad::Open(mirror_, lock, "sync");
    ASSERT_TRUE(load->Add(documents[0].Incoming()));
    ASSERT_TRUE(load->Add(documents[1].Incoming()));
    ASSERT_TRUE(load->Flush());
  }
  Mirror again = Reopen("a");
  const auto lock = Lock(again);
  auto load = CatalogLoad::Open(again, lock, "sync");
  EXPECT_EQ(load->Add(documents[0].Incoming()).value(), Added::kKnown);
  EXPECT_EQ(load->Add(documents[2].Incoming()).value(), Added::kNew);
  const auto summary = load->Summarize().value();
  EXPECT_EQ(summary.adopted_revisions, 2U);
  EXPECT_EQ(summary.new_revisions, 3U);
  Commit(*load);
  Mirror undisturbed = MakeMirror("b");
  LoadAll(undisturbed, documents);
  EXPECT_EQ(again.catalog().Published()->state_digest,
            undisturbed.catalog().Published()->state_digest);
  EXPECT_EQ(again.catalog().Published()->name.chain, undisturbed.catalog().Published()->name.chain);
}

TEST_F(CatalogLoadTest, AnotherJobRemovesWhatWasLoaded) {
  {
    const auto lock = Lock(mirror_);
    auto load = CatalogLoad::Open(mirror_, lock, "import", "manifest-1");
    ASSERT_TRUE(load->Add(Family()[0].Incoming()));
    ASSERT_TRUE(load->Flush());
  }
  const auto lock = Lock(mirror_);
  auto load = CatalogLoad::Open(mirror_, lock, "import", "manifest-2");
  EXPECT_FALSE(load->Has(Family()[0].id).value());
  EXPECT_EQ(mirror_.db().QueryInt("SELECT count(*) FROM document_part").value(), 0);
}

TEST_F(CatalogLoadTest, AbandonLeavesNothing) {
  const auto before = mirror_.catalog().Published().value();
  {
    const auto lock = Lock(mirror_);
    auto load = CatalogLoad::Open(mirror_, lock, "import", "x");
    for (const auto& document : Family()) ASSERT_TRUE(load->Add(document.Incoming()));
    ASSERT_TRUE(load->Flush());
    ASSERT_TRUE(load->Abandon());
  }
  for (const char* table : {"revision", "document_part", "prerequisite", "change"}) {
    EXPECT_EQ(mirror_.db().QueryInt(std::string("SELECT count(*) FROM ") + table).value(), 0)
        << table;
  }
  EXPECT_EQ(mirror_.catalog().Published()->name, before.name);
}

TEST_F(CatalogLoadTest, FewAndManyIdsAreComparedTheSame) {
  const auto family = Family();
  LoadAll(mirror_, {family[0], family[1]});
  const auto lock = Lock(mirror_);
  auto load = CatalogLoad::Open(mirror_, lock, "sync");
  ASSERT_TRUE(load->Add(family[2].Incoming()));
  for (const int fillers : {0, 5000}) {  // above 2,000 the catalogue is read in step
    std::vector<UpdateId> ids;
    for (const auto& document : family) ids.push_back(document.id);
    ids.push_back({family[0].id.guid, family[0].id.revision + 1});
    for (int i = 0; i < fillers; ++i)
      ids.push_back({TestGuid(static_cast<std::uint8_t>(i), 0xEE), i});
    std::sort(ids.begin(), ids.end());
    auto published = ids;
    std::erase_if(published,
                  [&](const UpdateId& id) { return id == family[0].id || id == family[1].id; });
    EXPECT_EQ(mirror_.catalog().Unknown(ids).value(), published);
    std::erase(published, family[2].id);
    EXPECT_EQ(load->Unknown(ids).value(), published);
  }
}

TEST_F(CatalogLoadTest, KeysOfFilesAreSeenWithTheCommitAndTravelInTheRecord) {
  int number = 0;
  for (const char* form : {"FileDecryption", "<upd:FileDecryption/>", "<upd:FileUrl/>"}) {
    Mirror mirror = MakeMirror("keys-" + std::to_string(number++));
    const bool needs = std::string_view(form).find("FileDecryption") != std::string_view::npos;
    TestDocument document = Family()[1];
    document.id = {TestGuid(0x33, 7), 1};
    document.prerequisites.clear();
    document.files = {{"first"}, {"second"}, {"first"}};
    document.property_children =
        std::string("<upd:SecuredFragment>") + form + "</upd:SecuredFragment>";
    const FileKey key{Sha1(std::string_view("second")), {1, 2, 3, 250}};
    const auto lock = Lock(mirror);
    auto load = CatalogLoad::Open(mirror, lock, "sync");
    ASSERT_TRUE(load->Add(document.Incoming()));
    ASSERT_TRUE(load->AddFileKeys({key}));
    EXPECT_EQ(load->AddFileKeys({{key.sha1, {}}}).error().reason, "bad-file-key");
    ASSERT_TRUE(load->Flush());
    const auto loading = mirror.db().QueryInt("SELECT id FROM revision").value();
    EXPECT_TRUE(mirror.catalog().FileKeys(static_cast<RevisionId>(*loading))->empty());
    Commit(*load);
    const auto row = mirror.catalog().Find(document.id).value();
    EXPECT_EQ(row->needs_file_keys, needs) << form;
    EXPECT_EQ(mirror.catalog().FileKeys(row->id).value(), std::vector<FileKey>{key});

    MemorySink record(1 << 20);
    ASSERT_TRUE(exchange::WriteMetadataRecord(mirror.catalog(), *row, record));
    MemorySource bytes(record.bytes());
    exchange::MetadataBatchReader reader(bytes, 1 << 20);
    const auto read = reader.Next();
    ASSERT_TRUE(read.has_value()) << read.error().message;
    EXPECT_EQ((*read)->file_keys, needs ? std::vector<FileKey>{key} : std::vector<FileKey>{});
  }
}

TEST_F(CatalogLoadTest, KeysAndAddressesAreThereBeforeTheirRevision) {
  // A load that goes on skips what is there: what came with it must not be lost by then.
  const TestDocument document = Family()[1];
  const FileKey key{Sha1(std::string_view("leaf content")), {1, 2, 3}};
  ASSERT_TRUE(mirror_.db().ExecuteScript(
      "CREATE TRIGGER ends BEFORE INSERT ON revision BEGIN SELECT RAISE(ABORT, 'power off'); END"));
  const auto lock = Lock(mirror_);
  auto load = CatalogLoad::Open(mirror_, lock, "sync");
  ASSERT_TRUE(load->Add(document.Incoming()));
  ASSERT_TRUE(load->AddFileKeys({key}));
  ASSERT_TRUE(load->AddFileUrls({{key.sha1, "http://update.example/leaf"}}));
  ASSERT_FALSE(load->Flush());
  EXPECT_EQ(mirror_.db().QueryInt("SELECT count(*) FROM revision").value(), 0);
  EXPECT_EQ(mirror_.db().QueryInt("SELECT count(*) FROM file_key").value(), 1);
  EXPECT_EQ(mirror_.db().QueryInt("SELECT count(*) FROM file_url").value(), 1);
}

TEST_F(CatalogLoadTest, AKeyThatIsMalformedIsRefusedWithoutBeingShown) {
  const std::string sha1 = Sha1(std::string_view("second")).ToHex();
  const std::string head =
      R"(","sha256":")" + std::string(64, '0') +
      R"(","size":1,"update":"33333333-0000-4000-8000-000000000001/1","urls":[]})" + "\nx\n";
  for (const std::string key : {"U0VDUkVU=", "U0VDUkVU!", "", "U0VD UkVU"}) {
    const std::string record = R"({"form":"plain","keys":[{"key":")" + key + R"(","sha1":")" +
                               sha1 + R"("}])" + head.substr(1);
    MemorySource bytes(AsBytes(record));
    exchange::MetadataBatchReader reader(bytes, 1 << 20);
    const auto read = reader.Next();
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error().reason, "metadata-malformed");
    EXPECT_EQ(read.error().message.find("U0VD"), std::string::npos) << read.error().message;
    EXPECT_NE(read.error().message.find(sha1), std::string::npos) << read.error().message;
  }
}

TEST_F(CatalogLoadTest, AddressesOfFilesAreSeenWithTheCommitOnly) {
  const Sha1Digest file = Sha1("leaf content");
  const auto with_url = [&](std::int32_t revision, const std::string& url) {
    auto document = Family()[1];
    document.id.revision = revision;
    auto incoming = document.Incoming();
    incoming.file_urls = {{file, url}};
    return incoming;
  };
  const auto lock = Lock(mirror_);
  {
    auto load = CatalogLoad::Open(mirror_, lock, "sync");
    ASSERT_TRUE(load->Add(with_url(200, "http://vendor.example/1")));
    ASSERT_TRUE(load->Flush());
    EXPECT_EQ(mirror_.catalog().FileUrl(file).value(), std::nullopt);
    Commit(*load);
    EXPECT_EQ(mirror_.catalog().FileUrl(file).value(), "http://vendor.example/1");
  }
  {
    auto load = CatalogLoad::Open(mirror_, lock, "import", "refused");
    ASSERT_TRUE(load->Add(with_url(201, "http://elsewhere.example/1")));
    ASSERT_TRUE(load->Flush());
    EXPECT_EQ(mirror_.catalog().FileUrl(file).value(), "http://vendor.example/1");
    ASSERT_TRUE(load->Abandon());
  }
  EXPECT_EQ(mirror_.catalog().FileUrl(file).value(), "http://vendor.example/1");
  auto load = CatalogLoad::Open(mirror_, lock, "sync");
  ASSERT_TRUE(load->Add(with_url(202, "http://vendor.example/2")));
  Commit(*load);
  EXPECT_EQ(mirror_.catalog().FileUrl(file).value(), "http://vendor.example/2");
  EXPECT_EQ(mirror_.db().QueryInt("SELECT count(*) FROM file_url").value(), 2);
}

TEST_F(CatalogLoadTest, IdsAreNeverGivenTwice) {
  RevisionId first = 0;
  {
    const auto lock = Lock(mirror_);
    auto load = CatalogLoad::Open(mirror_, lock, "import", "x");
    ASSERT_TRUE(load->Add(Family()[1].Incoming()));
    ASSERT_TRUE(load->ForEachLoaded([&](RevisionRelations& r) -> Result<void> {
      first = r.row.id;
      return {};
    }));
    ASSERT_TRUE(load->Abandon());
  }
  LoadAll(mirror_, Family());
  EXPECT_EQ(mirror_.catalog().Find(Family()[1].id).value()->id, first);
  EXPECT_NE(mirror_.catalog().Find(Family()[0].id).value()->id, first);
}

TEST_F(CatalogLoadTest, LargeDocumentsAreKeptInPartsAndReadBack) {
  auto document = Family()[1];
  document.files.clear();
  // Compressible, more than the parts of one transaction, within the parser's text limit: spread
  // over many elements of unknown name.
  for (int i = 0; i < 6000; ++i) {
    document.property_children += "<upd:Extra>" +
                                  std::string(500, static_cast<char>('a' + i % 26)) +
                                  std::to_string(i) + "</upd:Extra>";
  }
  LoadAll(mirror_, {document});
  const auto row = mirror_.catalog().Find(document.id).value();
  EXPECT_GT(row->document_bytes, 3'000'000U);
  EXPECT_EQ(AsText(mirror_.catalog().ReadDocument(row->id).value()), document.Text());
  const auto extended = (*mirror_.fragments())->FindExtended(row->id).value();
  ASSERT_TRUE(extended && extended->prepared);
  EXPECT_GT(extended->decoded_bytes(), 3'000'000U);
  auto source = extended->prepared->OpenEncoded();
  MemorySink sink(1 << 30);
  EXPECT_EQ(Copy(**source, sink, 1 << 30).value(), extended->prepared->encoded_bytes());
  auto plain = protocol::XpressDecode(sink.bytes(), 1 << 30);
  ASSERT_TRUE(plain.has_value());
  EXPECT_EQ(plain->size(), extended->decoded_bytes());
  EXPECT_THAT(*plain, testing::HasSubstr("5999&lt;/Extra&gt;"));
}

TEST_F(CatalogLoadTest, WithdrawnRevisionsStayAndAreListedAgain) {
  LoadAll(mirror_, Family());
  const auto before = mirror_.catalog().Published().value();
  const UpdateId id = Family()[2].id;
  for (const bool withdrawn : {true, false}) {
    const auto lock = Lock(mirror_);
    auto load = CatalogLoad::Open(mirror_, lock, "sync");
    if (withdrawn) {
      load->Withdraw(id);
    } else {
      load->ListAgain(id);
    }
    const StateName state = Commit(*load);
    EXPECT_EQ(mirror_.catalog().Find(id).value()->is_withdrawn, withdrawn);
    std::vector<UpdateId> changed;
    ASSERT_TRUE(mirror_.catalog().ForEachChanged(state.generation - 1, state.generation,
                                                 [&](const RevisionRow& row) -> Result<void> {
                                                   changed.push_back(row.update);
                                                   return {};
                                                 }));
    EXPECT_THAT(changed, testing::ElementsAre(id));
  }
  EXPECT_EQ(mirror_.catalog().Published()->state_digest, before.state_digest);
  EXPECT_EQ(mirror_.catalog().Published()->name.generation, before.name.generation + 2);
}

TEST_F(CatalogLoadTest, ChangedSinceGivesExactlyTheDelta) {
  const auto base = LoadAll(mirror_, Family());
  auto newer = Family()[2];
  newer.id.revision = 201;
  const auto target = LoadAll(mirror_, {newer});
  std::vector<UpdateId> changed;
  ASSERT_TRUE(mirror_.catalog().ForEachChanged(base.generation, target.generation,
                                               [&](const RevisionRow& row) -> Result<void> {
                                                 changed.push_back(row.update);
                                                 return {};
                                               }));
  EXPECT_THAT(changed, testing::ElementsAre(newer.id));
  EXPECT_FALSE(mirror_.catalog().Find(Family()[2].id).value()->is_latest);
  EXPECT_TRUE(mirror_.catalog().Find(newer.id).value()->is_latest);
}

TEST_F(CatalogLoadTest, ContradictingFilesAreMarked) {
  LoadAll(mirror_, Family());
  TestDocument liar;
  liar.id = {TestGuid(7, 7), 1};
  liar.files = {{"leaf content", "x.exe", 9999}};
  const auto lock = Lock(mirror_);
  auto load = CatalogLoad::Open(mirror_, lock, "sync");
  ASSERT_TRUE(load->Add(liar.Incoming()));
  EXPECT_EQ(load->Summarize()->digest_conflicts, 1U);
  Commit(*load);
  EXPECT_TRUE(mirror_.catalog().Find(liar.id).value()->has_digest_conflict);
  EXPECT_FALSE(mirror_.catalog().Find(Family()[1].id).value()->has_digest_conflict);
}

TEST_F(CatalogLoadTest, SummaryNamesWhatIsMissing) {
  auto documents = Family();
  documents.erase(documents.begin());  // the product
  documents[1].bundled.push_back({TestGuid(8, 8), 5});
  const auto lock = Lock(mirror_);
  auto load = CatalogLoad::Open(mirror_, lock, "sync");
  for (const auto& document : documents) ASSERT_TRUE(load->Add(document.Incoming()));
  const auto summary = load->Summarize().value();
  ASSERT_EQ(summary.dangling.size(), 2U);
  EXPECT_EQ(summary.dangling[0].update, documents[1].id);
  EXPECT_EQ(summary.missing_files, 1U);
  EXPECT_EQ(summary.missing_bytes, 12U);
}

TEST_F(CatalogLoadTest, ExpiredRevisionsAreCounted) {
  LoadAll(mirror_, Family());
  auto expired = Family()[2];
  expired.id.revision = 300;
  expired.properties = " ExplicitlyDeployable=\"true\" PublicationState=\"Expired\"";
  const auto lock = Lock(mirror_);
  auto load = CatalogLoad::Open(mirror_, lock, "sync");
  ASSERT_TRUE(load->Add(expired.Incoming()));
  EXPECT_EQ(load->Summarize()->newly_expired, 1U);
  EXPECT_EQ(load->Summarize()->live_updates, 2U);
}

void ExpectCountsTrue(Mirror& mirror) {
  const auto kept = ReadCounts(mirror.db()).value();
  const auto computed = ComputeCounts(mirror.db()).value();
  EXPECT_EQ(kept.revisions, computed.revisions);
  EXPECT_EQ(kept.updates, computed.updates);
  EXPECT_EQ(kept.deployable_updates, computed.deployable_updates);
  EXPECT_EQ(kept.expired_updates, computed.expired_updates);
  EXPECT_EQ(kept.live_updates, computed.live_updates);
  EXPECT_EQ(kept.categories, computed.categories);
  EXPECT_EQ(kept.detectoids, computed.detectoids);
  EXPECT_EQ(kept.withdrawn, computed.withdrawn);
}

TEST_F(CatalogLoadTest, KeptCountsAreWhatCountingGives) {
  LoadAll(mirror_, Family());
  ExpectCountsTrue(mirror_);
  EXPECT_EQ(mirror_.catalog().Counts()->revisions, 3U);
  EXPECT_EQ(mirror_.catalog().Counts()->updates, 2U);
  EXPECT_EQ(mirror_.catalog().Counts()->deployable_updates, 1U);
  auto expired = Family()[2];
  expired.id.revision = 300;
  expired.properties = " ExplicitlyDeployable=\"true\" PublicationState=\"Expired\"";
  auto older = Family()[1];
  older.id.revision = 50;
  LoadAll(mirror_, {expired, older});
  ExpectCountsTrue(mirror_);
  for (const bool withdrawn : {true, false}) {
    const auto lock = Lock(mirror_);
    auto load = CatalogLoad::Open(mirror_, lock, "sync");
    for (const auto& id : {older.id, Family()[1].id}) {
      if (withdrawn) {
        load->Withdraw(id);
      } else {
        load->ListAgain(id);
      }
    }
    Commit(*load);
    ExpectCountsTrue(mirror_);
    EXPECT_EQ(mirror_.catalog().Counts()->withdrawn, withdrawn ? 2U : 0U);
  }
}

TEST_F(CatalogLoadTest, ApprovalsSucceedWhileAJobRuns) {
  LoadAll(mirror_, Family());
  const auto lock = Lock(mirror_);
  auto load = CatalogLoad::Open(mirror_, lock, "sync");
  auto newer = Family()[2];
  newer.id.revision = 201;
  ASSERT_TRUE(load->Add(newer.Incoming()));
  ASSERT_TRUE(load->Flush());
  ASSERT_TRUE(load->Prepare());
  Mirror other = Reopen("a");
  Intent::Approval approval;
  approval.update = Family()[2].id;
  approval.group = kAllComputers;
  const auto approved = other.intent().Approve({approval}, "user:test");
  ASSERT_TRUE(approved.has_value()) << approved.error().message;
  EXPECT_EQ(other.catalog().Published()->name.generation, 2);
  EXPECT_EQ(Commit(*load).generation, 3);
}

TEST_F(CatalogLoadTest, FullDiskFailsWithoutLosingWhatWasThereAndGoesOnLater) {
  LoadAll(mirror_, Family());
  const auto before = mirror_.catalog().Published().value();
  const auto pages = mirror_.db().QueryInt("PRAGMA page_count").value().value();
  MirrorOptions small;
  small.database.max_pages = pages + 4;
  {
    Mirror full = Reopen("a", small);
    const auto lock = Lock(full);
    auto load = CatalogLoad::Open(full, lock, "sync");
    auto document = Family()[2];
    document.padding = std::string(500'000, 'x');
    for (int i = 0; i < 3; ++i) {
      document.id.revision = 1000 + i;
      ASSERT_TRUE(load->Add(document.Incoming()));
    }
    const auto flushed = load->Flush();
    ASSERT_FALSE(flushed.has_value());
    EXPECT_EQ(flushed.error().code, ErrorCode::kNoSpace);
    EXPECT_EQ(full.catalog().Published()->name, before.name);
    EXPECT_EQ(Visible(full).size(), 3U);
    // Space again: the same load goes on.
    ASSERT_TRUE(full.db().ExecuteScript("PRAGMA max_page_count=1000000"));
    ASSERT_TRUE((*full.fragments())->Derivation());
    const auto again = load->Flush();
    EXPECT_TRUE(again.has_value() || again.error().code == ErrorCode::kNoSpace);
  }
  Mirror again = Reopen("a");
  EXPECT_EQ(again.catalog().Published()->name, before.name);
  EXPECT_THAT(again.db().CheckIntegrity().value(), testing::IsEmpty());
}

TEST_F(CatalogLoadTest, FragmentsAreRebuiltFromTheDocuments) {
  LoadAll(mirror_, Family());
  const auto id = mirror_.catalog().FindLatest(TestGuid(3, 3)).value()->id;
  const auto before = (*mirror_.fragments())->FindCore(id).value()->escaped_text;
  ASSERT_TRUE((*mirror_.fragments())->Remove(id));
  EXPECT_FALSE((*mirror_.fragments())->FindCore(id).value().has_value());
  EXPECT_EQ(RebuildFragments(mirror_).value(), 3U);
  EXPECT_EQ((*mirror_.fragments())->FindCore(id).value()->escaped_text, before);
}

TEST_F(CatalogLoadTest, CommitTimesRiseWhenTheClockDoesNot) {
  LoadAll(mirror_, Family());
  const auto first = mirror_.catalog().Published().value();
  clock_.Set(UtcTime::FromUnixSeconds(0));
  auto newer = Family()[2];
  newer.id.revision = 201;
  LoadAll(mirror_, {newer});
  const auto second = mirror_.catalog().Published().value();
  EXPECT_GT(second.committed_at, first.committed_at);
  EXPECT_EQ(mirror_.catalog().StateCommittedAt(first.committed_at).value()->name, first.name);
}

}  // namespace
}  // namespace gapferry::mirror
