#include "mirror/languages.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "mirror/catalog.h"

namespace gapferry::mirror {
namespace {

/// What WSUS offers in its options.
constexpr std::array<std::string_view, 38> kOffered = {
    "ar", "bg", "cs", "da", "de", "el", "en", "es", "et", "fi",    "fr",    "he",   "hi",
    "hr", "hu", "it", "ja", "ko", "lt", "lv", "nb", "nl", "no",    "pl",    "pt",   "pt-br",
    "ro", "ru", "sk", "sl", "sr", "sv", "th", "tr", "uk", "zh-cn", "zh-hk", "zh-tw"};

}  // namespace

Result<std::set<std::string>> KnownLanguages(Mirror& mirror) {
  std::set<std::string> known(kOffered.begin(), kOffered.end());
  TRY_ASSIGN(const auto upstream, mirror.catalog().ReadUpstream());
  if (upstream) {
    for (const auto& one : upstream->config.languages) {
      if (one.language_id != 0) known.insert(ToLowerAscii(one.short_language));
    }
  }
  TRY_ASSIGN(auto rows,
             mirror.db().Prepare("SELECT DISTINCT lower(j.value) FROM revision r, "
                                 "json_each(r.detail, '$.languages') j WHERE j.type = 'text'"));
  for (;;) {
    TRY_ASSIGN(const bool more, rows.Step());
    if (!more) break;
    std::string code = rows.String(0);
    if (code != "all" && code.size() <= 16) known.insert(std::move(code));
  }
  TRY(rows.Check());
  return known;
}

bool IsKnownLanguage(const std::set<std::string>& known, std::string_view code) {
  const std::string region = std::string(code) + "-";
  return std::ranges::any_of(known, [&](const std::string& one) {
    return one == code || one.starts_with(region) || code.starts_with(one + "-");
  });
}

}  // namespace gapferry::mirror
