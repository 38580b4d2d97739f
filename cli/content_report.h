#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "base/result.h"
#include "cli/command.h"
#include "cli/context.h"
#include "exporter/content_sync.h"

// The part of `sync` that is about content: its options, and what came of it.

namespace gapferry::cli {

/// --wait-for-content, --bandwidth, --now.
std::vector<Option> ContentOptions();
/// What they say. Fails with kUsage.
Result<exporter::ContentChoices> ContentChoicesOf(const Context& context);

nlohmann::json ContentAsJson(const exporter::ContentReport& report);
/// The line of the result.
void DescribeContent(Context& context, const exporter::ContentReport& report);
/// What is missing and why, and what brings it.
void WarnOfContent(Context& context, const exporter::ContentReport& report);

}  // namespace gapferry::cli
