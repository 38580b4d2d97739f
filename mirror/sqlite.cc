#include "mirror/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cerrno>
#include <unordered_map>
#include <utility>

namespace gapferry::mirror {

namespace internal {

struct PreparedStatement {
  PreparedStatement(sqlite3_stmt* s, std::string text) : stmt(s), sql(std::move(text)) {}
  PreparedStatement(const PreparedStatement&) = delete;
  PreparedStatement& operator=(const PreparedStatement&) = delete;
  ~PreparedStatement() { sqlite3_finalize(stmt); }
  sqlite3_stmt* stmt;
  std::string sql;
};

struct SqlHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>()(text);
  }
};

struct Connection {
  Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    idle.clear();
    sqlite3_close_v2(db);
  }
  sqlite3* db = nullptr;
  std::filesystem::path path;
  std::unordered_map<std::string, std::vector<std::unique_ptr<PreparedStatement>>, SqlHash,
                     std::equal_to<>>
      idle;
};

namespace {

ErrorCode CodeFor(int extended) {
  switch (extended & 0xff) {
    case SQLITE_FULL:
      return ErrorCode::kNoSpace;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ErrorCode::kBusy;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorCode::kCorrupt;
    default:
      return ErrorCode::kInternal;
  }
}

std::string OneLine(std::string_view sql) {
  constexpr std::size_t kShown = 160;
  std::string line;
  for (const char c : sql) {
    const bool blank = c == ' ' || c == '\n' || c == '\t';
    if (blank && (line.empty() || line.back() == ' ')) continue;
    if (line.size() == kShown) return line + "...";
    line += blank ? ' ' : c;
  }
  return line;
}

Error ErrorOf(const Connection& connection, int code, std::string_view sql) {
  const int extended = connection.db ? sqlite3_extended_errcode(connection.db) : code;
  const char* text = connection.db ? sqlite3_errmsg(connection.db) : sqlite3_errstr(code);
  Error error;
  error.code = CodeFor(extended);
  if ((extended & 0xff) == SQLITE_IOERR && connection.db != nullptr) {
    // A full disk is met in many places, and told by the system's number only.
    const int system = sqlite3_system_errno(connection.db);
    if (system == ENOSPC || system == EDQUOT) error.code = ErrorCode::kNoSpace;
  }
  error.message = fmt::format("{}: {} (sqlite {})", connection.path.string(), text, extended);
  if (!sql.empty()) error.message += fmt::format(" in '{}'", OneLine(sql));
  return error;
}

Result<void> Execute(Connection& connection, const char* sql) {
  const int code = sqlite3_exec(connection.db, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return std::unexpected(ErrorOf(connection, code, sql));
  return {};
}

}  // namespace
}  // namespace internal

using internal::Connection;
using internal::PreparedStatement;

// ---- Statement ---------------------------------------------------------------------------------

Statement::Statement(std::unique_ptr<PreparedStatement> statement,
                     std::shared_ptr<Connection> connection)
    : statement_(std::move(statement)), connection_(std::move(connection)) {}

Statement::Statement(Statement&& other) noexcept = default;

Statement::~Statement() {
  if (!statement_) return;
  sqlite3_reset(statement_->stmt);
  sqlite3_clear_bindings(statement_->stmt);
  auto place = connection_->idle.find(statement_->sql);
  if (place == connection_->idle.end())
    place = connection_->idle.try_emplace(statement_->sql).first;
  place->second.push_back(std::move(statement_));
}

namespace {
void KeepFirst(std::optional<Error>& kept, Error error) {
  if (!kept) kept = std::move(error);
}
}  // namespace

Statement& Statement::BindNull(int index) {
  const int code = sqlite3_bind_null(statement_->stmt, index);
  if (code != SQLITE_OK) KeepFirst(error_, internal::ErrorOf(*connection_, code, statement_->sql));
  return *this;
}

Statement& Statement::Bind(int index, std::int64_t value) {
  const int code = sqlite3_bind_int64(statement_->stmt, index, value);
  if (code != SQLITE_OK) KeepFirst(error_, internal::ErrorOf(*connection_, code, statement_->sql));
  return *this;
}

Statement& Statement::Bind(int index, std::string_view text) {
  // A null pointer would bind NULL.
  const char* data = text.data() ? text.data() : "";
  const int code = sqlite3_bind_text64(statement_->stmt, index, data, text.size(), SQLITE_TRANSIENT,
                                       SQLITE_UTF8);
  if (code != SQLITE_OK) KeepFirst(error_, internal::ErrorOf(*connection_, code, statement_->sql));
  return *this;
}

Statement& Statement::Bind(int index, ByteView blob) {
  const void* data = blob.data() ? static_cast<const void*>(blob.data()) : "";
  const int code =
      sqlite3_bind_blob64(statement_->stmt, index, data, blob.size(), SQLITE_TRANSIENT);
  if (code != SQLITE_OK) KeepFirst(error_, internal::ErrorOf(*connection_, code, statement_->sql));
  return *this;
}

