#include "mirror/mirror.h"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/file.h"
#include "base/text.h"
#include "mirror/activity.h"
#include "mirror/catalog.h"
#include "mirror/content_store.h"
#include "mirror/digest_tree.h"
#include "mirror/fragment_store.h"
#include "mirror/intent.h"
#include "mirror/job_history.h"

namespace gapferry::mirror {

namespace {

constexpr const char* kConfigName = "gapferry.yaml";
/// Written first and removed last by Init: what lies beside it may be thrown away.
constexpr const char* kUnfinishedName = "init.unfinished";

Result<Database> OpenDatabase(const std::filesystem::path& path, const SchemaScripts& scripts,
                              DatabaseOptions options, bool create) {
  options.create = create;
  TRY_ASSIGN(auto db, Database::Open(path, options));
  TRY(BringToCurrentSchema(db, scripts));
  return db;
}

Result<void> RemoveUnfinished(const std::filesystem::path& directory) {
  TRY_ASSIGN(const auto names, ListDirectory(directory));
  for (const auto& name : names) {
    if (name != kUnfinishedName && name != "lost+found") TRY(RemoveTree(directory / name));
  }
  return {};
}

Result<void> PrepareDirectory(const std::filesystem::path& directory) {
  TRY(CreateDirectories(directory, 0750));
  TRY_ASSIGN(const auto names, ListDirectory(directory));
  const auto has = [&](std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (has(kConfigName)) {
    return Fail(ErrorCode::kUsage, "mirror-exists",
                fmt::format("'{}' is a mirror already", directory.string()));
  }
  if (has(kUnfinishedName)) return RemoveUnfinished(directory);
  for (const auto& name : names) {
    if (name != "lost+found") {
      return Fail(ErrorCode::kUsage, "not-empty",
                  fmt::format("directory '{}' is not empty: it holds '{}'", directory.string(),
                              EscapeForDisplay(name)));
    }
  }
  return WriteFileAtomically(directory / kUnfinishedName, {});
}

/// Generation 0: nothing is there, which is a state with digests like every other.
Result<void> WriteFirstState(Database& db, const Clock& clock) {
  const Guid epoch = Guid::Random();
  const Sha256Digest documents = EmptyTreeRoot();
  const Sha256Digest intent = EmptyTreeRoot();
  const Sha256Digest state = StateDigest(documents, intent);
  const Sha256Digest change = Sha256("gapferry-change/1\n");
  const UtcTime now = ToWholeMilliseconds(clock.Now());
  TRY_ASSIGN(auto tx, Transaction::Begin(db, TransactionKind::kWrite));
  TRY(db.Run(
      "INSERT INTO generation_log (generation, epoch, chain, change_digest, "
      "documents_digest, intent_digest, state_digest, passed_on_digest, committed_at, kind) "
      "VALUES (0, ?, ?, ?, ?, ?, ?, ?, ?, 'init')",
      epoch, NextChain(Sha256Digest{}, change), change, documents, intent, state, state, now));
  TRY(db.Run("INSERT INTO catalog_count VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0)"));
  TRY(db.Run("INSERT INTO mirror (id, guid, epoch, created_at, published) VALUES (1, ?, ?, ?, 0)",
             Guid::Random(), epoch, now));
  return tx.Commit();
}

Result<void> CheckOwner(const std::filesystem::path& directory) {
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0) {
    return FailErrno(errno, fmt::format("mirror '{}'", directory.string()));
  }
  if (status.st_uid == ::geteuid()) return {};
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> buffer;
  std::string owner = fmt::format("#{}", status.st_uid);
  if (::getpwuid_r(status.st_uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found) {
    owner = found->pw_name;
  }
  return Fail(ErrorCode::kUsage, "wrong-owner",
              fmt::format("mirror '{}' belongs to user '{}'; type: sudo -u '{}' gapferry ...",
                          directory.string(), owner, owner));
}

/// Its absolute path, for its owner.
Result<std::filesystem::path> FindMirror(const std::filesystem::path& directory) {
  std::error_code error;
  auto path = std::filesystem::absolute(directory, error);
  if (error || !std::filesystem::exists(path / kConfigName, error)) {
    return Fail(ErrorCode::kNotFound, "no-mirror",
                fmt::format("'{}' is no mirror: it holds no {}", directory.string(), kConfigName));
  }
  TRY(CheckOwner(path));
  return path;
}

Result<Identity> ReadIdentity(Database& db, const std::string& name) {
  TRY_ASSIGN(auto row, db.Prepare("SELECT guid, epoch FROM mirror WHERE id = 1"));
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) {
    return Fail(ErrorCode::kCorrupt, fmt::format("{}: no identity", db.path().string()));
  }
  Identity identity{row.GuidAt(0), row.GuidAt(1), name, 0};
  TRY(row.Check());
  return identity;
}

}  // namespace

struct Mirror::Impl {
  Impl(std::filesystem::path p, Config c, Identity i, const MirrorOptions& o, Database database)
      : path(std::move(p)),
        config(std::move(c)),
        identity(std::move(i)),
        options(o),
        db(std::move(database)),
        self(std::shared_ptr<Impl>(std::shared_ptr<Impl>(), this)),
        catalog(db),
        intent(self),
        jobs(db, *options.clock),
        content(db, path) {}

