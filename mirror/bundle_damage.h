#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/guid.h"
#include "base/result.h"
#include "mirror/ledger.h"

namespace gapferry::mirror {

/// Disconnected side: blocks of bundles that could not be read when their import was refused. The
/// next return asks for them. One transaction each; thread rule of the database.

inline constexpr std::size_t kMaxDamageRuns = 10'000;

/// Replaces what is known of this bundle by at most kMaxDamageRuns runs; none forgets it.
Result<void> NoteBundleDamage(Database& catalog, const Guid& sender, std::string_view stream,
                              std::uint64_t sequence,
                              const std::vector<ReturnEffect::Block>& blocks);

/// Of all bundles of `sender` that were not imported since, in the order of returns.
Result<std::vector<ReturnEffect::Block>> BundleDamage(Database& catalog, const Guid& sender);

/// Within the transaction of an import: nothing up to this sequence is wanted any more.
Result<void> ForgetBundleDamage(Database& catalog, const Guid& sender, std::string_view stream,
                                std::uint64_t sequence);

}  // namespace gapferry::mirror