Result<bool> Statement::Step() {
  if (error_) return std::unexpected(*error_);
  const int code = sqlite3_step(statement_->stmt);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  Error error = internal::ErrorOf(*connection_, code, statement_->sql);
  sqlite3_reset(statement_->stmt);
  return std::unexpected(std::move(error));
}

Result<void> Statement::Run() {
  auto row = Step();
  sqlite3_reset(statement_->stmt);
  if (!row) return std::unexpected(std::move(row).error());
  if (*row) {
    return Fail(ErrorCode::kInternal,
                fmt::format("{}: unexpected row from '{}'", connection_->path.string(),
                            internal::OneLine(statement_->sql)));
  }
  return {};
}

void Statement::Reset() {
  sqlite3_reset(statement_->stmt);
  error_.reset();
}

Result<void> Statement::Check() const {
  if (error_) return std::unexpected(*error_);
  return {};
}

void Statement::Fault(int column, std::size_t expected_bytes) {
  Error error;
  error.code = ErrorCode::kCorrupt;
  error.message = fmt::format(
      "{}: column {} of '{}': type {} with {} bytes is not the expected {}",
      connection_->path.string(), column, internal::OneLine(statement_->sql),
      sqlite3_column_type(statement_->stmt, column), sqlite3_column_bytes(statement_->stmt, column),
      expected_bytes ? fmt::format("{} bytes", expected_bytes) : "type");
  KeepFirst(error_, std::move(error));
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(statement_->stmt, column) == SQLITE_NULL;
}

std::int64_t Statement::Int(int column) {
  if (sqlite3_column_type(statement_->stmt, column) != SQLITE_INTEGER) return Fault(column, 0), 0;
  return sqlite3_column_int64(statement_->stmt, column);
}

std::int32_t Statement::Int32(int column) {
  const std::int64_t value = Int(column);
  if (!std::in_range<std::int32_t>(value)) return Fault(column, 4), 0;
  return static_cast<std::int32_t>(value);
}

std::string_view Statement::Text(int column) {
  if (sqlite3_column_type(statement_->stmt, column) != SQLITE_TEXT) return Fault(column, 0), "";
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_->stmt, column));
  return {text, static_cast<std::size_t>(sqlite3_column_bytes(statement_->stmt, column))};
}

ByteView Statement::Blob(int column) {
  if (sqlite3_column_type(statement_->stmt, column) != SQLITE_BLOB) {
    return Fault(column, 0), ByteView();
  }
  const auto* data =
      static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_->stmt, column));
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_->stmt, column))};
}

Guid Statement::GuidAt(int column) {
  auto guid = Guid::FromBytes(Blob(column));
  if (!guid) return Fault(column, 16), Guid();
  return *guid;
}

std::optional<std::int64_t> Statement::OptionalInt(int column) {
  if (IsNull(column)) return std::nullopt;
  return Int(column);
}

std::optional<std::string> Statement::OptionalString(int column) {
  if (IsNull(column)) return std::nullopt;
  return String(column);
}

std::optional<UtcTime> Statement::OptionalTime(int column) {
  if (IsNull(column)) return std::nullopt;
  return Time(column);
}

// ---- Database ----------------------------------------------------------------------------------

Database::Database(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
Database::Database(Database&&) noexcept = default;
Database& Database::operator=(Database&&) noexcept = default;
Database::~Database() = default;

Result<Database> Database::Open(const std::filesystem::path& path, const DatabaseOptions& options) {
  // Counting what is allocated takes a lock that all threads share, at each allocation.
  static const int uncounted = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  static_cast<void>(
      uncounted);  // refused where a library has used SQLite before: then it is slower
  auto connection = std::make_shared<Connection>();
  connection->path = path;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                    (options.create ? SQLITE_OPEN_CREATE : 0);
  const int code = sqlite3_open_v2(path.c_str(), &connection->db, flags, nullptr);
  if (code != SQLITE_OK) return std::unexpected(internal::ErrorOf(*connection, code, "open"));
  sqlite3_busy_timeout(connection->db, static_cast<int>(options.busy_timeout.count()));
  // page_size works on a new file only. The limit on the WAL applies after a checkpoint.
  const std::string pragmas = fmt::format(
      "PRAGMA page_size=16384; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
      "PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; PRAGMA journal_size_limit=67108864;"
      "PRAGMA cache_size=-{}; PRAGMA mmap_size={};",
      options.cache_bytes / 1024, options.mmap_bytes);
  TRY(internal::Execute(*connection, pragmas.c_str()));
  if (options.max_pages > 0) {
    TRY(internal::Execute(*connection,
                          fmt::format("PRAGMA max_page_count={}", options.max_pages).c_str()));
  }
  return Database(std::move(connection));
}

Result<Statement> Database::Prepare(std::string_view sql) {
  const auto place = connection_->idle.find(sql);
  if (place != connection_->idle.end() && !place->second.empty()) {
    auto statement = std::move(place->second.back());
    place->second.pop_back();
    return Statement(std::move(statement), connection_);
  }
  sqlite3_stmt* stmt = nullptr;
  const char* rest = nullptr;
  const int code = sqlite3_prepare_v3(connection_->db, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &stmt, &rest);
  if (code != SQLITE_OK) return std::unexpected(internal::ErrorOf(*connection_, code, sql));
  auto statement = std::make_unique<PreparedStatement>(stmt, std::string(sql));
  if (stmt == nullptr || rest != sql.data() + sql.size()) {
    return Fail(ErrorCode::kInternal, fmt::format("not one SQL statement: '{}'", sql));
  }
  return Statement(std::move(statement), connection_);
}

Result<void> Database::ExecuteScript(std::string_view sql) {
  return internal::Execute(*connection_, std::string(sql).c_str());
}

std::int64_t Database::LastInsertRowId() const {
  return sqlite3_last_insert_rowid(connection_->db);
}
std::int64_t Database::ChangedRows() const { return sqlite3_changes64(connection_->db); }

Result<std::int64_t> Database::DataVersion() {
  TRY_ASSIGN(const auto value, QueryInt("PRAGMA data_version"));
  return value.value_or(0);
}

Result<std::int64_t> Database::UserVersion() {
  TRY_ASSIGN(const auto value, QueryInt("PRAGMA user_version"));
  return value.value_or(0);
}

Result<void> Database::Checkpoint() {
  const int code = sqlite3_wal_checkpoint_v2(connection_->db, nullptr, SQLITE_CHECKPOINT_PASSIVE,
                                             nullptr, nullptr);
  if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) {
    return std::unexpected(internal::ErrorOf(*connection_, code, "checkpoint"));
  }
  return {};
}

