#pragma once

#include <string>
#include <vector>

#include "protocol/sync_messages.h"

namespace gapferry::server {

/// The LanguageUpdateList of GetConfigData: "all" first, then the 38 languages of the real server.
/// `enabled` are short names ("en", "pt-br"); none means each of them.
std::vector<protocol::SyncLanguage> SyncLanguages(const std::vector<std::string>& enabled);

}  // namespace gapferry::server
