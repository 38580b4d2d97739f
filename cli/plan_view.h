#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "importer/import.h"

// The plan of an import, for people and for programs.

namespace gapferry::cli {

/// A deadline as it will be, or that it waits.
std::string EffectiveText(const std::optional<UtcTime>& effective);
nlohmann::json PlanToJson(const importer::DryRun& dry);
/// `needs_decision`: the import will ask for --accept-removals.
std::string PlanText(const importer::DryRun& dry, bool needs_decision);

}  // namespace gapferry::cli
