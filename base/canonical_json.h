#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/guid.h"
#include "base/hash.h"
#include "base/result.h"

namespace gapferry {

/// One value of the JSON that is signed, digested and carried (docs/format.md, "Canonical JSON"):
/// objects, arrays, strings, integers and booleans; no null, no fractions.
class JsonValue {
 public:
  using Array = std::vector<JsonValue>;
  using Object = std::map<std::string, JsonValue, std::less<>>;

  JsonValue() : value_(Object{}) {}
  JsonValue(bool value) : value_(value) {}  // NOLINT: values convert, as in any JSON library
  JsonValue(std::int64_t value) : value_(value) {}                              // NOLINT
  JsonValue(int value) : value_(static_cast<std::int64_t>(value)) {}            // NOLINT
  JsonValue(std::uint64_t value) : value_(static_cast<std::int64_t>(value)) {}  // NOLINT
  JsonValue(std::string value) : value_(std::move(value)) {}                    // NOLINT
  JsonValue(std::string_view value) : value_(std::string(value)) {}             // NOLINT
  JsonValue(const char* value) : value_(std::string(value)) {}                  // NOLINT
  JsonValue(Array value) : value_(std::move(value)) {}                          // NOLINT
  JsonValue(Object value) : value_(std::move(value)) {}                         // NOLINT

  const bool* AsBool() const { return std::get_if<bool>(&value_); }
  const std::int64_t* AsInteger() const { return std::get_if<std::int64_t>(&value_); }
  const std::string* AsString() const { return std::get_if<std::string>(&value_); }
  const Array* AsArray() const { return std::get_if<Array>(&value_); }
  const Object* AsObject() const { return std::get_if<Object>(&value_); }
  Object* AsObject() { return std::get_if<Object>(&value_); }
  Array* AsArray() { return std::get_if<Array>(&value_); }

  bool operator==(const JsonValue&) const = default;

 private:
  std::variant<bool, std::int64_t, std::string, Array, Object> value_;
};

/// Integers of the canonical form lie strictly between -2^53 and 2^53.
inline constexpr std::int64_t kMaxJsonInteger = (std::int64_t{1} << 53) - 1;
inline constexpr int kMaxJsonDepth = 16;

/// The one byte form of `value`, without a line end: keys sorted by byte, no white space, `"` `\`
/// and controls escaped (\b \t \n \f \r, else \u00xx in lower case), everything else as UTF-8.
/// Strings must be valid UTF-8 without U+0000 and integers in range: anything else is a bug of
/// ours.
std::string WriteCanonicalJson(const JsonValue& value);

/// Accepts exactly what WriteCanonicalJson produces, so that every accepted text re-encodes to
/// itself; fails with kCorrupt (reason "json-not-canonical") naming the byte. Depth at most
/// kMaxJsonDepth. Memory is bounded by a small multiple of the text: cap the text before.
Result<JsonValue> ParseCanonicalJson(std::string_view text);

/// Typed access to the members of one object, for decoders. The first failure is kept and returned
/// by Finish (kCorrupt, reason "json-field"); until then getters answer with empty values. Finish
/// also refuses members that nobody asked for: a format knows all its fields.
/// The value must outlive the reader.
class JsonFields {
 public:
  /// `what` names the object in messages, such as "index line 17".
  JsonFields(const JsonValue& value, std::string what);

  bool Has(std::string_view key) const;
  std::string Text(std::string_view key, std::size_t max_bytes);
  /// Printable ASCII only.
  std::string AsciiText(std::string_view key, std::size_t max_bytes);
  std::uint64_t Count(std::string_view key, std::uint64_t max = kMaxJsonInteger);
  std::int64_t Integer(std::string_view key, std::int64_t min, std::int64_t max);
  bool Flag(std::string_view key);
  Guid GuidValue(std::string_view key);                   ///< lower case, no braces
  UtcTime Time(std::string_view key);                     ///< as UtcTime::ToXml writes it
  Sha1Digest Sha1Value(std::string_view key);             ///< 40 lower-case hex digits
  Sha256Digest Sha256Value(std::string_view key);         ///< 64 lower-case hex digits
  Bytes Base64(std::string_view key, std::size_t bytes);  ///< exactly `bytes`, one spelling
  const JsonValue::Array& List(std::string_view key, std::size_t max_items);
  /// An object member; answers an empty object when it is absent or something else.
  const JsonValue& Child(std::string_view key);

  /// Notes a failure found by the caller, if it is the first.
  void Refuse(std::string message);
  Result<void> Finish();

 private:
  const JsonValue* Take(std::string_view key);
  void RefuseField(std::string_view key, std::string_view problem);

  const JsonValue::Object* object_ = nullptr;
  std::string what_;
  std::vector<std::string_view> taken_;
  std::string failure_;
};

}  // namespace gapferry
