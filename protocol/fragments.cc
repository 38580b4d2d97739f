#include "protocol/fragments.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"

namespace gapferry::protocol {

namespace {

int IndexOf(const std::vector<std::string>& available, std::string_view language) {
  const auto it = std::find_if(
      available.begin(), available.end(),
      [&](const std::string& candidate) { return EqualsIgnoreCase(candidate, language); });
  return it == available.end() ? -1 : static_cast<int>(it - available.begin());
}

// "pt-BR", then "pt".
int IndexOfLocale(const std::vector<std::string>& available, std::string_view locale) {
  if (const int exact = IndexOf(available, locale); exact >= 0) return exact;
  const std::size_t dash = locale.find('-');
  return dash == std::string_view::npos ? -1 : IndexOf(available, locale.substr(0, dash));
}

}  // namespace

std::string_view FragmentKindName(FragmentKind kind) {
  switch (kind) {
    case FragmentKind::kCore:
      return "core";
    case FragmentKind::kExtended:
      return "extended";
    case FragmentKind::kLocalizedProperties:
      return "localized";
    case FragmentKind::kEula:
      return "eula";
  }
  return "core";
}

Result<void> FragmentCollector::Append(const FragmentKey& key, std::string_view text) {
  bytes_ += text.size();
  if (bytes_ > limit_bytes_) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("fragments of one revision exceed {} bytes", limit_bytes_));
  }
  const auto it = std::find_if(fragments_.begin(), fragments_.end(),
                               [&](const Fragment& fragment) { return fragment.key == key; });
  if (it != fragments_.end()) {
    it->text += text;
    return {};
  }
  // Core and Extended go before the languages, whenever they come.
  auto at = fragments_.end();
  if (key.kind == FragmentKind::kCore || key.kind == FragmentKind::kExtended) {
    at = std::find_if(fragments_.begin(), fragments_.end(),
                      [&](const Fragment& fragment) { return fragment.key.kind > key.kind; });
  }
  fragments_.insert(at, {key, std::string(text)});
  return {};
}

std::string_view FragmentCollector::Find(FragmentKind kind, std::string_view language) const {
  for (const Fragment& fragment : fragments_) {
    if (fragment.key.kind == kind && fragment.key.language == language) return fragment.text;
  }
  return {};
}

int ChooseLanguage(const std::vector<std::string>& available,
                   const std::vector<std::string>& requested, std::string_view default_language) {
  if (available.empty()) return -1;
  for (const std::string& locale : requested) {
    if (const int found = IndexOfLocale(available, locale); found >= 0) return found;
  }
  for (const std::string_view fallback : {std::string_view("en"), default_language}) {
    if (const int found = IndexOf(available, fallback); found >= 0) return found;
  }
  return 0;
}

}  // namespace gapferry::protocol
