#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "importer/review_plan.h"
#include "manifests/bundle_verifier.h"

namespace gapferry::cli {

/// What a reviewer is asked to release. `plan`: none for a sealed bundle that was not opened.
std::string ReviewText(const manifests::VerifiedManifest& manifest,
                       const std::optional<importer::ReviewPlan>& plan);
nlohmann::json ReviewToJson(const manifests::VerifiedManifest& manifest,
                            const std::optional<importer::ReviewPlan>& plan);

}  // namespace gapferry::cli
