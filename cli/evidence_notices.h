#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/context.h"
#include "cli/survey.h"
#include "mirror/mirror.h"

namespace gapferry::cli {

/// What `status` says of files that the scanner rejected, here and at sites, and of audit trails
/// that contradict what was seen of them.
Result<std::vector<Notice>> FindEvidenceNotices(const Context& context, mirror::Mirror& mirror,
                                                const std::vector<mirror::Site>& sites);

/// `text` with the names of sites and senders in place of their GUIDs, for people.
std::string NamePartners(mirror::Mirror& mirror, std::string text);

}  // namespace gapferry::cli
