#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/guid.h"
#include "base/hash.h"
#include "base/result.h"

namespace gapferry::mirror {

namespace internal {
struct Connection;
struct PreparedStatement;
}  // namespace internal

/// A prepared statement on loan from its database's cache: reset and given back on destruction.
/// Errors of Bind are kept and returned by the next Step or Run, so that calls can be chained.
/// Texts and blobs are copied at Bind; views from columns end with the next Step, Reset or the
/// destruction. Reading a column of another type than stored is a corrupt database: the getters
/// then give an empty value and the next Step (or Check) fails with kCorrupt. Thread: the
/// database's. Must not outlive its database.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  Statement& BindNull(int index);
  Statement& Bind(int index, std::int64_t value);
  template <std::integral T>
  Statement& Bind(int index, T value) {
    return Bind(index, static_cast<std::int64_t>(value));
  }
  Statement& Bind(int index, std::string_view text);
  Statement& Bind(int index, const char* text) { return Bind(index, std::string_view(text)); }
  Statement& Bind(int index, const std::string& text) {
    return Bind(index, std::string_view(text));
  }
  Statement& Bind(int index, ByteView blob);
  Statement& Bind(int index, const Bytes& blob) { return Bind(index, ByteView(blob)); }
  Statement& Bind(int index, const Guid& guid) { return Bind(index, guid.View()); }
  Statement& Bind(int index, UtcTime time) { return Bind(index, time.ticks); }
  template <std::size_t N>
  Statement& Bind(int index, const Digest<N>& digest) {
    return Bind(index, digest.View());
  }
  template <class T>
  Statement& Bind(int index, const std::optional<T>& value) {
    return value ? Bind(index, *value) : BindNull(index);
  }
  /// Binds 1, 2, 3 ... in order.
  template <class... Args>
  Statement& BindAll(const Args&... args) {
    int index = 0;
    (Bind(++index, args), ...);
    return *this;
  }

  /// true: a row is there; false: the end.
  Result<bool> Step();
  /// Executes a statement that gives no rows and resets it, ready for the next binding.
  Result<void> Run();
  template <class... Args>
  Result<void> Run(const Args&... args) requires(sizeof...(Args) > 0) {
    BindAll(args...);
    return Run();
  }
  void Reset();
  /// The error of a column read so far, if any: call it after the last row's columns are read.
  Result<void> Check() const;

  bool IsNull(int column) const;
  std::int64_t Int(int column);
  std::int32_t Int32(int column);
  bool Bool(int column) { return Int(column) != 0; }
  std::string_view Text(int column);
  std::string String(int column) { return std::string(Text(column)); }
  ByteView Blob(int column);
  Guid GuidAt(int column);
  UtcTime Time(int column) { return UtcTime{Int(column)}; }
  template <class D>
  D DigestAt(int column) {
    auto digest = D::FromBytes(Blob(column));
    if (!digest) return Fault(column, D::kSize), D{};
    return *digest;
  }
  std::optional<std::int64_t> OptionalInt(int column);
  std::optional<std::string> OptionalString(int column);
  std::optional<UtcTime> OptionalTime(int column);
  template <class D>
  std::optional<D> OptionalDigest(int column) {
    if (IsNull(column)) return std::nullopt;
    return DigestAt<D>(column);
  }

 private:
  friend class Database;
  explicit Statement(std::unique_ptr<internal::PreparedStatement> statement,
                     std::shared_ptr<internal::Connection> connection);
  void Fault(int column, std::size_t expected_bytes);
  std::unique_ptr<internal::PreparedStatement> statement_;
  std::shared_ptr<internal::Connection> connection_;
  std::optional<Error> error_;
};

struct DatabaseOptions {
  bool create = false;
  std::chrono::milliseconds busy_timeout{10'000};
  /// 0: unlimited. Tests set it to see a full disk.
  std::int64_t max_pages = 0;
  std::int64_t cache_bytes = 32 * 1024 * 1024;
  std::int64_t mmap_bytes = 1LL << 30;
};

/// One SQLite connection: WAL, synchronous=FULL, foreign keys on, pages of 16,384 bytes, statements
/// prepared once and kept. Errors carry the file, the statement and the extended result code; a
/// full disk is kNoSpace, a lock not had within the busy timeout kBusy, damage kCorrupt.
/// Thread-compatible; one per thread.
class Database {
 public:
  Database(Database&&) noexcept;
  Database& operator=(Database&&) noexcept;
  ~Database();

  static Result<Database> Open(const std::filesystem::path& path, const DatabaseOptions& options);

  Result<Statement> Prepare(std::string_view sql);
  /// Prepares, binds and runs a statement without rows.
  template <class... Args>
  Result<void> Run(std::string_view sql, const Args&... args) {
    TRY_ASSIGN(auto statement, Prepare(sql));
    statement.BindAll(args...);
    return statement.Run();
  }
  /// The first column of the first row; nullopt when there is no row or it is null.
  template <class... Args>
  Result<std::optional<std::int64_t>> QueryInt(std::string_view sql, const Args&... args) {
    TRY_ASSIGN(auto statement, Prepare(sql));
    statement.BindAll(args...);
    TRY_ASSIGN(const bool row, statement.Step());
    if (!row) return std::optional<std::int64_t>();
    auto value = statement.OptionalInt(0);
    TRY(statement.Check());
    return value;
  }
  /// Several statements separated by ';', without parameters.
  Result<void> ExecuteScript(std::string_view sql);

  std::int64_t LastInsertRowId() const;
  std::int64_t ChangedRows() const;  ///< of the last statement
  /// Changes whenever another connection has committed (PRAGMA data_version).
  Result<std::int64_t> DataVersion();
  Result<std::int64_t> UserVersion();
  /// Writes the WAL back as far as readers allow; never waits for them.
  Result<void> Checkpoint();
  /// PRAGMA integrity_check and foreign_key_check; the lines of what is wrong, at most `limit`.
  Result<std::vector<std::string>> CheckIntegrity(int limit = 100);
  const std::filesystem::path& path() const;
  bool in_transaction() const;

 private:
  friend class Transaction;
  explicit Database(std::shared_ptr<internal::Connection> connection);
  std::shared_ptr<internal::Connection> connection_;
};

enum class TransactionKind {
  kRead,   ///< one consistent view; ends without effect
  kWrite,  ///< takes the write lock at once (BEGIN IMMEDIATE)
};

/// Rolls back unless committed. Does not nest.
class Transaction {
 public:
  static Result<Transaction> Begin(Database& db, TransactionKind kind);
  Transaction(Transaction&& other) noexcept;
  Transaction& operator=(Transaction&& other) noexcept;
  ~Transaction();
  Result<void> Commit();
  void Rollback();

 private:
  explicit Transaction(std::shared_ptr<internal::Connection> connection);
  std::shared_ptr<internal::Connection> connection_;  // null once committed or rolled back
};

/// Brings `db` to the last of `migrations` (SQL scripts numbered from 1, each in one transaction
/// with PRAGMA user_version) or, when it is empty, to `schema` at once. A database of a newer
/// version is refused with kUnsupported.
struct SchemaScripts {
  std::string_view name;  ///< for messages, such as "catalog.db"
  std::string_view schema;
  std::span<const std::string_view> migrations;
};
Result<void> BringToCurrentSchema(Database& db, const SchemaScripts& scripts);
/// The scripts of the three databases of a mirror, embedded at build.
const SchemaScripts& CatalogSchema();
const SchemaScripts& FragmentsSchema();
const SchemaScripts& ActivitySchema();

}  // namespace gapferry::mirror
