#include "mirror/sqlite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "tests/unit/mirror/test_directory.h"

namespace gapferry::mirror {
namespace {

Database OpenNew(const std::filesystem::path& path, DatabaseOptions options = {}) {
  options.create = true;
  auto db = Database::Open(path, options);
  EXPECT_TRUE(db.has_value()) << db.error().message;
  return std::move(*db);
}

class SqliteTest : public testing::Test {
 protected:
  TemporaryDirectory dir_;
  Database db_ = OpenNew(dir_.path() / "a.db");
};

TEST_F(SqliteTest, BindsAndReadsByType) {
  ASSERT_TRUE(db_.ExecuteScript("CREATE TABLE t(i INTEGER, s TEXT, b BLOB, n INTEGER) STRICT"));
  const Guid guid = Guid::Random();
  ASSERT_TRUE(db_.Run("INSERT INTO t VALUES(?,?,?,?)", 7, "", guid, std::optional<std::int64_t>()));
  auto select = db_.Prepare("SELECT i, s, b, n FROM t");
  ASSERT_TRUE(select.has_value());
  ASSERT_TRUE(select->Step().value());
  EXPECT_EQ(select->Int(0), 7);
  EXPECT_EQ(select->Text(1), "");
  EXPECT_EQ(select->GuidAt(2), guid);
  EXPECT_EQ(select->OptionalInt(3), std::nullopt);
  EXPECT_TRUE(select->Check());
  EXPECT_FALSE(select->Step().value());
}

TEST_F(SqliteTest, WrongColumnTypeIsCorrupt) {
  ASSERT_TRUE(db_.ExecuteScript("CREATE TABLE t(s TEXT, b BLOB)"));
  ASSERT_TRUE(db_.Run("INSERT INTO t VALUES('x', x'0102')"));
  auto select = db_.Prepare("SELECT s, b FROM t");
  ASSERT_TRUE(select->Step().value());
  EXPECT_EQ(select->Int(0), 0);
  EXPECT_EQ(select->Check().error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(select->Step().error().code, ErrorCode::kCorrupt);
}

TEST_F(SqliteTest, ErrorsCarryFileStatementAndCode) {
  ASSERT_TRUE(db_.ExecuteScript("CREATE TABLE t(i INTEGER PRIMARY KEY)"));
  ASSERT_TRUE(db_.Run("INSERT INTO t VALUES(1)"));
  const auto failed = db_.Run("INSERT INTO t\n  VALUES(1)");
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().message,
            (dir_.path() / "a.db").string() +
                ": UNIQUE constraint failed: t.i (sqlite 1555) in 'INSERT INTO t VALUES(1)'");
}

TEST_F(SqliteTest, TransactionRollsBackUnlessCommitted) {
  ASSERT_TRUE(db_.ExecuteScript("CREATE TABLE t(i INTEGER)"));
  {
    auto tx = Transaction::Begin(db_, TransactionKind::kWrite);
    ASSERT_TRUE(db_.Run("INSERT INTO t VALUES(1)"));
  }
  EXPECT_EQ(db_.QueryInt("SELECT count(*) FROM t").value(), 0);
  auto tx = Transaction::Begin(db_, TransactionKind::kWrite);
  ASSERT_TRUE(db_.Run("INSERT INTO t VALUES(1)"));
  ASSERT_TRUE(tx->Commit());
  EXPECT_EQ(db_.QueryInt("SELECT count(*) FROM t").value(), 1);
}

TEST_F(SqliteTest, FullDiskIsNoSpaceAndLeavesTheDatabaseUsable) {
  DatabaseOptions options;
  options.max_pages = 8;
  Database small = OpenNew(dir_.path() / "small.db", options);
  ASSERT_TRUE(small.ExecuteScript("CREATE TABLE t(b BLOB)"));
  const Bytes big(200'000);
  const auto failed = small.Run("INSERT INTO t VALUES(?)", big);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(small.QueryInt("SELECT count(*) FROM t").value(), 0);
  EXPECT_TRUE(small.Run("INSERT INTO t VALUES(x'01')"));
}

TEST_F(SqliteTest, LockedDatabaseIsBusy) {
  DatabaseOptions options;
  options.busy_timeout = std::chrono::milliseconds(10);
  Database other = OpenNew(dir_.path() / "a.db", options);
  auto tx = Transaction::Begin(db_, TransactionKind::kWrite);
  ASSERT_TRUE(tx.has_value());
  EXPECT_EQ(Transaction::Begin(other, TransactionKind::kWrite).error().code, ErrorCode::kBusy);
}

TEST_F(SqliteTest, DataVersionMovesWithForeignCommits) {
  Database other = OpenNew(dir_.path() / "a.db");
  ASSERT_TRUE(db_.ExecuteScript("CREATE TABLE t(i INTEGER)"));
  const auto before = db_.DataVersion().value();
  ASSERT_TRUE(other.Run("INSERT INTO t VALUES(1)"));
  EXPECT_NE(db_.DataVersion().value(), before);
}

TEST_F(SqliteTest, GarbageFileIsCorrupt) {
  ASSERT_TRUE(WriteFileAtomically(dir_.path() / "x.db", AsBytes(std::string(20'000, 'x'))));
  EXPECT_EQ(Database::Open(dir_.path() / "x.db", {}).error().code, ErrorCode::kCorrupt);
}

std::string Shape(Database& db) {
  std::string shape;
  auto rows = db.Prepare(
      "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema "
      "WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2");
  while (rows->Step().value()) {
    shape += rows->String(0) + "|" + rows->String(1) + "|" + rows->String(2) + "|";
    // Comments differ between a schema and its migrations.
    bool comment = false;
    const std::string sql = rows->String(3);
    for (std::size_t i = 0; i < sql.size(); ++i) {
      if (sql.compare(i, 2, "--") == 0) comment = true;
      if (sql[i] == '\n') comment = false;
      if (!comment && sql[i] != ' ' && sql[i] != '\n' && sql[i] != '"') shape += sql[i];
    }
    shape += "\n";
  }
  return shape;
}

class SchemaTest : public testing::TestWithParam<const SchemaScripts*> {};

TEST_P(SchemaTest, FreshEqualsMigratedFromTheOldest) {
  TemporaryDirectory dir;
  const SchemaScripts& scripts = *GetParam();
  Database fresh = OpenNew(dir.path() / "fresh.db");
  ASSERT_TRUE(BringToCurrentSchema(fresh, scripts));
  Database old = OpenNew(dir.path() / "old.db");
  ASSERT_TRUE(BringToCurrentSchema(
      old, {scripts.name, scripts.migrations[0], scripts.migrations.subspan(0, 1)}));
  ASSERT_TRUE(BringToCurrentSchema(old, scripts));
  EXPECT_EQ(Shape(fresh), Shape(old));
  EXPECT_EQ(fresh.UserVersion().value(), old.UserVersion().value());
  EXPECT_THAT(fresh.CheckIntegrity().value(), testing::IsEmpty());
}

TEST_P(SchemaTest, NewerVersionIsRefusedAndLeftAlone) {
  TemporaryDirectory dir;
  Database db = OpenNew(dir.path() / "a.db");
  ASSERT_TRUE(db.ExecuteScript("CREATE TABLE later(i); PRAGMA user_version=99"));
  const auto refused = BringToCurrentSchema(db, *GetParam());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(db.UserVersion().value(), 99);
}

INSTANTIATE_TEST_SUITE_P(All, SchemaTest,
                         testing::Values(&CatalogSchema(), &FragmentsSchema(), &ActivitySchema()));

TEST_F(SqliteTest, MigrationsRunInOrderAndFailAsAWhole) {
  constexpr std::array<std::string_view, 3> kScripts{
      "CREATE TABLE a(i);", "ALTER TABLE a ADD COLUMN j;", "CREATE TABLE b(i);"};
  ASSERT_TRUE(BringToCurrentSchema(db_, {"t", kScripts[0], std::span(kScripts).subspan(0, 1)}));
  constexpr std::array<std::string_view, 2> kBroken{"", "CREATE TABLE c(i); CREATE nonsense;"};
  EXPECT_FALSE(BringToCurrentSchema(db_, {"t", "", kBroken}));
  EXPECT_EQ(db_.UserVersion().value(), 1);
  EXPECT_EQ(db_.QueryInt("SELECT count(*) FROM sqlite_schema").value(), 1);
  ASSERT_TRUE(BringToCurrentSchema(db_, {"t", "", kScripts}));
  EXPECT_EQ(db_.UserVersion().value(), 3);
  EXPECT_TRUE(db_.Run("INSERT INTO a(j) VALUES(1)"));
}

}  // namespace
}  // namespace gapferry::mirror
