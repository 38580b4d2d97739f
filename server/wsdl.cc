#include "server/wsdl.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <span>

#include "base/log.h"
#include "base/text.h"
#include "server/wsdl_texts.h"

namespace gapferry::server {

namespace {

constexpr std::array<std::string_view, 9> kSimpleTypes = {
    "string", "boolean",      "int",         "long",        "short",
    "guid",   "unsignedByte", "unsignedInt", "base64Binary"};
constexpr std::string_view kDateTime = "dateTime";

bool IsSimple(std::string_view type) {
  return type == kDateTime || std::ranges::find(kSimpleTypes, type) != kSimpleTypes.end();
}

bool IsName(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  });
}

std::vector<std::string_view> Words(std::string_view line) {
  line = line.substr(0, line.find('#'));
  std::vector<std::string_view> words;
  for (const std::string_view word : Split(TrimAscii(line), ' ')) {
    if (!word.empty()) words.push_back(word);
  }
  return words;
}

}  // namespace

class DescriptionReader {
 public:
  Result<ServiceDescription> Read(std::string_view text) {
    int number = 0;
    for (const std::string_view line : Split(text, '\n')) {
      ++number;
      // A '#' within a URI would be cut; ours have none.
      if (const Result<void> done = Line(Words(line)); !done.has_value()) {
        return Refuse(fmt::format("line {}: {}", number, done.error().message));
      }
    }
    if (out_.name_.empty() || out_.calls_.empty()) return Refuse("no service or no call");
    TRY(CheckTypes());
    return std::move(out_);
  }

 private:
  static std::unexpected<Error> Refuse(std::string message) {
    return Fail(ErrorCode::kCorrupt, "service-description", std::move(message));
  }

  Result<void> Line(const std::vector<std::string_view>& words) {
    if (words.empty()) return {};
    const std::string_view first = words[0];
    if (first == "gives" && words.size() == 1) {
      if (in_request_ == false || out_.calls_.empty()) return Refuse("'gives' outside a call");
      in_request_ = false;
      fields_ = &out_.calls_.back().answer;
      return {};
    }
    if (words.size() < 2) return Refuse("one word alone");
    if (first == "enum") return Enumeration(words);
    if (first == "attribute") return Field(words, 1);
    if (words.size() != 2) return Refuse("more than two words");
    if (first == "service") {
      out_.name_ = words[1];
      return {};
    }
    if (first == "namespace") return Namespace(words[1]);
    if (first == "call" || first == "type") return Begin(first == "call", words[1]);
    return Field(words, 0);
  }

  Result<void> Namespace(std::string_view uri) {
    name_space_ = uri;
    if (out_.name_space_.empty()) out_.name_space_ = uri;
    fields_ = nullptr;
    return {};
  }

  Result<void> Begin(bool is_call, std::string_view name) {
    if (name_space_.empty() || !IsName(name)) return Refuse("no namespace or no name");
    if (!names_.insert((is_call ? "call " : "type ") + std::string(name)).second) {
      return Refuse(fmt::format("'{}' is given twice", name));
    }
    in_request_ = is_call;
    if (is_call) {
      out_.calls_.push_back({name_space_, std::string(name), {}, {}});
      fields_ = &out_.calls_.back().request;
    } else {
      out_.types_.push_back({name_space_, std::string(name), {}, {}});
      fields_ = &out_.types_.back().fields;
    }
    return {};
  }

  Result<void> Enumeration(const std::vector<std::string_view>& words) {
    TRY(Begin(/*is_call=*/false, words[1]));
    for (const std::string_view word : std::span(words).subspan(2)) {
      out_.types_.back().words.emplace_back(word);
    }
    fields_ = nullptr;
    if (words.size() == 2) return Refuse("an enum without words");
    return {};
  }

  Result<void> Field(const std::vector<std::string_view>& words, std::size_t at) {
    if (fields_ == nullptr) return Refuse("an element outside a call or type");
    if (words.size() != at + 2) return Refuse("a name and a type are needed");
    DescribedField field;
    field.name = words[at];
    field.is_attribute = at == 1;
    TRY_ASSIGN(field.type, Type(words[at + 1], field));
    if (!IsName(field.name) || !IsName(field.type)) return Refuse("no name");
    if (field.is_attribute && !field.item.empty()) return Refuse("a list as attribute");
    for (const DescribedField& other : *fields_) {
      if (other.name == field.name) return Refuse(fmt::format("'{}' is given twice", field.name));
    }
    fields_->push_back(std::move(field));
    return {};
  }

  /// Takes the marks behind the type's name.
  static Result<std::string> Type(std::string_view text, DescribedField& field) {
    const auto take = [&text](std::string_view mark) {
      if (!text.ends_with(mark)) return false;
      text.remove_suffix(mark.size());
      return true;
    };
    field.is_nillable = take("~");
    field.is_optional = take("?");
    field.is_filled_list = take("+");
    if (!text.ends_with(']')) {
      if (field.is_filled_list) return Refuse("'+' without '[]'");
      return std::string(text);
    }
    const std::size_t bracket = text.find('[');
    if (bracket == std::string_view::npos) return Refuse("']' without '['");
    const std::string_view item = text.substr(bracket + 1, text.size() - bracket - 2);
    text = text.substr(0, bracket);
    field.item = item.empty() ? text : item;
    field.is_optional = true;
    return std::string(text);
  }

  Result<void> CheckTypes() const {
    const auto check = [this](const std::vector<DescribedField>& fields) -> Result<void> {
      for (const DescribedField& field : fields) {
        if (IsSimple(field.type) || names_.contains("type " + field.type)) continue;
        return Refuse(fmt::format("type '{}' of '{}' is not given", field.type, field.name));
      }
      return {};
    };
    for (const DescribedCall& call : out_.calls_) {
      TRY(check(call.request));
      TRY(check(call.answer));
    }
    for (const DescribedType& type : out_.types_) TRY(check(type.fields));
    return {};
  }

  ServiceDescription out_;
  std::string name_space_;
  std::set<std::string> names_;
  std::vector<DescribedField>* fields_ = nullptr;  // where elements go
  bool in_request_ = false;
};

Result<ServiceDescription> ServiceDescription::Parse(std::string_view text) {
  return DescriptionReader().Read(text);
}

namespace description {
namespace {

ServiceDescription MustParse(std::string_view text) {
  Result<ServiceDescription> parsed = ServiceDescription::Parse(text);
  if (!parsed.has_value()) {  // our own text: a test reads each of them
    Log(LogLevel::kError, "service description unreadable", {{"error", parsed.error().message}});
    std::abort();
  }
  return std::move(*parsed);
}

}  // namespace

const ServiceDescription& Client() {
  static const ServiceDescription description = MustParse(kClientText);
  return description;
}
const ServiceDescription& SimpleAuth() {
  static const ServiceDescription description = MustParse(kSimpleAuthText);
  return description;
}
const ServiceDescription& Reporting() {
  static const ServiceDescription description = MustParse(kReportingText);
  return description;
}
const ServiceDescription& ServerSync() {
  static const ServiceDescription description = MustParse(kServerSyncText);
  return description;
}
const ServiceDescription& DssAuth() {
  static const ServiceDescription description = MustParse(kDssAuthText);
  return description;
}

}  // namespace description

}  // namespace gapferry::server
