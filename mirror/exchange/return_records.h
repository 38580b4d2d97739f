#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/guid.h"
#include "base/hash.h"
#include "base/result.h"
#include "mirror/activity.h"
#include "mirror/audit.h"
#include "mirror/config.h"
#include "mirror/ledger.h"

namespace gapferry::mirror::exchange {

inline constexpr std::uint64_t kMaxReturnBytes = 1ULL << 30;
inline constexpr std::size_t kMaxReturnLineBytes = 64 * 1024;
inline constexpr std::uint64_t kMaxReturnLines = 8'000'000;
inline constexpr std::size_t kMaxReceipts = 256;
inline constexpr std::size_t kMaxResends = 256;

/// What stands in the first line.
struct ReturnHeader {
  Guid site;
  Guid site_epoch;
  Guid recipient;
  std::uint64_t number = 0;  ///< from 1
  ReturnLevel level = ReturnLevel::kReceipt;
  UtcTime created;
  std::uint64_t lines = 0;  ///< behind the first
  AuditHead audit;          ///< of the site's audit chain
  AuditHead seen;           ///< of the recipient's, the last that the site saw
  bool operator==(const ReturnHeader&) const = default;
};

struct ReturnReceipt {
  std::string stream;
  std::uint64_t sequence = 0;
  Sha256Digest manifest;
  KnownState target;            ///< in the recipient's history
  Sha256Digest content_digest;  ///< of what the site holds now
  UtcTime imported_at;
};

struct ReturnRequest {
  Sha1Digest sha1;
  std::uint64_t size_bytes = 0;
  bool asked = false;  ///< by a person or a server below; else approvals here need it
};

/// Everything a `gapferry-return/1` document says. Servers, computers and status are the site's own
/// and those of servers below it; zero GUIDs of "this mirror itself" are written as the site's.
struct ReturnDocument {
  ReturnHeader header;
  std::vector<ReturnReceipt> receipts;  ///< by generation of the target, then stream and sequence
  std::vector<ReturnRequest> requests;
  std::vector<Sha1Digest> removed;
  std::vector<ReturnEffect::Block> blocks;       ///< damaged runs of blocks of bundles
  std::vector<ReturnEffect::Resend> resends;     ///< bundles whose files are wanted once more
  std::vector<ReturnEffect::Blocked> blocked;    ///< updates that the site does not offer
  std::vector<ReturnEffect::Withheld> withheld;  ///< files that came and were not let in
  std::vector<DownstreamServer> servers;
  std::vector<Computer> computers;
  std::vector<StatusChange> statuses;
  std::vector<InstallActivity> activities;
};

/// Fields of computers that stay inside unless they are named one by one.
struct ReturnFields {
  bool names = false;      ///< else running numbers: "computer-000001"
  bool addresses = false;  ///< IP addresses
  bool hardware = false;   ///< make, model, BIOS
};

/// Leaves out what `level` and `fields` do not allow: the document to be encoded.
ReturnDocument Redact(ReturnDocument document, const ReturnFields& fields);

/// The whole file: lines of canonical JSON in printable ASCII, the header first. Sorts the lists.
/// Characters outside ASCII become '?': the guarded direction carries no others.
std::string EncodeReturn(ReturnDocument document);

/// Fails with kCorrupt: reason "document-type" and others of the first line as a signed document,
/// "return-malformed" at the first byte that EncodeReturn would not have written, naming the line.
Result<ReturnDocument> DecodeReturn(std::string_view text);

}  // namespace gapferry::mirror::exchange
