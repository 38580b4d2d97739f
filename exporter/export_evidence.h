#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "exporter/export.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

/// Fails with kUntrusted (reason "medium-not-allowed") when gapferry.yaml lists media and `to` is
/// on none of them.
Result<void> CheckExportMedium(mirror::Mirror& mirror, const std::filesystem::path& to);

/// Keeps what a run of export knows for evidence: the medium, how it was read back, and, once the
/// bundle is complete, what is in it. Call before the bundle is marked as signed, while its intent
/// object is there.
Result<void> RecordExportFacts(mirror::Mirror& mirror, const mirror::BundleOut& bundle,
                               const ExportResult& result, const ExportOptions& options,
                               UtcTime started);

}  // namespace gapferry::exporter
