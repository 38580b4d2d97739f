#include "mirror/document_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/stream.h"
#include "mirror/catalog.h"
#include "mirror/catalog_load.h"
#include "mirror/fragment_store.h"
#include "mirror/intent.h"
#include "mirror/load_digests.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::mirror {
namespace {

class DocumentStoreTest : public testing::Test {
 protected:
  DocumentStoreTest() : mirror_(MakeMirror()) {}
  Mirror MakeMirror() {
    EXPECT_TRUE(Mirror::Init(dir_.path() / "m", TestConfig()));
    return std::move(*Mirror::Open(dir_.path() / "m"));
  }
  RevisionId Load(const TestDocument& document, bool commit) {
    const auto lock = JobLock::Acquire(mirror_.path(), "sync");
    auto load = CatalogLoad::Open(mirror_, *lock, "sync");
    EXPECT_TRUE(load->Add(document.Incoming()));
    RevisionId id = 0;
    EXPECT_TRUE(load->ForEachLoaded([&](RevisionRelations& r) -> Result<void> {
      id = r.row.id;
      return {};
    }));
    if (commit) {
      EXPECT_TRUE(load->Prepare());
      EXPECT_TRUE(load->BeginCommit("sync")->Finish());
    }
    return id;
  }
  static TestDocument Large() {
    TestDocument document;
    document.id = {TestGuid(1, 1), 1};
    for (int i = 0; i < 1500; ++i) {
      document.property_children += "<upd:Extra>" + std::to_string(i) +
                                    std::string(400, static_cast<char>('a' + i % 26)) +
                                    "</upd:Extra>";
    }
    return document;
  }
  static std::string ReadAll(const protocol::StoredBytes& bytes) {
    auto source = bytes.Open();
    MemorySink sink(1 << 30);
    EXPECT_TRUE(Copy(**source, sink, 1 << 30));
    return std::string(AsText(sink.bytes()));
  }

