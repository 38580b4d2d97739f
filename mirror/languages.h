#pragma once

#include <set>
#include <string>
#include <string_view>

#include "base/result.h"
#include "mirror/mirror.h"

namespace gapferry::mirror {

/// Codes of languages, lower case: those that update servers offer anyway, those that this mirror's
/// upstream named, and those that updates here name. Reads the whole catalogue (a second or two for
/// hundreds of thousands of revisions).
Result<std::set<std::string>> KnownLanguages(Mirror& mirror);

/// Whether updates of `known` can be meant by `code`: the same, one of its regions ("pt-br" of
/// "pt"), or its language ("de" of "de-at").
bool IsKnownLanguage(const std::set<std::string>& known, std::string_view code);

}  // namespace gapferry::mirror
