#include "mirror/bundle_damage.h"

#include <algorithm>
#include <string>

namespace gapferry::mirror {

Result<void> NoteBundleDamage(Database& catalog, const Guid& sender, std::string_view stream,
                              std::uint64_t sequence,
                              const std::vector<ReturnEffect::Block>& blocks) {
  TRY_ASSIGN(auto tx, Transaction::Begin(catalog, TransactionKind::kWrite));
  TRY(catalog.Run("DELETE FROM bundle_damage WHERE sender = ? AND stream = ? AND sequence = ?",
                  sender, stream, sequence));
  for (std::size_t i = 0; i < std::min(blocks.size(), kMaxDamageRuns); ++i) {
    const auto& run = blocks[i];
    TRY(
        catalog.Run("INSERT INTO bundle_damage (sender, stream, sequence, volume, block, count) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    sender, stream, sequence, run.volume, run.block, run.count));
  }
  return tx.Commit();
}

Result<std::vector<ReturnEffect::Block>> BundleDamage(Database& catalog, const Guid& sender) {
  TRY_ASSIGN(auto rows, catalog.Prepare("SELECT stream, sequence, volume, block, count "
                                        "FROM bundle_damage WHERE sender = ? "
                                        "ORDER BY stream, sequence, volume, block"));
  rows.BindAll(sender);
  std::vector<ReturnEffect::Block> out;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    out.push_back({rows.String(0), static_cast<std::uint64_t>(rows.Int(1)),
                   static_cast<std::uint32_t>(rows.Int(2)), static_cast<std::uint64_t>(rows.Int(3)),
                   static_cast<std::uint64_t>(rows.Int(4))});
  }
  TRY(rows.Check());
  return out;
}

Result<void> ForgetBundleDamage(Database& catalog, const Guid& sender, std::string_view stream,
                                std::uint64_t sequence) {
  return catalog.Run("DELETE FROM bundle_damage WHERE sender = ? AND stream = ? AND sequence <= ?",
                     sender, stream, sequence);
}

}  // namespace gapferry::mirror
