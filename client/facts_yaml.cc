// Facts::Load and Facts::Parse: the YAML form of facts. Exceptions of yaml-cpp end here.
#include <fmt/core.h>
#include <yaml-cpp/yaml.h>

#include <functional>

#include "base/file.h"
#include "base/text.h"
#include "client/facts.h"

namespace gapferry::client {

namespace {

constexpr std::uint64_t kMaxFactsBytes = 64 << 20;

// Reads mappings key by key; every error names the place in the file.
class FactsReader {
 public:
  explicit FactsReader(std::string_view origin) : origin_(origin) {}

  using KeyReader = std::function<Result<void>(const YAML::Node& value)>;
  using Keys = std::vector<std::pair<std::string_view, KeyReader>>;

  std::unexpected<Error> FailAt(const YAML::Mark& mark, std::string_view what) const {
    return Fail(ErrorCode::kUsage,
                fmt::format("{}:{}:{}: {}", origin_, mark.line + 1, mark.column + 1, what));
  }
  std::unexpected<Error> FailAt(const YAML::Node& node, std::string_view what) const {
    return FailAt(node.Mark(), what);
  }

  // A mapping whose keys are known.
  Result<void> Section(const YAML::Node& node, const Keys& keys) const {
    return Entries(node,
                   [&](const std::string& key, const YAML::Node& name,
                       const YAML::Node& value) -> Result<void> {
                     for (const auto& [known, read] : keys) {
                       if (known == key) return read(value);
                     }
                     return FailAt(
                         name, fmt::format("'{}' is not known here", EscapeForDisplay(key, 60)));
                   });
  }

  // A mapping with names of the user's.
  template <class Use>
  Result<void> Entries(const YAML::Node& node, Use use) const {
    if (node.IsNull()) return {};
    if (!node.IsMap()) return FailAt(node, "expected a mapping");
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) return FailAt(entry.first, "expected a name");
      TRY(use(entry.first.Scalar(), entry.first, entry.second));
    }
    return {};
  }

  Result<std::string> Text(const YAML::Node& node) const {
    if (!node.IsScalar()) return FailAt(node, "expected a text");
    return node.Scalar();
  }

  template <class T>
  Result<T> Number(const YAML::Node& node) const {
    TRY_ASSIGN(const std::string text, Text(node));
    const auto number = ParseInt<T>(text);
    if (!number) {
      return FailAt(node,
                    fmt::format("'{}' is no whole number in range", EscapeForDisplay(text, 40)));
    }
    return *number;
  }

  Result<Version> ReadVersion(const YAML::Node& node) const {
    TRY_ASSIGN(const std::string text, Text(node));
    const auto version = Version::Parse(text);
    if (!version) return FailAt(node, version.error().message);
    return *version;
  }

  Result<std::optional<Version>> OptionalVersion(const YAML::Node& node) const {
    if (node.IsNull() || (node.IsScalar() && node.Scalar().empty()))
      return std::optional<Version>();
    TRY_ASSIGN(const Version version, ReadVersion(node));
    return std::optional<Version>(version);
  }

  Result<Guid> ReadGuid(const YAML::Node& node) const {
    TRY_ASSIGN(const std::string text, Text(node));
    const auto guid = Guid::Parse(text);
    if (!guid) return FailAt(node, guid.error().message);
    return *guid;
  }

  Result<std::string> Choice(const YAML::Node& node,
                             const std::vector<std::string_view>& words) const {
    TRY_ASSIGN(const std::string text, Text(node));
    std::string expected;
    for (const std::string_view word : words) {
      if (word == text) return text;
      expected += (expected.empty() ? "" : ", ") + std::string(word);
    }
    return FailAt(node,
                  fmt::format("'{}', expected one of {}", EscapeForDisplay(text, 40), expected));
  }

  KeyReader Into(std::string& target) const {
    return [this, &target](const YAML::Node& node) -> Result<void> {
      TRY_ASSIGN(target, Text(node));
      return {};
    };
  }
  KeyReader Into(std::uint32_t& target) const {
    return [this, &target](const YAML::Node& node) -> Result<void> {
      TRY_ASSIGN(target, Number<std::uint32_t>(node));
      return {};
    };
  }
  KeyReader Into(CaselessMap<std::optional<Version>>& target) const {
    return [this, &target](const YAML::Node& node) {
      return Entries(
          node,
          [&](const std::string& key, const YAML::Node&, const YAML::Node& value) -> Result<void> {
            TRY_ASSIGN(target[key], OptionalVersion(value));
            return {};
          });
    };
  }

 private:
  const std::string origin_;
};

Result<void> ReadOs(const FactsReader& reader, const YAML::Node& node, Facts& facts) {
  return reader.Section(
      node, {
                {"version",
                 [&](const YAML::Node& value) -> Result<void> {
                   TRY_ASSIGN(facts.os_version, reader.ReadVersion(value));
                   return {};
                 }},
                {"product_type",
                 [&](const YAML::Node& value) -> Result<void> {
                   TRY_ASSIGN(const std::string word,
                              reader.Choice(value, {"workstation", "domain-controller", "server"}));
                   facts.product_type = word == "workstation" ? 1 : word == "server" ? 3 : 2;
                   return {};
                 }},
                {"architecture",
                 [&](const YAML::Node& value) -> Result<void> {
                   TRY_ASSIGN(facts.architecture, reader.Choice(value, {"amd64", "x86", "arm64"}));
                   return {};
                 }},
                {"service_pack",
                 [&](const YAML::Node& value) -> Result<void> {
                   TRY_ASSIGN(const Version version, reader.ReadVersion(value));
                   facts.service_pack_major = version.part[0];
                   facts.service_pack_minor = version.part[1];
                   return {};
                 }},
                {"locale", reader.Into(facts.locale)},
                {"suite_mask", reader.Into(facts.suite_mask)},
                {"sku", reader.Into(facts.sku)},
                {"description", reader.Into(facts.description)},
            });
}