  const std::filesystem::path path;
  const Config config;
  const Identity identity;
  const MirrorOptions options;
  Database db;
  Mirror self;  // what the parts refer to: stays where it is when the user's handle moves
  Catalog catalog;
  Intent intent;
  JobHistory jobs;
  ContentStore content;
  std::optional<FragmentStore> fragments;
  std::optional<Activity> activity;
};

Mirror::Mirror(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Mirror::Mirror(Mirror&&) noexcept = default;
Mirror& Mirror::operator=(Mirror&&) noexcept = default;
Mirror::~Mirror() = default;

Result<void> Mirror::Init(const std::filesystem::path& directory, const Config& config,
                          const MirrorOptions& options) {
  // What would not be read back must not be written.
  TRY(ParseConfig(WriteConfig(config), kConfigName), "configuration");
  TRY(PrepareDirectory(directory));
  TRY(CreateKeys(directory));
  for (const char* name : {"content", "staging"}) TRY(CreateDirectories(directory / name));
  {
    TRY_ASSIGN(auto catalog, OpenDatabase(directory / "catalog.db", CatalogSchema(),
                                          options.database, /*create=*/true));
    TRY(WriteFirstState(catalog, *options.clock));
    TRY_ASSIGN(auto fragments, FragmentStore::Open(directory / "fragments.db", options.database));
    TRY(fragments.SetDerivation(protocol::kFragmentDerivation, kNever));
    TRY(Activity::Open(directory / "activity.db", *options.clock, options.database));
  }
  const std::string text = WriteConfig(config);
  TRY(SyncFileSystem(directory));
  TRY(WriteFileAtomically(directory / kConfigName, AsBytes(text)));
  return RemoveFile(directory / kUnfinishedName);
}

Result<Mirror> Mirror::Open(const std::filesystem::path& directory, const MirrorOptions& options) {
  TRY_ASSIGN(const auto path, FindMirror(directory));
  TRY_ASSIGN(Config config, LoadConfig(path / kConfigName));
  return Open(path, options, std::move(config));
}

Result<Mirror> Mirror::Open(const std::filesystem::path& directory, const MirrorOptions& options,
                            Config config) {
  TRY_ASSIGN(const auto path, FindMirror(directory));
  TRY_ASSIGN(auto db, OpenDatabase(path / "catalog.db", CatalogSchema(), options.database,
                                   /*create=*/false));
  TRY_ASSIGN(Identity identity, ReadIdentity(db, config.name));
  TRY_ASSIGN(identity.key_number, FinishKeyChange(path / "keys"));
  TRY(CreateDirectories(path / "staging"));
  return Mirror(
      std::make_shared<Impl>(path, std::move(config), std::move(identity), options, std::move(db)));
}

const std::filesystem::path& Mirror::path() const { return impl_->path; }
std::filesystem::path Mirror::staging() const { return impl_->path / "staging"; }
const Config& Mirror::config() const { return impl_->config; }
const Identity& Mirror::identity() const { return impl_->identity; }
const Clock& Mirror::clock() const { return *impl_->options.clock; }
KeyPaths Mirror::keys() const {
  KeyPaths paths = KeyPathsOf(impl_->path);
  const std::string& signing = impl_->config.keys_signing;
  if (signing.starts_with("pkcs11:")) {
    paths.signing = signing;
  } else if (!signing.empty()) {
    paths.signing = impl_->path / signing;
  }
  return paths;
}
Database& Mirror::db() { return impl_->db; }
Catalog& Mirror::catalog() { return impl_->catalog; }
Intent& Mirror::intent() { return impl_->intent; }
JobHistory& Mirror::jobs() { return impl_->jobs; }
ContentStore& Mirror::content() { return impl_->content; }

Result<FragmentStore*> Mirror::fragments() {
  if (!impl_->fragments) {
    TRY_ASSIGN(auto store, FragmentStore::Open(path() / "fragments.db", impl_->options.database));
    impl_->fragments.emplace(std::move(store));
  }
  return &*impl_->fragments;
}

Result<Activity*> Mirror::activity() {
  if (!impl_->activity) {
    TRY_ASSIGN(auto activity,
               Activity::Open(path() / "activity.db", clock(), impl_->options.database));
    impl_->activity.emplace(std::move(activity));
  }
  return &*impl_->activity;
}

}  // namespace gapferry::mirror
