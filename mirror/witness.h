#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/guid.h"
#include "base/hash.h"
#include "base/result.h"
#include "mirror/audit.h"
#include "mirror/sqlite.h"

namespace gapferry::mirror {

/// The head of a mirror's audit chain as a signed document told it. Every manifest and every return
/// carries the head of its sender, so that each side can later say what the other's log was: a log
/// that was cut or rewritten since does not lead through the heads that the partner holds.
struct WitnessedHead {
  Guid log;            ///< the mirror whose chain it is
  Guid witness;        ///< the mirror that saw it
  AuditHead head;      ///< id: number of records then
  std::string kind;    ///< "manifest" or "return"
  std::string stream;  ///< of the bundle; empty for returns
  std::uint64_t number = 0;
  Sha256Digest document;  ///< of the manifest or return that says so
  UtcTime created;        ///< of that document, by its sender's clock
  UtcTime seen_at;        ///< by ours

  /// "bundle 7 of stream 'plant'", "return 3"
  std::string Source() const;
  bool operator==(const WitnessedHead&) const = default;
};

/// Keeps a head; the same document again changes nothing, a chain without records is not kept. May
/// be called inside a write transaction.
Result<void> RecordWitness(Database& catalog, const WitnessedHead& head);

/// What is known of the chain of `log`, ascending by number of records.
Result<std::vector<WitnessedHead>> WitnessedHeads(Database& catalog, const Guid& log);

/// The longest chain of `log` that `witness` saw: what is told back to `log`.
Result<AuditHead> LastWitnessed(Database& catalog, const Guid& log, const Guid& witness);

/// The first two heads that cannot be of one growing chain: with as many records and another hash,
/// or a later document of the same kind and stream with fewer records. Empty: they fit. `heads` are
/// of one log.
std::string Contradiction(const std::vector<WitnessedHead>& heads);

/// Compares our own chain with what partners say they saw of it. Fails with kCorrupt (reason
/// "audit-contradicted"), naming the partner's head and ours; gives the longest one that fits
/// (nullopt: nobody has seen any).
Result<std::optional<WitnessedHead>> CheckOwnChain(Database& catalog, const Guid& own);

}  // namespace gapferry::mirror
