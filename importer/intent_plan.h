#pragma once

#include "base/result.h"
#include "importer/import_plan.h"
#include "mirror/intent.h"

namespace gapferry::importer {

/// Compares the intent of a bundle with what this mirror has: approvals per group, declines,
/// licences, deadlines that move, and where local decisions stand against it. `intent` needs
/// deadline_floor, not_before and hold as the import would set them. Fills the numbers and lists of
/// `plan`, and of `removals` the updates it would decline. Reads only.
Result<void> PlanIntent(mirror::Mirror& mirror, const mirror::IntentImport& intent,
                        ImportPlan& plan, mirror::Removals& removals);

}  // namespace gapferry::importer
