#include "mirror/exchange/metadata_batch.h"

#include <set>

#include "base/canonical_json.h"

namespace gapferry::mirror::exchange {
namespace {

std::unexpected<Error> Malformed(std::uint64_t line, const std::string& problem) {
  return Fail(ErrorCode::kCorrupt, "metadata-malformed",
              "metadata line " + std::to_string(line) + ": " + problem);
}

Result<JsonValue::Array> Urls(Catalog& catalog, RevisionId id) {
  JsonValue::Array urls;
  TRY_ASSIGN(const auto files, catalog.Files(id));
  std::set<Sha1Digest> seen;
  for (const DeclaredFile& file : files) {
    if (urls.size() == kMaxUrlsPerRevision || !seen.insert(file.sha1).second) continue;
    TRY_ASSIGN(const auto url, catalog.FileUrl(file.sha1));
    if (url && url->size() <= 2048) {
      urls.push_back(JsonValue::Object{{"sha1", file.sha1.ToHex()}, {"url", *url}});
    }
  }
  return urls;
}

// Only where there are any: nearly no revision has keys.
Result<JsonValue::Array> Keys(Catalog& catalog, const RevisionRow& row) {
  JsonValue::Array keys;
  if (!row.needs_file_keys) return keys;
  TRY_ASSIGN(const auto held, catalog.FileKeys(row.id));
  for (const FileKey& one : held) {
    if (keys.size() == kMaxUrlsPerRevision) break;
    keys.push_back(JsonValue::Object{{"key", Base64Encode(one.key)}, {"sha1", one.sha1.ToHex()}});
  }
  return keys;
}

IncomingRevision ReadUrls(JsonFields& fields, IncomingRevision revision) {
  for (const JsonValue& item : fields.List("urls", kMaxUrlsPerRevision)) {
    JsonFields url(item, "url");
    IncomingRevision::FileUrl one;
    one.sha1 = url.Sha1Value("sha1");
    one.url = url.Text("url", 2048);
    if (const auto finished = url.Finish(); !finished) fields.Refuse(finished.error().message);
    revision.file_urls.push_back(std::move(one));
  }
  return revision;
}

// Messages must not show a key, whatever is wrong with it.
void ReadKeys(JsonFields& fields, IncomingRevision& revision) {
  if (!fields.Has("keys")) return;
  const auto& items = fields.List("keys", kMaxUrlsPerRevision);
  if (items.empty()) fields.Refuse("field 'keys' is empty");
  for (const JsonValue& item : items) {
    JsonFields key(item, "key");
    FileKey one;
    one.sha1 = key.Sha1Value("sha1");
    const std::string text = key.Text("key", 2 * kMaxFileKeyBytes);
    if (const auto finished = key.Finish(); !finished) {
      fields.Refuse("field 'keys' is malformed");
      return;
    }
    auto bytes = Base64Decode(text);
    const bool fits = bytes && !bytes->empty() && bytes->size() <= kMaxFileKeyBytes &&
                      Base64Encode(*bytes) == text;
    const bool rising = revision.file_keys.empty() || revision.file_keys.back().sha1 < one.sha1;
    if (!fits || !rising) {
      fields.Refuse("the key of file " + one.sha1.ToHex() + " is malformed or out of order");
      return;
    }
    one.key = std::move(*bytes);
    revision.file_keys.push_back(std::move(one));
  }
}

}  // namespace

Result<void> WriteMetadataRecord(Catalog& catalog, const RevisionRow& row, Sink& sink) {
  TRY_ASSIGN(const auto info, catalog.Document(row.id));
  TRY_ASSIGN(auto urls, Urls(catalog, row.id));
  TRY_ASSIGN(auto keys, Keys(catalog, row));
  JsonValue::Object header{{"form", info.form == DocumentForm::kCabinet ? "cabinet" : "plain"},
                           {"sha256", info.sha256.ToHex()},
                           {"size", info.stored_bytes},
                           {"update", row.update.ToString()},
                           {"urls", std::move(urls)}};
  if (!keys.empty()) header.emplace("keys", std::move(keys));
  TRY(sink.Write(AsBytes(WriteCanonicalJson(JsonValue(std::move(header))) + "\n")));
  TRY(catalog.CopyDocument(row.id, sink), "document of " + row.update.ToString());
  return sink.Write(AsBytes("\n"));
}

Result<std::optional<IncomingRevision>> MetadataBatchReader::Next() {
  TRY_ASSIGN(const auto line, reader_.Line(kMaxMetadataHeaderBytes));
  if (!line) return std::optional<IncomingRevision>();
  const auto value = ParseCanonicalJson(*line);
  if (!value) return Malformed(reader_.lines(), value.error().message);
  JsonFields fields(*value, "record");
  IncomingRevision revision;
  const std::string form = fields.Text("form", 16);
  if (form != "plain" && form != "cabinet") fields.Refuse("field 'form' is unknown");
  revision.form = form == "cabinet" ? DocumentForm::kCabinet : DocumentForm::kPlain;
  revision.expected_sha256 = fields.Sha256Value("sha256");
  const std::uint64_t size = fields.Count("size", max_document_bytes_);
  const std::string update = fields.Text("update", 64);
  const auto id = protocol::UpdateId::Parse(update);
  if (!id || id->ToString() != update) fields.Refuse("field 'update' is no GUID/revision");
  revision = ReadUrls(fields, std::move(revision));
  ReadKeys(fields, revision);
  if (const auto finished = fields.Finish(); !finished) {
    return Malformed(reader_.lines(), finished.error().message);
  }
  revision.update = *id;
  if (last_ && *last_ >= *id) {
    return Malformed(reader_.lines(), update + " does not come after " + last_->ToString());
  }
  last_ = *id;
  TRY_ASSIGN(revision.bytes, reader_.Take(size), update);
  TRY_ASSIGN(const Bytes end, reader_.Take(1), update);
  if (end[0] != '\n') return Malformed(reader_.lines(), update + ": no line end behind it");
  return std::optional(std::move(revision));
}

}  // namespace gapferry::mirror::exchange
