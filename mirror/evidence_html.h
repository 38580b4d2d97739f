#pragma once

#include <string>

#include "base/canonical_json.h"

namespace gapferry::mirror {

/// The page of an evidence document for people: one HTML file without scripts, pictures or other
/// files, fit for printing on A4, with boxes for the signatures of people. `members` is the
/// document as it was signed. All its texts are strangers' texts: each is escaped, controls and
/// characters that change the direction of writing are shown as codes, so that nothing in them can
/// become markup or pretend to be another text. What is not known says so.
std::string EvidenceHtml(const JsonValue::Object& members);

}  // namespace gapferry::mirror
