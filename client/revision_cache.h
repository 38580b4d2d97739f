#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "client/fragment_reader.h"
#include "protocol/wusp_messages.h"

namespace gapferry::client {

/// What a client remembers of its dealings with one server.
struct Session {
  std::string server;      ///< URL of the root
  std::string user_group;  ///< target group named at the last authorization
  protocol::Cookie cookie;
  UtcTime config_last_change;
  bool has_config = false;
  bool is_registration_required = true;
  std::string registered_as;  ///< digest of what RegisterComputer was told; empty: not yet
  std::int32_t max_extended_per_request = 50;
};

/// One revision as the server last described it.
struct CachedRevision {
  std::int32_t id = 0;  ///< the server's
  bool is_leaf = true;
  bool is_driver = false;
  protocol::Deployment deployment;
  std::string core_text;
  std::optional<std::string> extended_text;  ///< with the localized text, when they were asked for
  std::string localized_text;

  CoreFragment core;
  ExtendedFragment extended;
};

/// The revisions a client has been told of, and its session, on disk. The file is a journal of JSON
/// lines: changes are appended and become one with their `commit` line, so the cookie (which says
/// what the server believes us to know) always fits the revisions; a torn tail is cut off when the
/// file is opened. It is written anew when most of it is outdated. Not thread-safe.
class RevisionCache {
 public:
  /// Fails with kCorrupt when the file is no journal of ours; the fix is to delete it.
  static Result<RevisionCache> Open(const std::filesystem::path& file);
  RevisionCache(RevisionCache&&) = default;

  const std::map<std::int32_t, CachedRevision>& revisions() const { return revisions_; }
  const CachedRevision* Find(std::int32_t id) const;
  const Session& session() const { return session_; }

  /// Nothing below is on disk before Commit.
  void SetSession(Session session);
  /// Adds or replaces; fails with kCorrupt when the core fragment cannot be read.
  Result<void> Put(std::int32_t id, bool is_leaf, bool is_driver,
                   const protocol::Deployment& deployment, std::string core_text);
  /// Unknown ids are ignored.
  void Change(std::int32_t id, bool is_leaf, const protocol::Deployment& deployment);
  Result<void> SetExtended(std::int32_t id, std::string extended_text, std::string localized_text);
  void Drop(std::span<const std::int32_t> ids);
  void Clear();
  /// After RefreshCache: every revision gets the id, leafness and deployment of its answer; what
  /// was not answered is dropped.
  void Renumber(std::span<const protocol::RefreshCacheResult> answers);

  Result<void> Commit();

 private:
  explicit RevisionCache(std::filesystem::path path) : path_(std::move(path)) {}
  Result<void> Load();
  Result<void> ApplyLine(std::string_view line);
  Result<void> Rewrite();

  std::filesystem::path path_;
  std::map<std::int32_t, CachedRevision> revisions_;
  Session session_;
  std::string pending_;  // lines of the open change
  std::uint64_t file_bytes_ = 0;
  std::uint64_t live_bytes_ = 0;  // size of the file when it was last written anew
};

}  // namespace gapferry::client
