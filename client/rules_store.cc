// Rules about the registry, about files and about software licences.
#include "client/rule_values.h"

namespace gapferry::client {

namespace {

// StringComparison; the registry's strings compare without case.
std::optional<bool> CompareText(std::string_view comparison, std::string_view actual,
                                std::string_view wanted) {
  const std::string a = ToLowerAscii(actual);
  const std::string b = ToLowerAscii(wanted);
  if (comparison == "EqualTo") return a == b;
  if (comparison == "BeginsWith") return a.starts_with(b);
  if (comparison == "EndsWith") return a.ends_with(b);
  if (comparison == "Contains") return a.find(b) != std::string::npos;
  return std::nullopt;
}

// "C:\a\\b" and "C:\a\b" are one path.
std::string JoinPath(std::string_view folder, std::string_view path) {
  std::string joined;
  for (const char c : std::string(folder) + "\\" + std::string(path)) {
    if (c != '\\' || joined.empty() || joined.back() != '\\') joined += c;
  }
  return joined;
}

// Folders that a CSIDL can stand for in rules about files.
std::optional<std::string_view> FolderOfCsidl(std::string_view csidl) {
  if (csidl == "36") return "C:\\Windows";
  if (csidl == "37") return "C:\\Windows\\System32";
  if (csidl == "38") return "C:\\Program Files";
  if (csidl == "41") return "C:\\Windows\\SysWOW64";
  if (csidl == "42") return "C:\\Program Files (x86)";
  if (csidl == "43") return "C:\\Program Files\\Common Files";
  if (csidl == "44") return "C:\\Program Files (x86)\\Common Files";
  if (csidl == "35") return "C:\\ProgramData";
  return std::nullopt;
}

// RegType32: the view of 32-bit programs, which is a folder of its own on other computers.
std::string RegistryKey(const Facts& facts, const Rule& rule) {
  constexpr std::string_view kSoftware = "SOFTWARE\\";
  const std::string_view subkey = Text(rule, "Subkey");
  const bool redirected = IsTrue(Text(rule, "RegType32")) && facts.architecture != "x86" &&
                          EqualsIgnoreCase(subkey.substr(0, kSoftware.size()), kSoftware);
  if (!redirected) return JoinPath(Text(rule, "Key"), subkey);
  return JoinPath(Text(rule, "Key"),
                  "SOFTWARE\\WOW6432Node\\" + std::string(subkey.substr(kSoftware.size())));
}

const RegistryValue* FindValue(const Facts& facts, const Rule& rule) {
  const auto key = facts.registry.find(RegistryKey(facts, rule));
  if (key == facts.registry.end()) return nullptr;
  const auto value = key->second.find(Text(rule, "Value"));
  return value == key->second.end() ? nullptr : &value->second;
}

std::optional<UtcTime> TimeOf(const Rule& rule, std::string_view attribute) {
  const auto time = UtcTime::ParseXmlDate(Text(rule, attribute));
  return time ? std::optional(*time) : std::nullopt;
}

// One property of a file against the attribute of the same name; a file that lacks it fits nothing.
Truth CompareProperty(const Rule& rule, std::string_view attribute, std::string_view comparison,
                      const FileFact* file) {
  if (attribute == "Version") {
    const auto wanted = VersionOf(Text(rule, attribute));
    if (!wanted) return Truth::kUnknown;
    if (file == nullptr || !file->version) return Truth::kFalse;
    return Of(Compare(comparison, *file->version <=> *wanted));
  }
  if (attribute == "Size") {
    const auto wanted = ParseInt<std::uint64_t>(Text(rule, attribute));
    if (!wanted) return Truth::kUnknown;
    if (file == nullptr || !file->size) return Truth::kFalse;
    return Of(Compare(comparison, *file->size <=> *wanted));
  }
  if (attribute == "Language") {
    const auto wanted = ParseInt<std::uint32_t>(Text(rule, attribute));
    if (!wanted) return Truth::kUnknown;
    if (file == nullptr || !file->language) return Truth::kFalse;
    return Of(Compare(comparison, *file->language <=> *wanted));
  }
  const auto wanted = TimeOf(rule, attribute);
  if (!wanted) return Truth::kUnknown;
  if (file == nullptr) return Truth::kFalse;
  const std::optional<UtcTime>& has = attribute == "Created" ? file->created : file->modified;
  return has ? Of(Compare(comparison, has->ticks <=> wanted->ticks)) : Truth::kFalse;
}

}  // namespace

Truth RuleEvaluator::Registry(const Rule& rule, std::string_view kind) const {
  if (kind == "RegKeyExists") {
    // A key exists when it or anything below it is named.
    const std::string key = RegistryKey(facts_, rule);
    const auto at = facts_.registry.lower_bound(key);
    if (at == facts_.registry.end()) return Truth::kFalse;
    if (EqualsIgnoreCase(at->first, key)) return Truth::kTrue;
    const auto below = facts_.registry.lower_bound(key + "\\");
    return Of(
        below != facts_.registry.end() &&
        EqualsIgnoreCase(std::string_view(below->first).substr(0, key.size() + 1), key + "\\"));
  }
  const RegistryValue* value = FindValue(facts_, rule);
  if (kind == "RegValueExists") {
    const std::string* type = rule.Find("Type");
    return Of(value != nullptr && (type == nullptr || *type == value->type_name));
  }
  const std::string_view comparison = Text(rule, "Comparison");
  if (kind == "RegDword") {
    const auto wanted = ParseInt<std::uint32_t>(Text(rule, "Data"));
    if (!wanted) return Truth::kUnknown;
    if (value == nullptr || value->type != RegistryType::kDword) return Truth::kFalse;
    return Of(Compare(comparison, value->number <=> *wanted));
  }
  const bool is_text = value != nullptr && value->type == RegistryType::kString;
  if (kind == "RegSz" || kind == "RegExpandSz") {
    return is_text ? Of(CompareText(comparison, value->text, Text(rule, "Data"))) : Truth::kFalse;
  }
  if (kind == "RegSzToVersion") {
    const auto wanted = VersionOf(Text(rule, "Data"));
    if (!wanted) return Truth::kUnknown;
    const auto actual = is_text ? VersionOf(value->text) : std::nullopt;
    return actual ? Of(Compare(comparison, *actual <=> *wanted)) : Truth::kFalse;
  }
  return Truth::kUnknown;
}

Truth RuleEvaluator::File(const Rule& rule, std::string_view kind) const {
  const bool prepends = kind.ends_with("PrependRegSz");
  const std::string_view what = prepends ? kind.substr(0, kind.size() - 12) : kind;
  std::string path(Text(rule, "Path"));
  if (prepends) {
    const RegistryValue* folder = FindValue(facts_, rule);
    if (folder == nullptr || folder->type != RegistryType::kString) return Truth::kFalse;
    path = JoinPath(folder->text, path);
  } else if (const std::string* csidl = rule.Find("Csidl"); csidl != nullptr) {
    const auto folder = FolderOfCsidl(*csidl);
    if (!folder) return Truth::kUnknown;
    path = JoinPath(*folder, path);
  }
  const auto found = facts_.files.find(path);
  const FileFact* file = found == facts_.files.end() ? nullptr : &found->second;
  if (what == "FileExists") {
    // Whatever else is named must be equal.
    Truth truth = Of(file != nullptr);
    for (const std::string_view attribute :
         {"Version", "Created", "Modified", "Size", "Language"}) {
      if (rule.Find(attribute) == nullptr) continue;
      truth = std::min(truth, CompareProperty(rule, attribute, "EqualTo", file));
    }
    return truth;
  }
  const std::string_view attribute = what.substr(4);
  if (attribute != "Version" && attribute != "Created" && attribute != "Modified" &&
      attribute != "Size") {
    return Truth::kUnknown;
  }
  return CompareProperty(rule, attribute, Text(rule, "Comparison"), file);
}

Truth RuleEvaluator::License(const Rule& rule, std::string_view kind) const {
  const auto value = facts_.licenses.find(Text(rule, "Value"));
  if (kind == "LicenseValueExists") return Of(value != facts_.licenses.end());
  if (kind != "LicenseDword") return Truth::kUnknown;
  const auto wanted = ParseInt<std::uint32_t>(Text(rule, "Data"));
  if (!wanted) return Truth::kUnknown;
  if (value == facts_.licenses.end()) return Truth::kFalse;
  return Of(Compare(Text(rule, "Comparison"), value->second <=> *wanted));
}

}  // namespace gapferry::client
