#include "cli/command.h"

#include <fmt/format.h>

#include <cstdlib>

#include "base/log.h"
#include "base/text.h"

namespace gapferry::cli {

const std::vector<std::string>& Arguments::Values(std::string_view name) const {
  const auto found = values_.find(name);
  if (found == values_.end()) {
    Log(LogLevel::kError, "a command asked for an option it did not declare", {{"option", name}});
    std::abort();
  }
  return found->second;
}

bool Arguments::Has(std::string_view name) const { return !Values(name).empty(); }

std::optional<std::string> Arguments::Text(std::string_view name) const {
  const auto& values = Values(name);
  if (values.empty()) return std::nullopt;
  return values.front();
}

std::string Arguments::TextOr(std::string_view name, std::string_view otherwise) const {
  return Text(name).value_or(std::string(otherwise));
}

std::optional<std::uint64_t> Arguments::Number(std::string_view name) const {
  const auto text = Text(name);
  return text ? ParseInt<std::uint64_t>(*text) : std::nullopt;
}

std::vector<std::string> Arguments::List(std::string_view name) const { return Values(name); }

}  // namespace gapferry::cli
