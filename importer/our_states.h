#pragma once

#include "mirror/catalog.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::importer {

/// States of this mirror's history, with the digest of what bundles passed on at them. `mirror`
/// must outlive it.
inline mirror::Ledger::StateLookup OurStates(mirror::Mirror& mirror) {
  return [&mirror](const mirror::StateName& name) -> Result<std::optional<mirror::KnownState>> {
    TRY_ASSIGN(const auto knowledge, mirror.catalog().Knows(name));
    if (knowledge == mirror::StateKnowledge::kOtherHistory) {
      return std::optional<mirror::KnownState>();
    }
    TRY_ASSIGN(const auto state, mirror.catalog().StateAt(name.generation));
    if (!state) return std::optional<mirror::KnownState>();
    return std::optional(mirror::KnownState{state->name, state->passed_on_digest});
  };
}

}  // namespace gapferry::importer
