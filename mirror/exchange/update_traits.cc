#include "mirror/exchange/update_traits.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/text.h"

namespace gapferry::mirror::exchange {
namespace {

Guid Known(std::string_view text) { return *Guid::Parse(text); }

bool IsWordByte(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kArchitectureWords = {{
    {"x86", "x86"},
    {"i386", "x86"},
    {"32-bit", "x86"},
    {"x64", "x64"},
    {"amd64", "x64"},
    {"64-bit", "x64"},
    {"arm64", "arm64"},
    {"aarch64", "arm64"},
}};

constexpr std::array<std::string_view, 4> kSeverities = {"critical", "important", "moderate",
                                                         "low"};

int SeverityOf(std::string_view text) {
  const auto lower = ToLowerAscii(text);
  const auto* const found = std::ranges::find(kSeverities, lower);
  return static_cast<int>(found - kSeverities.begin());
}

/// `title` with every number of several parts, such as 1.401.22.0, taken out.
std::string WithoutVersions(std::string_view title) {
  std::string out;
  for (std::size_t at = 0; at < title.size();) {
    std::size_t end = at;
    while (end < title.size() && ((title[end] >= '0' && title[end] <= '9') || title[end] == '.')) {
      ++end;
    }
    const std::string_view number = title.substr(at, end - at);
    if (number.find('.') == std::string_view::npos) out += number;
    at = end;
    if (at < title.size()) out += title[at++];
  }
  return out;
}

std::vector<std::string> LanguagesOf(const std::string& detail) {
  const auto json = nlohmann::json::parse(detail, nullptr, /*allow_exceptions=*/false);
  std::vector<std::string> out;
  if (!json.is_object() || !json.contains("languages") || !json["languages"].is_array()) return out;
  for (const auto& language : json["languages"]) {
    if (!language.is_string()) continue;
    out.push_back(ToLowerAscii(language.get<std::string>()));
    if (out.back() == "all") return {};
  }
  std::ranges::sort(out);
  return out;
}

/// What the files tell when each of them tells something.
std::vector<std::string> ArchitecturesOfFiles(const std::vector<DeclaredFile>& files) {
  std::set<std::string> all;
  for (const DeclaredFile& file : files) {
    if (file.kind != FileKind::kPayload) continue;
    const auto told = ArchitecturesIn(file.name);
    if (told.empty()) return {};
    all.insert(told.begin(), told.end());
  }
  return {all.begin(), all.end()};
}

}  // namespace

const Guid kDefinitionUpdates = Known("e0789628-ce08-4437-be74-2495b842f43b");
const Guid kCriticalUpdates = Known("e6cf1350-c01b-414d-a61f-263d14d133b4");
const Guid kSecurityUpdates = Known("0fa1201d-4330-4fa8-8ae9-b877473b6441");

std::vector<std::string> ArchitecturesIn(std::string_view text) {
  const std::string lower = ToLowerAscii(text);
  std::set<std::string> found;
  for (const auto& [word, architecture] : kArchitectureWords) {
    for (std::size_t at = lower.find(word); at != std::string::npos;
         at = lower.find(word, at + 1)) {
      const std::size_t end = at + word.size();
      const bool begins = at == 0 || !IsWordByte(lower[at - 1]);
      if (begins && (end == lower.size() || !IsWordByte(lower[end]))) {
        found.emplace(architecture);
      }
    }
  }
  return {found.begin(), found.end()};
}

Result<UpdateTraits> TraitsOf(Mirror& mirror, const RevisionRelations& revision) {
  UpdateTraits traits;
  TRY_ASSIGN(auto row, mirror.db().Prepare(
                           "SELECT r.severity, r.kb_articles, r.created_at, r.detail, t.title "
                           "FROM revision r LEFT JOIN revision_text t ON t.revision_id = r.id "
                           "WHERE r.id = ?"));
  row.BindAll(revision.row.id);
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return traits;
  const std::string title = row.OptionalString(4).value_or("");
  const std::string articles = row.String(1);
  traits.severity = SeverityOf(row.Text(0));
  traits.created_at = row.OptionalTime(2);
  traits.languages = LanguagesOf(row.String(3));
  TRY(row.Check());
  std::set<Guid> products;
  for (const Clause& clause : revision.prerequisites) {
    if (!clause.is_category) continue;
    for (const Guid& category : clause.alternatives) {
      if (category == kDefinitionUpdates) traits.is_definition = true;
      if (category == kCriticalUpdates) traits.urgency = std::min(traits.urgency, 1);
      if (category == kSecurityUpdates) traits.urgency = std::min(traits.urgency, 2);
      products.insert(category);
    }
  }
  traits.architectures = ArchitecturesIn(title);
  if (traits.architectures.empty()) traits.architectures = ArchitecturesOfFiles(revision.files);
  if (!traits.is_definition) return traits;
  traits.urgency = 0;
  if (articles.empty() || !traits.created_at) return traits;
  traits.series = articles + '\n' + WithoutVersions(title);
  for (const Guid& product : products) traits.series += '\n' + product.ToString();
  return traits;
}

}  // namespace gapferry::mirror::exchange
