#pragma once

#include <chrono>
#include <optional>

#include "base/result.h"
#include "mirror/sqlite.h"

namespace gapferry::mirror {

/// Writes much in transactions that are short enough for others to write theirs in between. What
/// was written when a run ends early stays: the caller's steps may be repeated, or count for
/// nothing until a last one. Thread rule of the database.
class ShortWrites {
 public:
  explicit ShortWrites(Database& db) : db_(db) {}
  template <class Work>
  Result<void> Run(const Work& work) {
    if (!tx_) {
      TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
      tx_.emplace(std::move(tx));
      since_ = std::chrono::steady_clock::now();
    }
    TRY(work());
    return std::chrono::steady_clock::now() - since_ < kHeld ? Result<void>() : Commit();
  }
  Result<void> Commit() {
    if (!tx_) return {};
    TRY(tx_->Commit());
    tx_.reset();
    return {};
  }

 private:
  static constexpr std::chrono::milliseconds kHeld{100};
  Database& db_;
  std::optional<Transaction> tx_;
  std::chrono::steady_clock::time_point since_;
};

}  // namespace gapferry::mirror