  TemporaryDirectory dir_;
  Mirror mirror_;
};

TEST_F(DocumentStoreTest, GivesSmallAndLargeDocumentsThatOutliveIt) {
  TestDocument small;
  small.id = {TestGuid(2, 2), 1};
  const auto small_id = Load(small, true);
  const auto large_id = Load(Large(), true);
  std::shared_ptr<const protocol::StoredBytes> first;
  std::shared_ptr<const protocol::StoredBytes> second;
  {
    auto store = DocumentStore::Open(mirror_.path());
    ASSERT_TRUE(store.has_value());
    first = store->Find(small_id).value();
    second = store->Find(large_id).value();
  }
  EXPECT_EQ(ReadAll(*first), small.Text());
  EXPECT_EQ(second->size_bytes(), Large().Text().size());
  EXPECT_EQ(ReadAll(*second), Large().Text());
  EXPECT_EQ(ReadAll(*second), Large().Text());  // each Open starts afresh
}

TEST_F(DocumentStoreTest, WhatIsNotPublishedIsNotThere) {
  const auto id = Load(Large(), false);
  auto store = DocumentStore::Open(mirror_.path());
  EXPECT_EQ(store->Find(id).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store->Find(12345).error().code, ErrorCode::kNotFound);
}

TEST_F(DocumentStoreTest, AMissingPartIsSaidAndNotPassedOver) {
  const auto id = Load(Large(), true);
  auto store = DocumentStore::Open(mirror_.path());
  const auto document = store->Find(id).value();
  ASSERT_TRUE(mirror_.db().Run("DELETE FROM document_part WHERE id & 4095 = 1"));
  auto source = document->Open();
  MemorySink sink(1 << 30);
  const auto copied = Copy(**source, sink, 1 << 30);
  ASSERT_FALSE(copied.has_value());
  EXPECT_EQ(copied.error().code, ErrorCode::kCorrupt);
  MemorySink again(1 << 30);
  EXPECT_EQ(mirror_.catalog().CopyDocument(id, again).error().code, ErrorCode::kCorrupt);
}

TEST_F(DocumentStoreTest, ADamagedTableFailsReadingAndLoadingWithoutHarm) {
  Load(Large(), true);
  const auto before = mirror_.catalog().Published()->name;
  ASSERT_TRUE(
      mirror_.db().ExecuteScript("ALTER TABLE superseded RENAME TO gone;"
                                 "ALTER TABLE revision_text RENAME TO gone_too"));
  const auto failed =
      mirror_.catalog().ForEachRelations(0, [](RevisionRelations&) -> Result<void> { return {}; });
  EXPECT_FALSE(failed.has_value());
  TestDocument other;
  other.id = {TestGuid(2, 2), 1};
  {
    const auto lock = JobLock::Acquire(mirror_.path(), "sync");
    auto load = CatalogLoad::Open(mirror_, *lock, "sync");
    ASSERT_TRUE(load->Add(other.Incoming()));
    EXPECT_FALSE(load->Flush());
    EXPECT_FALSE(load->Prepare());
    EXPECT_FALSE(load->BeginCommit("sync"));  // not prepared
    ASSERT_TRUE(
        mirror_.db().ExecuteScript("ALTER TABLE gone RENAME TO superseded;"
                                   "ALTER TABLE gone_too RENAME TO revision_text"));
    ASSERT_TRUE(load->Prepare());  // the same load goes on
    EXPECT_EQ(mirror_.catalog().Published()->name, before);
    ASSERT_TRUE(load->BeginCommit("sync")->Finish());
  }
  EXPECT_EQ(mirror_.catalog().Published()->name.generation, before.generation + 1);
}

TEST_F(DocumentStoreTest, FragmentsAreMadeAgainWhenTheirFileIsGone) {
  const auto id = Load(Large(), true);
  {
    // All handles closed, then the derived file deleted, as an operator may do.
    Mirror moved = std::move(mirror_);
  }
  for (const char* name : {"fragments.db", "fragments.db-wal", "fragments.db-shm"}) {
    ASSERT_TRUE(RemoveFile(dir_.path() / "m" / name));
  }
  mirror_ = std::move(*Mirror::Open(dir_.path() / "m"));
  EXPECT_EQ((*mirror_.fragments())->Derivation().value(), 0);
  TestDocument other;
  other.id = {TestGuid(2, 2), 1};
  Load(other, true);  // a load repairs it first
  EXPECT_EQ((*mirror_.fragments())->Derivation().value(), protocol::kFragmentDerivation);
  EXPECT_TRUE((*mirror_.fragments())->FindCore(id).value().has_value());
}

TEST_F(DocumentStoreTest, StoredBucketsEqualComputedOnes) {
  Load(Large(), true);
  TestDocument other;
  other.id = {TestGuid(2, 2), 1};
  Load(other, true);
  EXPECT_EQ(ComputeDocumentBuckets(mirror_.db()).value(),
            mirror_.catalog().DocumentBuckets().value());
}

TEST_F(DocumentStoreTest, AWriterOfAnotherProcessMakesABusyErrorAndNoHarm) {
  MirrorOptions impatient;
  impatient.database.busy_timeout = std::chrono::milliseconds(20);
  Mirror other = std::move(*Mirror::Open(dir_.path() / "m", impatient));
  const auto before = mirror_.catalog().Published()->name;
  auto tx = Transaction::Begin(mirror_.db(), TransactionKind::kWrite);
  ASSERT_TRUE(tx.has_value());
  const auto refused = other.intent().AddGroup("x", kAllComputers, "user:test");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kBusy);
  EXPECT_EQ(other.catalog().Published()->name, before);  // readers are not held up
  tx->Rollback();
  EXPECT_TRUE(other.intent().AddGroup("x", kAllComputers, "user:test"));
}

}  // namespace
}  // namespace gapferry::mirror
