#pragma once

#include <cstdint>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/guid.h"
#include "base/progress.h"
#include "base/result.h"
#include "exporter/upstream.h"
#include "mirror/mirror.h"
#include "protocol/update_id.h"

namespace gapferry::exporter {

/// What the first of the new updates are, from their documents, which are read and dropped. Of a
/// usual day these are all of them; of a first sync it is a taste.
struct SyncPreview {
  static constexpr std::size_t kMostDocuments = 200;

  struct Update {
    protocol::UpdateId id;
    std::string title;
    bool is_new = false;  ///< no revision of it is here
    bool is_expired = false;
    bool is_deployable = false;
  };
  struct Product {
    Guid guid;
    std::string title;
    std::uint64_t updates = 0;
  };
  std::uint64_t looked_at = 0;  ///< of all new updates
  std::uint64_t of = 0;
  std::vector<Update> updates;  ///< as the upstream lists them, by GUID
  std::vector<Product> products;
  std::vector<protocol::UpdateId> expired;  ///< offered here today, expired by what is new
  std::set<Guid> names;                     ///< that live ones name as prerequisites
};

/// Asks for the documents of the first kMostDocuments of `updates` (and of `categories`, for the
/// titles of new products). Changes nothing. An update that cannot be read or had is left out.
Result<SyncPreview> LookAhead(mirror::Mirror& mirror, Upstream& upstream,
                              const std::vector<protocol::UpdateId>& categories,
                              const std::vector<protocol::UpdateId>& updates, std::size_t batch,
                              Progress& progress, std::stop_token stop);

}  // namespace gapferry::exporter
