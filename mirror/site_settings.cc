#include "mirror/site_settings.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/canonical_json.h"

namespace gapferry::mirror {
namespace {

constexpr std::array<std::pair<SiteContent, std::string_view>, 4> kContents = {{
    {SiteContent::kAsMirror, "as-mirror"},
    {SiteContent::kApproved, "approved"},
    {SiteContent::kAll, "all"},
    {SiteContent::kNone, "none"},
}};
constexpr std::size_t kMaxItemBytes = 32;

JsonValue ListOf(const std::vector<std::string>& items) {
  return JsonValue::Array(items.begin(), items.end());
}

std::vector<std::string> Strings(JsonFields& fields, std::string_view key) {
  std::vector<std::string> out;
  for (const JsonValue& item : fields.List(key, kMaxSettingItems)) {
    const std::string* text = item.AsString();
    if (text == nullptr || text->size() > kMaxItemBytes) {
      fields.Refuse("'" + std::string(key) + "' holds something else than short texts");
      return {};
    }
    out.push_back(*text);
  }
  return out;
}

std::vector<Guid> Guids(JsonFields& fields, std::string_view key) {
  std::vector<Guid> out;
  for (const JsonValue& item : fields.List(key, kMaxSettingItems)) {
    const std::string* text = item.AsString();
    const auto guid = Guid::Parse(text == nullptr ? std::string_view() : *text);
    if (!guid) {
      fields.Refuse("'" + std::string(key) + "' holds something else than GUIDs");
      return {};
    }
    out.push_back(*guid);
  }
  return out;
}

}  // namespace

std::string_view SiteContentName(SiteContent content) {
  return std::ranges::find(kContents, content, [](auto& one) { return one.first; })->second;
}

std::optional<SiteContent> ParseSiteContent(std::string_view name) {
  const auto* const found =
      std::ranges::find(kContents, name, [](auto& one) { return one.second; });
  if (found == kContents.end()) return std::nullopt;
  return found->first;
}

std::string EncodeSiteSettings(const SiteSettings& settings) {
  JsonValue::Array groups;
  for (const Guid& group : settings.groups) groups.emplace_back(group.ToString());
  JsonValue::Object object{{"architectures", ListOf(settings.architectures)},
                           {"content", SiteContentName(settings.content)},
                           {"groups", std::move(groups)},
                           {"languages", ListOf(settings.languages)},
                           {"max_bytes", settings.max_bytes},
                           {"no_returns", settings.no_returns},
                           {"overlap_bundles", std::uint64_t{settings.overlap_bundles}},
                           {"overlap_days", std::uint64_t{settings.overlap_days}}};
  if (settings.encrypt) object["encrypt"] = *settings.encrypt;
  if (settings.express) object["express"] = *settings.express;
  if (settings.parity) object["parity"] = std::uint64_t{*settings.parity};
  return WriteCanonicalJson(JsonValue(std::move(object)));
}

Result<SiteSettings> DecodeSiteSettings(std::string_view text) {
  SiteSettings settings;
  if (text.empty()) return settings;
  TRY_ASSIGN(const JsonValue value, ParseCanonicalJson(text), "settings of a site");
  JsonFields fields(value, "settings of a site");
  settings.architectures = Strings(fields, "architectures");
  const auto content = ParseSiteContent(fields.Text("content", kMaxItemBytes));
  if (!content) fields.Refuse("'content' is unknown");
  settings.content = content.value_or(SiteContent::kAsMirror);
  if (fields.Has("encrypt")) settings.encrypt = fields.Flag("encrypt");
  if (fields.Has("express")) settings.express = fields.Flag("express");
  settings.groups = Guids(fields, "groups");
  settings.languages = Strings(fields, "languages");
  settings.max_bytes = fields.Count("max_bytes");
  settings.no_returns = fields.Flag("no_returns");
  settings.overlap_bundles =
      static_cast<std::uint32_t>(fields.Count("overlap_bundles", kMaxOverlapBundles));
  settings.overlap_days = static_cast<std::uint32_t>(fields.Count("overlap_days", kMaxOverlapDays));
  if (fields.Has("parity")) {
    settings.parity = static_cast<std::uint32_t>(fields.Count("parity", kMaxSiteParity));
  }
  TRY(fields.Finish());
  return settings;
}

}  // namespace gapferry::mirror
