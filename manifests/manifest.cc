#include "manifests/manifest.h"

#include <algorithm>
#include <cstdio>

#include "base/canonical_json.h"
#include "base/text.h"
#include "manifests/document.h"
#include "manifests/index.h"
#include "manifests/manifest_details.h"
#include "manifests/parity.h"
#include "manifests/seal_format.h"

namespace gapferry::manifests {
namespace {

JsonValue Encode(const Sender& sender) {
  return JsonValue::Object{
      {"guid", sender.guid.ToString()}, {"key_id", sender.key_id.ToHex()}, {"name", sender.name}};
}

JsonValue Encode(const Recipient& recipient) {
  JsonValue::Object members{{"guid", recipient.guid.ToString()},
                            {"key_id", recipient.key_id.ToHex()},
                            {"name", recipient.name}};
  if (!recipient.sealed_key.empty()) members["sealed_key"] = Base64Encode(recipient.sealed_key);
  return members;
}

JsonValue Encode(const VolumeSummary& volume) {
  return JsonValue::Object{
      {"name", volume.name}, {"sha256", volume.sha256.ToHex()}, {"size", volume.size}};
}

template <class T>
JsonValue EncodeList(const std::vector<T>& items) {
  JsonValue::Array array;
  for (const T& item : items) array.push_back(Encode(item));
  return array;
}

/// Reads one kind of member; failures go to the parent's reader, the first one wins.
class ManifestReader {
 public:
  explicit ManifestReader(const JsonValue& value) : fields_(value, "manifest") {}

  Result<Manifest> Read() {
    Manifest out;
    fields_.Text("_type", 64);
    out.created = fields_.Time("created");
    if (fields_.Has("parity")) out.parity = ReadParity();
    out.previous_manifest = fields_.Sha256Value("previous_manifest");
    out.sealed = ReadSealed();
    sealed_ = out.sealed.has_value();
    out.recipients = ReadRecipients();
    out.sender = ReadSender();
    out.sequence = fields_.Count("sequence", kMaxSequence);
    if (out.sequence == 0) fields_.Refuse("field 'sequence' is 0");
    out.stream = fields_.Text("stream", 40);
    if (!IsStreamName(out.stream)) fields_.Refuse("field 'stream' is no stream name");
    out.sums_sha256 = fields_.Sha256Value("sums_sha256");
    out.sums_size = fields_.Count("sums_size");
    out.volumes = ReadVolumes();
    out.index = ReadIndex();
    if (!sealed_) ReadDetailFields(fields_, out);
    TRY(fields_.Finish());
    return out;
  }

 private:
  void Take(JsonFields& child) { TakeChild(fields_, child); }
  static KeyId ReadKeyId(JsonFields& fields) {
    const auto id = KeyId::FromHex(fields.Text("key_id", 32));
    if (!id) fields.Refuse(id.error().message);
    return id.value_or(KeyId{});
  }

  std::optional<DetailsSummary> ReadSealed() {
    if (!fields_.Has("sealed")) return std::nullopt;
    JsonFields child(fields_.Child("sealed"), "sealed");
    DetailsSummary sealed;
    sealed.sha256 = child.Sha256Value("sha256");
    sealed.size = child.Count("size", SealedSize(kMaxManifestBytes));
    Take(child);
    return sealed;
  }

  unsigned ReadParity() {
    const auto percent = static_cast<unsigned>(fields_.Count("parity", kMaxParityPercent));
    if (percent == 0) fields_.Refuse("field 'parity' is 0");
    return percent;
  }

  IndexSummary ReadIndex() {
    JsonFields child(fields_.Child("index"), "index");
    IndexSummary index;
    if (!sealed_) ReadIndexDetails(child, index);
    index.sha256 = child.Sha256Value("sha256");
    index.size = child.Count("size", sealed_ ? SealedSize(kMaxIndexRawBytes) : kMaxIndexRawBytes);
    Take(child);
    return index;
  }

  Sender ReadSender() {
    JsonFields child(fields_.Child("sender"), "sender");
    Sender sender;
    sender.guid = child.GuidValue("guid");
    sender.key_id = ReadKeyId(child);
    sender.name = child.Text("name", 64);
    Take(child);
    return sender;
  }

  std::vector<Recipient> ReadRecipients() {
    std::vector<Recipient> out;
    for (const JsonValue& item : fields_.List("recipients", kMaxRecipients)) {
      JsonFields child(item, "recipient");
      Recipient recipient;
      recipient.guid = child.GuidValue("guid");
      recipient.key_id = ReadKeyId(child);
      recipient.name = child.Text("name", 64);
      if (sealed_) recipient.sealed_key = child.Base64("sealed_key", kSealedKeyBytes);
      if (!out.empty() && out.back().guid >= recipient.guid) child.Refuse("not sorted by GUID");
      Take(child);
      out.push_back(std::move(recipient));
    }
    if (out.empty()) fields_.Refuse("field 'recipients' is empty");
    return out;
  }

