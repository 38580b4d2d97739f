#include "server/sync_languages.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/text.h"

namespace gapferry::server {
namespace {

struct Language {
  std::int32_t id;
  std::string_view short_name;
  std::string_view long_name;
};

constexpr std::array kLanguages = {
    Language{1025, "ar", "Arabic"},
    Language{1026, "bg", "Bulgarian"},
    Language{1028, "zh-tw", "Chinese (Traditional)"},
    Language{1029, "cs", "Czech"},
    Language{1030, "da", "Danish"},
    Language{1031, "de", "German"},
    Language{1032, "el", "Greek"},
    Language{1033, "en", "English"},
    Language{1034, "es", "Spanish"},
    Language{1035, "fi", "Finnish"},
    Language{1036, "fr", "French"},
    Language{1037, "he", "Hebrew"},
    Language{1038, "hu", "Hungarian"},
    Language{1040, "it", "Italian"},
    Language{1041, "ja", "Japanese"},
    Language{1042, "ko", "Korean"},
    Language{1043, "nl", "Dutch"},
    Language{1044, "no", "Norwegian"},
    Language{1045, "pl", "Polish"},
    Language{1046, "pt-br", "Portuguese (Brazil)"},
    Language{1048, "ro", "Romanian"},
    Language{1049, "ru", "Russian"},
    Language{1050, "hr", "Croatian"},
    Language{1051, "sk", "Slovak"},
    Language{1053, "sv", "Swedish"},
    Language{1054, "th", "Thai"},
    Language{1055, "tr", "Turkish"},
    Language{1058, "uk", "Ukrainian"},
    Language{1060, "sl", "Slovenian"},
    Language{1061, "et", "Estonian"},
    Language{1062, "lv", "Latvian"},
    Language{1063, "lt", "Lithuanian"},
    Language{1081, "hi", "Hindi"},
    Language{2052, "zh-cn", "Chinese (Simplified)"},
    Language{2070, "pt", "Portuguese (Portugal)"},
    Language{2074, "sr", "Serbian (Latin)"},
    Language{3076, "zh-hk", "Chinese (Hong Kong SAR)"},
    Language{66577, "ja-nec", "Japanese NEC"},
};

}  // namespace

std::vector<protocol::SyncLanguage> SyncLanguages(const std::vector<std::string>& enabled) {
  std::vector<protocol::SyncLanguage> list;
  list.push_back({0, "all", "all", enabled.empty()});
  for (const Language& language : kLanguages) {
    const bool on =
        enabled.empty() || std::ranges::any_of(enabled, [&language](const std::string& name) {
          return EqualsIgnoreCase(name, language.short_name);
        });
    list.push_back(
        {language.id, std::string(language.short_name), std::string(language.long_name), on});
  }
  return list;
}

}  // namespace gapferry::server
