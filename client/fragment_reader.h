#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "client/rules.h"
#include "protocol/update_document.h"

namespace gapferry::client {

/// What a client evaluates of a revision: its Core fragment (MS-WUSP 3.1.1.1).
struct CoreFragment {
  protocol::UpdateId id;
  protocol::UpdateType type = protocol::UpdateType::kSoftware;
  bool explicitly_deployable = false;
  bool has_eula = false;
  std::vector<protocol::BundledClause> bundled;
  std::vector<Guid> superseded;
  std::optional<Rule> is_installed;  ///< several siblings are joined by And
  std::optional<Rule> is_superseded;
  std::optional<Rule> is_installable;
  RuleMetadata metadata;
};

/// What it downloads: the files of the Extended fragment, and the texts of one language.
struct ExtendedFragment {
  std::vector<protocol::UpdateFile> files;
  std::string title;
  std::string description;
};

/// Fragments have several roots and may be 47 MB; the reader streams and keeps the rules alone.
/// Fails with kCorrupt on XML that is not well-formed, and on a Core without identity or type.
Result<CoreFragment> ParseCore(std::string_view core);

/// The files of a Eula fragment: its texts by language, one file each. Empty fragments give none.
Result<std::vector<protocol::UpdateFile>> ParseEulas(std::string_view eulas);

/// Either may be empty.
Result<ExtendedFragment> ParseExtended(std::string_view extended, std::string_view localized);

}  // namespace gapferry::client