Result<std::vector<std::string>> Database::CheckIntegrity(int limit) {
  std::vector<std::string> wrong;
  TRY_ASSIGN(auto check, Prepare(fmt::format("PRAGMA integrity_check({})", limit)));
  for (;;) {
    TRY_ASSIGN(const bool row, check.Step());
    if (!row) break;
    if (check.Text(0) != "ok") wrong.push_back(check.String(0));
  }
  TRY_ASSIGN(auto keys, Prepare("PRAGMA foreign_key_check"));
  while (static_cast<int>(wrong.size()) < limit) {
    TRY_ASSIGN(const bool row, keys.Step());
    if (!row) break;
    wrong.push_back(fmt::format("{} row {} refers to a missing row of {}", keys.Text(0),
                                keys.OptionalInt(1).value_or(0), keys.Text(2)));
  }
  return wrong;
}

const std::filesystem::path& Database::path() const { return connection_->path; }
bool Database::in_transaction() const { return sqlite3_get_autocommit(connection_->db) == 0; }

// ---- Transaction -------------------------------------------------------------------------------

Transaction::Transaction(std::shared_ptr<Connection> connection)
    : connection_(std::move(connection)) {}
Transaction::Transaction(Transaction&& other) noexcept = default;
Transaction& Transaction::operator=(Transaction&& other) noexcept {
  if (this != &other) {
    Rollback();
    connection_ = std::move(other.connection_);
  }
  return *this;
}
Transaction::~Transaction() { Rollback(); }

Result<Transaction> Transaction::Begin(Database& db, TransactionKind kind) {
  const char* sql = kind == TransactionKind::kWrite ? "BEGIN IMMEDIATE" : "BEGIN";
  TRY(db.Run(sql));
  return Transaction(db.connection_);
}

Result<void> Transaction::Commit() {
  if (!connection_) return Fail(ErrorCode::kInternal, "transaction has ended already");
  TRY(internal::Execute(*connection_, "COMMIT"));  // a failure leaves it to be rolled back
  connection_.reset();
  return {};
}

void Transaction::Rollback() {
  if (!connection_) return;
  // SQLite has rolled back by itself after some errors; then there is nothing left to do.
  if (sqlite3_get_autocommit(connection_->db) == 0) {
    sqlite3_exec(connection_->db, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  connection_.reset();
}

// ---- Schema ------------------------------------------------------------------------------------

Result<void> BringToCurrentSchema(Database& db, const SchemaScripts& scripts) {
  const auto newest = static_cast<std::int64_t>(scripts.migrations.size());
  TRY_ASSIGN(std::int64_t version, db.UserVersion());
  if (version == newest) return {};
  TRY_ASSIGN(auto tx, Transaction::Begin(db, TransactionKind::kWrite));
  TRY_ASSIGN(version, db.UserVersion());  // another process may have been faster
  if (version > newest) {
    return Fail(ErrorCode::kUnsupported, "newer-schema",
                fmt::format("{}: schema version {} is newer than this program's {}",
                            db.path().string(), version, newest));
  }
  if (version == newest) return {};
  TRY_ASSIGN(const auto tables, db.QueryInt("SELECT count(*) FROM sqlite_schema"));
  if (version == 0 && tables.value_or(0) == 0) {
    TRY(db.ExecuteScript(scripts.schema), scripts.name);
  } else {
    for (; version < newest; ++version) {
      TRY(db.ExecuteScript(scripts.migrations[static_cast<std::size_t>(version)]),
          fmt::format("{}: migration {}", scripts.name, version + 1));
    }
  }
  TRY(db.ExecuteScript(fmt::format("PRAGMA user_version={}", newest)));
  return tx.Commit();
}

}  // namespace gapferry::mirror
