#pragma once

#include <filesystem>
#include <memory>

#include "base/result.h"
#include "mirror/sqlite.h"
#include "mirror/state.h"
#include "protocol/answer_body.h"

namespace gapferry::mirror {

/// The documents as they came, to be streamed by other threads than the one that looked them up:
/// what Open gives outlives the store and reads pieces of at most 256 KiB, each in its own
/// transaction, over a connection of its own. Thread-safe.
class DocumentStore {
 public:
  static Result<DocumentStore> Open(const std::filesystem::path& mirror,
                                    const DatabaseOptions& options = {});
  /// Fails with kNotFound for an id that is not published. Small documents are read at once.
  Result<std::shared_ptr<const protocol::StoredBytes>> Find(RevisionId id) const;

 private:
  class Shared;
  explicit DocumentStore(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  std::shared_ptr<Shared> shared_;
};

}  // namespace gapferry::mirror
