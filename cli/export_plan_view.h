#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "cli/context.h"
#include "exporter/export_plan.h"

namespace gapferry::cli {

/// Shows what `export` would write: text for people, one object for programs. With `to`, whether it
/// has room there.
Result<void> PrintExportPlan(Context& context, const exporter::ExportPlan& plan,
                             const std::filesystem::path& to);

/// What `export --resend-since` takes: a number of the stream, or a moment as ParseSince reads it.
Result<exporter::ResendSince> ParseResendSince(const std::string& text, UtcTime now);

}  // namespace gapferry::cli
