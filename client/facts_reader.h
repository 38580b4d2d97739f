#pragma once

#include <fmt/core.h>
#include <yaml-cpp/yaml.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "client/facts.h"

// Included by the .cc files that read facts alone.

namespace gapferry::client {

/// Reads mappings key by key; every error names the place in the file. Nodes may throw
/// YAML::Exception; Facts::Parse catches it.
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

  Result<bool> YesOrNo(const YAML::Node& node) const {
    TRY_ASSIGN(const std::string word, Choice(node, {"true", "false"}));
    return word == "true";
  }

  Result<UtcTime> Date(const YAML::Node& node) const {
    TRY_ASSIGN(const std::string text, Text(node));
    const auto time = UtcTime::ParseXmlDate(text);
    if (!time) {
      return FailAt(node, fmt::format("'{}' is no date such as 2026-01-31 or 2026-01-31T18:00:00Z",
                                      EscapeForDisplay(text, 40)));
    }
    return *time;
  }

  /// Calls `use` for each element of a list; nothing counts as an empty one.
  template <class Use>
  Result<void> Elements(const YAML::Node& node, std::string_view what, Use use) const {
    if (node.IsNull()) return {};
    if (!node.IsSequence()) return FailAt(node, fmt::format("expected a list of {}", what));
    for (const auto& item : node) TRY(use(item));
    return {};
  }

  KeyReader Into(std::vector<std::string>& target) const {
    return [this, &target](const YAML::Node& node) {
      return Elements(node, "texts", [&](const YAML::Node& item) -> Result<void> {
        TRY_ASSIGN(std::string text, Text(item));
        target.push_back(std::move(text));
        return {};
      });
    };
  }
  KeyReader Into(std::vector<Guid>& target) const {
    return [this, &target](const YAML::Node& node) {
      return Elements(node, "GUIDs", [&](const YAML::Node& item) -> Result<void> {
        TRY_ASSIGN(const Guid guid, ReadGuid(item));
        target.push_back(guid);
        return {};
      });
    };
  }
  KeyReader Into(bool& target) const {
    return [this, &target](const YAML::Node& node) -> Result<void> {
      TRY_ASSIGN(target, YesOrNo(node));
      return {};
    };
  }
  KeyReader Into(Version& target) const {
    return [this, &target](const YAML::Node& node) -> Result<void> {
      TRY_ASSIGN(target, ReadVersion(node));
      return {};
    };
  }
  KeyReader Into(std::optional<UtcTime>& target) const {
    return [this, &target](const YAML::Node& node) -> Result<void> {
      TRY_ASSIGN(target, Date(node));
      return {};
    };
  }
  template <class T>
  KeyReader IntoNumber(std::optional<T>& target) const {
    return [this, &target](const YAML::Node& node) -> Result<void> {
      TRY_ASSIGN(target, Number<T>(node));
      return {};
    };
  }
  template <class T>
  KeyReader IntoNumbers(CaselessMap<T>& target) const {
    return [this, &target](const YAML::Node& node) {
      return Entries(
          node,
          [&](const std::string& key, const YAML::Node&, const YAML::Node& value) -> Result<void> {
            TRY_ASSIGN(target[key], Number<T>(value));
            return {};
          });
    };
  }
  KeyReader Into(CaselessMap<std::string>& target) const {
    return [this, &target](const YAML::Node& node) {
      return Entries(
          node,
          [&](const std::string& key, const YAML::Node&, const YAML::Node& value) -> Result<void> {
            TRY_ASSIGN(target[key], Text(value));
            return {};
          });
    };
  }
  KeyReader Into(CaselessMap<bool>& target) const {
    return [this, &target](const YAML::Node& node) {
      return Entries(
          node,
          [&](const std::string& key, const YAML::Node&, const YAML::Node& value) -> Result<void> {
            TRY_ASSIGN(target[key], YesOrNo(value));
            return {};
          });
    };
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

/// `devices`: a list of what a computer is made of.
Result<void> ReadDevices(const FactsReader& reader, const YAML::Node& node, Facts& facts);
/// `files` and `msi_products`, whose values have a short and a long form.
Result<void> ReadFiles(const FactsReader& reader, const YAML::Node& node, Facts& facts);
Result<void> ReadProducts(const FactsReader& reader, const YAML::Node& node, Facts& facts);

}  // namespace gapferry::client
