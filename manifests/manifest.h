#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/guid.h"
#include "base/hash.h"
#include "base/result.h"
#include "manifests/keys.h"

namespace gapferry::manifests {

inline constexpr std::uint64_t kMaxManifestBytes = 1 << 20;
inline constexpr std::size_t kMaxRecipients = 256;
inline constexpr std::size_t kMaxVoidSequences = 1000;
inline constexpr std::size_t kMaxDeletedComputers = 2000;  ///< in all acknowledgements together
inline constexpr std::uint64_t kMaxSequence = 999'999'999;

/// A state of the sender: history, place in it, and the digest of what it holds. Generation 0 with
/// zero digests is "nothing yet".
struct StateReference {
  Guid epoch;
  std::uint64_t generation = 0;
  Sha256Digest chain;
  Sha256Digest state_digest;
  bool operator==(const StateReference&) const = default;
};

struct Sender {
  Guid guid;
  KeyId key_id;  ///< its signing key
  std::string name;
  bool operator==(const Sender&) const = default;
};

/// The key of a sealed bundle as one recipient finds it: ephemeral public key, then the key,
/// encrypted (docs/format.md, "Sealed bundles").
inline constexpr std::size_t kSealedKeyBytes = 32 + 32 + 16;

struct Recipient {
  Guid guid;
  KeyId key_id;  ///< its encryption key
  std::string name;
  Bytes sealed_key = {};  ///< kSealedKeyBytes in a sealed bundle, else none
  bool operator==(const Recipient&) const = default;
};

/// What the sender tells one recipient about its returns.
struct Acknowledgement {
  Guid site;
  std::uint64_t applied_return = 0;  ///< the highest one applied; 0: none
  bool detailed = false;             ///< the upstream wants computers and their status
  std::vector<Guid> deleted_computers;
  /// The last head of the recipient's audit chain that the sender saw; 0 and zero: none.
  std::uint64_t seen_records = 0;
  Sha256Digest seen_head;
  bool operator==(const Acknowledgement&) const = default;
};

enum class Scope { kDelta, kFull };
std::string_view ScopeName(Scope scope);

struct UpstreamSync {
  enum class Outcome { kNever, kSucceeded, kFailed };
  Outcome outcome = Outcome::kNever;
  UtcTime at;  ///< end of the sender's last sync at the target; unused for kNever
  bool operator==(const UpstreamSync&) const = default;
};

struct IndexSummary {
  std::uint64_t lines = 0;
  std::uint64_t size = 0;  ///< stored; of the sealed file in a sealed bundle
  Sha256Digest sha256;
  std::uint64_t raw_size = 0;  ///< decoded
  Sha256Digest raw_sha256;
  bool operator==(const IndexSummary&) const = default;
};

/// A file as it is stored: sealed, with `.sealed` behind its name, in a sealed bundle.
struct VolumeSummary {
  std::string name;
  std::uint64_t size = 0;
  Sha256Digest sha256;
  bool operator==(const VolumeSummary&) const = default;
};

struct Totals {
  std::uint64_t revisions = 0;      ///< documents carried
  std::uint64_t content_files = 0;  ///< whole files carried
  std::uint64_t content_bytes = 0;
  bool operator==(const Totals&) const = default;
};

struct DetailsSummary {
  std::uint64_t size = 0;  ///< stored
  Sha256Digest sha256;
  bool operator==(const DetailsSummary&) const = default;
};

/// `gapferry-manifest/1`: what is signed of a bundle (docs/format.md, "Manifest"). In a sealed
/// bundle the clear document carries only what a courier and readers without a key need (routing);
/// the details, marked (d), lie in details.json.sealed, which it binds by size and digest, and are
/// empty here until DecodeDetails filled them.
struct Manifest {
  std::string stream;  ///< 1 to 40 of [a-z0-9-], not at the ends "-"; names a series of the sender
  std::uint64_t sequence = 0;                 ///< from 1
  std::vector<std::uint64_t> void_sequences;  ///< (d) ascending; given up since the base
  Sha256Digest previous_manifest;             ///< of the stream; zero for the first
  Sender sender;
  std::vector<Recipient> recipients;              ///< ascending by GUID, not empty
  StateReference base;                            ///< (d)
  StateReference target;                          ///< (d)
  Scope scope = Scope::kDelta;                    ///< (d)
  UtcTime created;                                ///< shown, never enforced
  UpstreamSync upstream_sync;                     ///< (d)
  std::vector<Acknowledgement> acknowledgements;  ///< (d) ascending by site
  Sha256Digest audit_head;                        ///< (d) of the sender's audit chain
  std::uint64_t audit_records = 0;                ///< (d) of that chain
  Totals totals;                                  ///< (d)
  IndexSummary index;                             ///< (d) but size and sha256
  std::vector<VolumeSummary> volumes;
  unsigned parity = 0;  ///< repair blocks in percent (manifests/parity.h); 0: no repair files
  std::uint64_t sums_size = 0;
  Sha256Digest sums_sha256;
  std::optional<DetailsSummary> sealed;  ///< of details.json.sealed: this bundle is sealed

  std::string DirectoryName() const;  ///< gapferry-<stream>-000042
  bool operator==(const Manifest&) const = default;
};

bool IsStreamName(std::string_view text);

/// `name` as it is stored: "volume-0001.tar", or "volume-0001.tar.sealed" in a sealed bundle.
std::string StoredName(const Manifest& manifest, std::string_view name);

/// One line of canonical JSON and LF; of a sealed bundle the routing alone.
std::string EncodeManifest(const Manifest& manifest);

/// Fails with kCorrupt (reasons of CheckDocumentType, "manifest-malformed"), kUnsupported
/// ("document-version"). `bytes` is at most kMaxManifestBytes. Of a sealed bundle this gives the
/// routing; DecodeDetails completes it.
Result<Manifest> DecodeManifest(ByteView bytes);

/// `gapferry-details/1`: what a sealed bundle keeps from those who have no key.
std::string EncodeDetails(const Manifest& manifest);
/// Fails as DecodeManifest; `manifest` is then unusable. `bytes` is at most kMaxManifestBytes.
Result<void> DecodeDetails(ByteView bytes, Manifest& manifest);

}  // namespace gapferry::manifests
