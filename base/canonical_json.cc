#include "base/canonical_json.h"

#include <algorithm>
#include <cassert>

#include "base/bytes.h"
#include "base/text.h"

namespace gapferry {
namespace {

void WriteString(std::string_view text, std::string& out) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte >= 0x20) {
      out += c;
    } else if (const auto at = std::string_view("\b\t\n\f\r").find(c);
               at != std::string_view::npos) {
      out += '\\';
      out += "btnfr"[at];
    } else {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  out += '"';
}

void WriteValue(const JsonValue& value, std::string& out) {
  if (const bool* flag = value.AsBool()) {
    out += *flag ? "true" : "false";
  } else if (const std::int64_t* number = value.AsInteger()) {
    assert(*number <= kMaxJsonInteger && *number >= -kMaxJsonInteger);
    out += std::to_string(*number);
  } else if (const std::string* text = value.AsString()) {
    WriteString(*text, out);
  } else if (const JsonValue::Array* array = value.AsArray()) {
    out += '[';
    for (const JsonValue& item : *array) {
      if (&item != array->data()) out += ',';
      WriteValue(item, out);
    }
    out += ']';
  } else {
    out += '{';
    bool first = true;
    for (const auto& [key, member] : *value.AsObject()) {
      if (!std::exchange(first, false)) out += ',';
      WriteString(key, out);
      out += ':';
      WriteValue(member, out);
    }
    out += '}';
  }
}

/// Recursive descent over the canonical form only; depth is capped, so is the recursion.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<JsonValue> Run() {
    if (!IsValidUtf8(text_)) return Bad("no valid UTF-8");
    TRY_ASSIGN(JsonValue value, Value(1));
    if (at_ != text_.size()) return Bad("bytes after the end of the value");
    return value;
  }

 private:
  std::unexpected<Error> Bad(std::string_view problem) const {
    return Fail(ErrorCode::kCorrupt, "json-not-canonical",
                "not canonical JSON at byte " + std::to_string(at_) + ": " + std::string(problem));
  }
  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool Eat(std::string_view expected) {
    if (!text_.substr(at_).starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }

  Result<JsonValue> Value(int depth) {
    if (depth > kMaxJsonDepth) return Bad("nested too deeply");
    switch (Peek()) {
      case '{':
        return ObjectValue(depth);
      case '[':
        return ArrayValue(depth);
      case '"': {
        TRY_ASSIGN(std::string text, StringValue());
        return JsonValue(std::move(text));
      }
      default:
        if (Eat("true")) return JsonValue(true);
        if (Eat("false")) return JsonValue(false);
        return Number();
    }
  }

  Result<JsonValue> Number() {
    const std::size_t start = at_;
    if (Peek() == '-') ++at_;
    const std::size_t digits = at_;
    while (Peek() >= '0' && Peek() <= '9') ++at_;
    const std::string_view spelled = text_.substr(start, at_ - start);
    const auto number = ParseInt<std::int64_t>(spelled);
    const bool leading_zero = text_.substr(digits).starts_with('0') && spelled != "0";
    if (!number || leading_zero || *number > kMaxJsonInteger || *number < -kMaxJsonInteger) {
      at_ = start;
      return Bad("expected a value");
    }
    return JsonValue(*number);
  }

  Result<std::string> StringValue() {
    if (!Eat("\"")) return Bad("expected a string");
    std::string out;
    for (;;) {
      if (at_ >= text_.size()) return Bad("string does not end");
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return out;
      }
      if (static_cast<unsigned char>(c) < 0x20) return Bad("bare control character");
      if (c == '\\') {
        TRY_ASSIGN(const char escaped, Escape());
        out += escaped;
      } else {
        out += c;
        ++at_;
      }
    }
  }

  /// Only the escapes that the writer uses, and each only where it uses it.
  Result<char> Escape() {
    const std::string_view rest = text_.substr(at_ + 1);
    if (rest.starts_with('"') || rest.starts_with('\\')) {
      at_ += 2;
      return rest.front();
    }
    const auto known = std::string_view("btnfr").find(rest.empty() ? '\0' : rest.front());
    if (known != std::string_view::npos) {
      at_ += 2;
      return "\b\t\n\f\r"[known];
    }
    for (char control = 1; control < 0x20; ++control) {
      std::string spelled;
      WriteString({&control, 1}, spelled);
      if (!rest.starts_with(std::string_view(spelled).substr(2, 5)) || spelled.size() != 8)
        continue;
      at_ += 6;
      return control;
    }
    return Bad("escape that the canonical form does not use");
  }

  Result<JsonValue> ArrayValue(int depth) {
    ++at_;
    JsonValue::Array items;
    if (Eat("]")) return JsonValue(std::move(items));
    do {
      TRY_ASSIGN(JsonValue item, Value(depth + 1));
      items.push_back(std::move(item));
    } while (Eat(","));
    if (!Eat("]")) return Bad("expected ',' or ']'");
    return JsonValue(std::move(items));
  }

  Result<JsonValue> ObjectValue(int depth) {
    ++at_;
    JsonValue::Object members;
    if (Eat("}")) return JsonValue(std::move(members));
    do {
      TRY_ASSIGN(std::string key, StringValue());
      if (!members.empty() && members.rbegin()->first >= key) {
        return Bad("key '" + EscapeForDisplay(key, 40) + "' is repeated or out of order");
      }
      if (!Eat(":")) return Bad("expected ':'");
      TRY_ASSIGN(JsonValue member, Value(depth + 1));
      members.emplace_hint(members.end(), std::move(key), std::move(member));
    } while (Eat(","));
    if (!Eat("}")) return Bad("expected ',' or '}'");
    return JsonValue(std::move(members));
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

std::string WriteCanonicalJson(const JsonValue& value) {
  std::string out;
  WriteValue(value, out);
  return out;
}

Result<JsonValue> ParseCanonicalJson(std::string_view text) { return Parser(text).Run(); }

JsonFields::JsonFields(const JsonValue& value, std::string what)
    : object_(value.AsObject()), what_(std::move(what)) {
  if (object_ == nullptr) failure_ = what_ + ": expected an object";
}

void JsonFields::Refuse(std::string message) {
  if (failure_.empty()) failure_ = what_ + ": " + message;
}

void JsonFields::RefuseField(std::string_view key, std::string_view problem) {
  Refuse("field '" + std::string(key) + "' " + std::string(problem));
}

bool JsonFields::Has(std::string_view key) const {
  return object_ != nullptr && object_->contains(key);
}

const JsonValue* JsonFields::Take(std::string_view key) {
  if (object_ == nullptr) return nullptr;
  const auto found = object_->find(key);
  if (found == object_->end()) {
    RefuseField(key, "is missing");
    return nullptr;
  }
  taken_.push_back(found->first);
  return &found->second;
}

std::string JsonFields::Text(std::string_view key, std::size_t max_bytes) {
  const JsonValue* value = Take(key);
  if (value == nullptr) return {};
  const std::string* text = value->AsString();
  if (text == nullptr) {
    RefuseField(key, "is no string");
    return {};
  }
  if (text->size() > max_bytes) {
    RefuseField(key, "has " + std::to_string(text->size()) + " bytes, allowed are " +
                         std::to_string(max_bytes));
    return {};
  }
  return *text;
}

std::string JsonFields::AsciiText(std::string_view key, std::size_t max_bytes) {
  std::string text = Text(key, max_bytes);
  if (std::ranges::any_of(text, [](char c) { return c < 0x20 || c > 0x7E; })) {
    RefuseField(key, "holds something other than printable ASCII");
    return {};
  }
  return text;
}

std::uint64_t JsonFields::Count(std::string_view key, std::uint64_t max) {
  return static_cast<std::uint64_t>(
      Integer(key, 0, static_cast<std::int64_t>(std::min<std::uint64_t>(max, kMaxJsonInteger))));
}

std::int64_t JsonFields::Integer(std::string_view key, std::int64_t min, std::int64_t max) {
  const JsonValue* value = Take(key);
  if (value == nullptr) return 0;
  const std::int64_t* number = value->AsInteger();
  if (number == nullptr || *number < min || *number > max) {
    RefuseField(key,
                "is no integer between " + std::to_string(min) + " and " + std::to_string(max));
    return 0;
  }
  return *number;
}

bool JsonFields::Flag(std::string_view key) {
  const JsonValue* value = Take(key);
  if (value == nullptr) return false;
  const bool* flag = value->AsBool();
  if (flag == nullptr) RefuseField(key, "is neither true nor false");
  return flag != nullptr && *flag;
}

Guid JsonFields::GuidValue(std::string_view key) {
  const std::string text = Text(key, 36);
  const auto guid = Guid::Parse(text);
  if (!guid || guid->ToString() != text) {
    RefuseField(key, "is no GUID in lower case");
    return {};
  }
  return *guid;
}

UtcTime JsonFields::Time(std::string_view key) {
  const std::string text = Text(key, 32);
  const auto time = UtcTime::ParseXml(text);
  if (!time || time->ToXml() != text) {
    RefuseField(key, "is no time in the form 2026-10-04T16:03:35Z");
    return {};
  }
  return *time;
}

Sha1Digest JsonFields::Sha1Value(std::string_view key) {
  const std::string text = Text(key, 40);
  const auto digest = Sha1Digest::FromHex(text);
  if (!digest || digest->ToHex() != text) {
    RefuseField(key, "is no SHA-1 in lower-case hex digits");
    return {};
  }
  return *digest;
}

Sha256Digest JsonFields::Sha256Value(std::string_view key) {
  const std::string text = Text(key, 64);
  const auto digest = Sha256Digest::FromHex(text);
  if (!digest || digest->ToHex() != text) {
    RefuseField(key, "is no SHA-256 in lower-case hex digits");
    return {};
  }
  return *digest;
}

Bytes JsonFields::Base64(std::string_view key, std::size_t bytes) {
  const std::string text = Text(key, (bytes + 2) / 3 * 4);
  auto decoded = Base64Decode(text);
  if (!decoded || decoded->size() != bytes || Base64Encode(*decoded) != text) {
    RefuseField(key, "is no base64 of " + std::to_string(bytes) + " bytes");
    return Bytes(bytes);
  }
  return std::move(*decoded);
}

const JsonValue::Array& JsonFields::List(std::string_view key, std::size_t max_items) {
  static const JsonValue::Array kEmpty;
  const JsonValue* value = Take(key);
  if (value == nullptr) return kEmpty;
  const JsonValue::Array* array = value->AsArray();
  if (array == nullptr || array->size() > max_items) {
    RefuseField(key, "is no list of at most " + std::to_string(max_items) + " items");
    return kEmpty;
  }
  return *array;
}

const JsonValue& JsonFields::Child(std::string_view key) {
  static const JsonValue kEmpty;
  const JsonValue* value = Take(key);
  if (value == nullptr) return kEmpty;
  if (value->AsObject() == nullptr) {
    RefuseField(key, "is no object");
    return kEmpty;
  }
  return *value;
}

Result<void> JsonFields::Finish() {
  if (failure_.empty() && object_ != nullptr) {
    for (const auto& [key, value] : *object_) {
      if (std::ranges::find(taken_, key) == taken_.end()) {
        Refuse("unknown field '" + EscapeForDisplay(key, 40) + "'");
        break;
      }
    }
  }
  if (!failure_.empty()) return Fail(ErrorCode::kCorrupt, "json-field", failure_);
  return {};
}

}  // namespace gapferry
