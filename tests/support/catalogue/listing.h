#pragma once

#include <string>
#include <vector>

#include "tests/support/catalogue/catalogue.h"
#include "tests/support/catalogue/expect.h"
#include "tests/support/catalogue/summary.h"

namespace gapferry::catalogue {

// What the program prints, one JSON document each with LF at the end. docs: README.md here.

/// {"revisions": [{"guid", "revision", "kind", "title", "path", "newest", "expired", "visible",
/// "step", "categories", "files", ...}]}.
std::string ListingJson(const Catalogue& catalogue);
/// One line per revision: id, kind, title.
std::string ListingText(const Catalogue& catalogue);
std::string SummaryJson(const Catalogue& catalogue, const Summary& summary);
std::string SummaryText(const Catalogue& catalogue, const Summary& summary);
/// {"profile", "offered": [...], "applicable": [...], "installed": [...], "drivers": [...]}; each
/// entry has guid, revision, title and path.
std::string ExpectationJson(const Catalogue& catalogue, const Machine& machine,
                            const Expectation& expectation);
std::string ExpectationText(const Catalogue& catalogue, const Expectation& expectation);

}  // namespace gapferry::catalogue