  std::vector<VolumeSummary> ReadVolumes() {
    std::vector<VolumeSummary> out;
    for (const JsonValue& item : fields_.List("volumes", kMaxVolumes)) {
      JsonFields child(item, "volume");
      VolumeSummary volume;
      volume.name = child.Text("name", 32);
      volume.sha256 = child.Sha256Value("sha256");
      volume.size = child.Count("size");
      const auto number = static_cast<std::uint32_t>(out.size() + 1);
      if (volume.name != VolumeName(number) + (sealed_ ? kSealedSuffix : "")) {
        child.Refuse("field 'name' is out of order");
      }
      Take(child);
      out.push_back(std::move(volume));
    }
    return out;
  }

  JsonFields fields_;
  bool sealed_ = false;
};

Error Renamed(Error error) {
  if (error.code == ErrorCode::kCorrupt && error.reason != "document-type") {
    error.reason = "manifest-malformed";
  }
  return error;
}

Result<JsonValue> Parse(ByteView bytes, DocumentType type, const char* what) {
  if (bytes.size() > kMaxManifestBytes) {
    return Fail(ErrorCode::kCorrupt, "manifest-malformed",
                std::string(what) + ": larger than 1 MiB");
  }
  auto value = ParseDocument(bytes, type);
  if (!value) return std::unexpected(Renamed(std::move(value.error())));
  return value;
}

}  // namespace

std::string_view ScopeName(Scope scope) { return scope == Scope::kFull ? "full" : "delta"; }

bool IsStreamName(std::string_view text) {
  return !text.empty() && text.size() <= 40 && text.front() != '-' && text.back() != '-' &&
         std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

std::string Manifest::DirectoryName() const {
  char number[16];
  std::snprintf(number, sizeof(number), "%06llu", static_cast<unsigned long long>(sequence));
  return "gapferry-" + stream + "-" + number;
}

std::string StoredName(const Manifest& manifest, std::string_view name) {
  return std::string(name) + (manifest.sealed ? kSealedSuffix : "");
}

std::string EncodeManifest(const Manifest& manifest) {
  JsonValue::Object members = manifest.sealed ? JsonValue::Object{} : EncodeDetailFields(manifest);
  members["_type"] = TypeField(DocumentType::kManifest);
  members["created"] = manifest.created.ToXml();
  JsonValue::Object& index = *members["index"].AsObject();
  index["sha256"] = manifest.index.sha256.ToHex();
  index["size"] = manifest.index.size;
  if (manifest.parity != 0) members["parity"] = std::uint64_t{manifest.parity};
  members["previous_manifest"] = manifest.previous_manifest.ToHex();
  members["recipients"] = EncodeList(manifest.recipients);
  if (manifest.sealed) {
    members["sealed"] = JsonValue::Object{{"sha256", manifest.sealed->sha256.ToHex()},
                                          {"size", manifest.sealed->size}};
  }
  members["sender"] = Encode(manifest.sender);
  members["sequence"] = manifest.sequence;
  members["stream"] = manifest.stream;
  members["sums_sha256"] = manifest.sums_sha256.ToHex();
  members["sums_size"] = manifest.sums_size;
  members["volumes"] = EncodeList(manifest.volumes);
  return WriteCanonicalJson(JsonValue(std::move(members))) + "\n";
}

Result<Manifest> DecodeManifest(ByteView bytes) {
  TRY_ASSIGN(const JsonValue value, Parse(bytes, DocumentType::kManifest, "manifest"));
  auto manifest = ManifestReader(value).Read();
  if (!manifest) return std::unexpected(Renamed(std::move(manifest.error())));
  return std::move(*manifest);
}

std::string EncodeDetails(const Manifest& manifest) {
  JsonValue::Object members = EncodeDetailFields(manifest);
  members["_type"] = TypeField(DocumentType::kDetails);
  return WriteCanonicalJson(JsonValue(std::move(members))) + "\n";
}

Result<void> DecodeDetails(ByteView bytes, Manifest& manifest) {
  TRY_ASSIGN(const JsonValue value, Parse(bytes, DocumentType::kDetails, "details"));
  JsonFields fields(value, "details");
  fields.Text("_type", 64);
  JsonFields index(fields.Child("index"), "index");
  ReadIndexDetails(index, manifest.index);
  TakeChild(fields, index);
  ReadDetailFields(fields, manifest);
  auto finished = fields.Finish();
  if (!finished) return std::unexpected(Renamed(std::move(finished.error())));
  return {};
}

}  // namespace gapferry::manifests
