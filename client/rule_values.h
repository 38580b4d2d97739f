#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "base/text.h"
#include "client/rules.h"

// What the .cc files of rules share.

namespace gapferry::client {

inline Truth Of(bool value) { return value ? Truth::kTrue : Truth::kFalse; }
inline Truth Of(std::optional<bool> value) { return value ? Of(*value) : Truth::kUnknown; }

/// ScalarComparison; nothing for another word.
inline std::optional<bool> Compare(std::string_view comparison, std::strong_ordering order) {
  if (comparison == "EqualTo") return order == 0;
  if (comparison == "LessThan") return order < 0;
  if (comparison == "LessThanOrEqualTo") return order <= 0;
  if (comparison == "GreaterThan") return order > 0;
  if (comparison == "GreaterThanOrEqualTo") return order >= 0;
  return std::nullopt;
}

/// The attribute, empty when absent.
inline std::string_view Text(const Rule& rule, std::string_view attribute) {
  const std::string* value = rule.Find(attribute);
  return value == nullptr ? std::string_view() : std::string_view(*value);
}

inline std::optional<Version> VersionOf(std::string_view text) {
  const auto version = Version::Parse(text);
  return version ? std::optional(*version) : std::nullopt;
}

inline bool IsTrue(std::string_view text) { return text == "true" || text == "1"; }

}  // namespace gapferry::client