Result<RegistryValue> ReadRegistryValue(const FactsReader& reader, const YAML::Node& node) {
  RegistryValue value;
  if (node.IsMap()) {
    value.type = RegistryType::kOther;
    TRY(reader.Section(node, {{"type", reader.Into(value.type_name)},
                              {"data", [](const YAML::Node&) -> Result<void> { return {}; }}}));
    return value;
  }
  TRY_ASSIGN(value.text, reader.Text(node));
  // A plain scalar is tagged "?", a quoted one "!".
  if (node.Tag() != "!" && !value.text.empty() &&
      value.text.find_first_not_of("0123456789") == std::string::npos) {
    value.type = RegistryType::kDword;
    value.type_name = "REG_DWORD";
    TRY_ASSIGN(value.number, reader.Number<std::uint32_t>(node));
  }
  return value;
}

Result<void> ReadRegistry(const FactsReader& reader, const YAML::Node& node, Facts& facts) {
  return reader.Entries(
      node, [&](const std::string& key, const YAML::Node&, const YAML::Node& values) {
        auto& target = facts.registry[key];
        return reader.Entries(values,
                              [&](const std::string& name, const YAML::Node&,
                                  const YAML::Node& value) -> Result<void> {
                                TRY_ASSIGN(target[name], ReadRegistryValue(reader, value));
                                return {};
                              });
      });
}

Result<void> ReadProducts(const FactsReader& reader, const YAML::Node& node, Facts& facts) {
  return reader.Entries(
      node,
      [&](const std::string& code, const YAML::Node&, const YAML::Node& value) -> Result<void> {
        MsiProduct product;
        if (value.IsMap()) {
          TRY(reader.Section(value, {{"version",
                                      [&](const YAML::Node& version) -> Result<void> {
                                        TRY_ASSIGN(product.version, reader.ReadVersion(version));
                                        return {};
                                      }},
                                     {"language", [&](const YAML::Node& language) -> Result<void> {
                                        TRY_ASSIGN(product.language,
                                                   reader.Number<std::int32_t>(language));
                                        return {};
                                      }}}));
        } else {
          TRY_ASSIGN(product.version, reader.ReadVersion(value));
        }
        facts.msi_products[code] = product;
        return {};
      });
}

Result<void> ReadAll(const FactsReader& reader, const YAML::Node& root, Facts& facts) {
  return reader.Section(
      root,
      {
          {"name", reader.Into(facts.name)},
          {"client_id",
           [&](const YAML::Node& node) -> Result<void> {
             TRY_ASSIGN(facts.client_id, reader.ReadGuid(node));
             return {};
           }},
          {"target_group",
           [&](const YAML::Node& node) -> Result<void> {
             TRY_ASSIGN(facts.target_group, reader.Text(node));
             return {};
           }},
          {"os", [&](const YAML::Node& node) { return ReadOs(reader, node, facts); }},
          {"make", reader.Into(facts.make)},
          {"model", reader.Into(facts.model)},
          {"bios", reader.Into(facts.bios)},
          {"registry", [&](const YAML::Node& node) { return ReadRegistry(reader, node, facts); }},
          {"files", reader.Into(facts.files)},
          {"msi_products",
           [&](const YAML::Node& node) { return ReadProducts(reader, node, facts); }},
          {"cbs_packages", reader.Into(facts.cbs_packages)},
          {"licenses",
           [&](const YAML::Node& node) {
             return reader.Entries(node,
                                   [&](const std::string& name, const YAML::Node&,
                                       const YAML::Node& value) -> Result<void> {
                                     TRY_ASSIGN(facts.licenses[name],
                                                reader.Number<std::uint32_t>(value));
                                     return {};
                                   });
           }},
          {"drivers", reader.Into(facts.drivers)},
          {"installed_updates",
           [&](const YAML::Node& node) -> Result<void> {
             if (node.IsNull()) return {};
             if (!node.IsSequence()) return reader.FailAt(node, "expected a list of GUIDs");
             for (const auto& item : node) {
               TRY_ASSIGN(const Guid guid, reader.ReadGuid(item));
               facts.installed_updates.push_back(guid);
             }
             return {};
           }},
      });
}

}  // namespace

Result<Facts> Facts::Parse(std::string_view yaml, std::string_view origin) {
  const FactsReader reader(origin);
  try {
    Facts facts;
    TRY(ReadAll(reader, YAML::Load(std::string(yaml)), facts));
    if (facts.name.empty()) {
      return Fail(ErrorCode::kUsage, fmt::format("{}: the key 'name' is missing", origin));
    }
    return facts;
  } catch (const YAML::Exception& exception) {
    return reader.FailAt(exception.mark, exception.msg);
  }
}

Result<Facts> Facts::Load(const std::filesystem::path& path) {
  TRY_ASSIGN(const std::string text, ReadTextFile(path, kMaxFactsBytes));
  return Parse(text, path.string());
}

}  // namespace gapferry::client
