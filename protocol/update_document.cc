#include "protocol/update_document.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "base/text.h"
#include "protocol/fragment_builder.h"
#include "protocol/update_document_reader.h"
#include "protocol/xml_stream.h"

namespace gapferry::protocol {

namespace {

constexpr std::array<std::pair<UpdateType, std::string_view>, 4> kTypeNames = {{
    {UpdateType::kCategory, "Category"},
    {UpdateType::kDetectoid, "Detectoid"},
    {UpdateType::kSoftware, "Software"},
    {UpdateType::kDriver, "Driver"},
}};

void SortUnique(std::vector<Guid>& ids) {
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

bool IsAsciiAlphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

XmlStreamLimits StreamLimits(const UpdateDocumentLimits& limits) {
  XmlStreamLimits stream;
  stream.document_bytes = limits.document_bytes;
  stream.token_bytes = limits.token_bytes;
  stream.depth = limits.depth;
  stream.attributes = limits.attributes;
  return stream;
}

}  // namespace

std::string_view UpdateTypeName(UpdateType type) {
  for (const auto& [candidate, name] : kTypeNames) {
    if (candidate == type) return name;
  }
  return {};
}

Result<UpdateType> ParseUpdateType(std::string_view name) {
  for (const auto& [type, candidate] : kTypeNames) {
    if (candidate == name) return type;
  }
  return Fail(ErrorCode::kUnsupported,
              "UpdateType '" + EscapeForDisplay(name, 60) + "' is not known");
}

std::string UpdateFile::Extension() const {
  const std::size_t dot = file_name.rfind('.');
  if (dot == std::string::npos) return "bin";
  const std::string_view extension = std::string_view(file_name).substr(dot + 1);
  if (extension.empty() || extension.size() > 16 ||
      !std::ranges::all_of(extension, IsAsciiAlphanumeric)) {
    return "bin";
  }
  return std::string(extension);
}

bool UpdateDocument::IsCategoryOf(std::string_view category_type) const {
  return type == UpdateType::kCategory && category && category->type == category_type;
}

std::vector<Guid> UpdateDocument::PrerequisiteIds() const {
  std::vector<Guid> ids;
  for (const PrerequisiteClause& clause : prerequisites) {
    ids.insert(ids.end(), clause.any_of.begin(), clause.any_of.end());
  }
  SortUnique(ids);
  return ids;
}

std::vector<Guid> UpdateDocument::CategoryIds() const {
  std::vector<Guid> ids;
  for (const PrerequisiteClause& clause : prerequisites) {
    if (clause.is_category) ids.insert(ids.end(), clause.any_of.begin(), clause.any_of.end());
  }
  SortUnique(ids);
  return ids;
}

const LocalizedText* UpdateDocument::Text(std::string_view language) const {
  std::vector<std::string> available;
  for (const LocalizedText& text : localized) available.push_back(text.language);
  const int chosen = ChooseLanguage(available, {std::string(language)}, default_language);
  return chosen < 0 ? nullptr : &localized[static_cast<std::size_t>(chosen)];
}

std::string UpdateDocument::Title(std::string_view language) const {
  const LocalizedText* text = Text(language);
  return text == nullptr ? std::string() : text->title;
}

std::uint64_t UpdateDocument::TotalFileBytes() const {
  std::uint64_t total = 0;
  for (const UpdateFile& file : files) {
    total += std::min(file.size, std::numeric_limits<std::uint64_t>::max() - total);
  }
  return total;
}

struct UpdateDocumentParser::Impl : XmlHandler {
  Impl(FragmentReceiver* receiver, const UpdateDocumentLimits& limits)
      : reader(limits), stream(*this, StreamLimits(limits)) {
    if (receiver != nullptr) builder.emplace(*receiver, limits.reorder_bytes, limits.text_bytes);
  }

  // The reader is first: it refuses repeated parts, which the builder counts on.
  Result<void> Start(const XmlElement& element) override {
    TRY(reader.Start(element));
    return builder ? builder->Start(element) : Result<void>();
  }
  Result<void> End(const XmlElement& element) override {
    TRY(reader.End());
    return builder ? builder->End(element) : Result<void>();
  }
  Result<void> Text(std::string_view text) override {
    TRY(reader.Text(text));
    return builder ? builder->Text(text) : Result<void>();
  }

  UpdateDocumentReader reader;
  std::optional<FragmentBuilder> builder;
  XmlStream stream;
};

UpdateDocumentParser::UpdateDocumentParser(FragmentReceiver* receiver,
                                           const UpdateDocumentLimits& limits)
    : impl_(std::make_unique<Impl>(receiver, limits)) {}
UpdateDocumentParser::~UpdateDocumentParser() = default;
UpdateDocumentParser::UpdateDocumentParser(UpdateDocumentParser&&) noexcept = default;
UpdateDocumentParser& UpdateDocumentParser::operator=(UpdateDocumentParser&&) noexcept = default;

Result<void> UpdateDocumentParser::Feed(std::string_view utf8) { return impl_->stream.Feed(utf8); }

Result<UpdateDocument> UpdateDocumentParser::Finish() {
  TRY(impl_->stream.Finish());
  TRY_ASSIGN(UpdateDocument document, impl_->reader.Finish());
  if (impl_->builder) TRY(impl_->builder->Finish());
  return document;
}

Result<UpdateDocument> ParseUpdateDocument(std::string_view utf8, FragmentReceiver* receiver,
                                           const UpdateDocumentLimits& limits) {
  UpdateDocumentParser parser(receiver, limits);
  TRY(parser.Feed(utf8));
  return parser.Finish();
}

Result<UpdateDocument> ParseUpdateDocument(Source& utf8, FragmentReceiver* receiver,
                                           const UpdateDocumentLimits& limits) {
  UpdateDocumentParser parser(receiver, limits);
  Bytes buffer(256 << 10);
  for (;;) {
    TRY_ASSIGN(const std::size_t size, utf8.Read(buffer));
    if (size == 0) return parser.Finish();
    TRY(parser.Feed(AsText(ByteView(buffer).first(size))));
  }
}

}  // namespace gapferry::protocol
