#include "manifests/manifest.h"

#include <algorithm>
#include <cstdio>

#include "base/canonical_json.h"
#include "base/text.h"
#include "manifests/document.h"
#include "manifests/index.h"

namespace gapferry::manifests {
namespace {

std::string_view OutcomeName(UpstreamSync::Outcome outcome) {
  switch (outcome) {
    case UpstreamSync::Outcome::kNever:
      return "never";
    case UpstreamSync::Outcome::kSucceeded:
      return "succeeded";
    case UpstreamSync::Outcome::kFailed:
      return "failed";
  }
  return "never";
}

JsonValue Encode(const StateReference& state) {
  return JsonValue::Object{{"chain", state.chain.ToHex()},
                           {"epoch", state.epoch.ToString()},
                           {"generation", state.generation},
                           {"state_digest", state.state_digest.ToHex()}};
}

JsonValue Encode(const Sender& sender) {
  return JsonValue::Object{
      {"guid", sender.guid.ToString()}, {"key_id", sender.key_id.ToHex()}, {"name", sender.name}};
}

JsonValue Encode(const Recipient& recipient) {
  return JsonValue::Object{{"guid", recipient.guid.ToString()},
                           {"key_id", recipient.key_id.ToHex()},
                           {"name", recipient.name}};
}

JsonValue Encode(const Acknowledgement& acknowledgement) {
  JsonValue::Array deleted;
  for (const Guid& guid : acknowledgement.deleted_computers) deleted.emplace_back(guid.ToString());
  return JsonValue::Object{{"applied_return", acknowledgement.applied_return},
                           {"deleted_computers", std::move(deleted)},
                           {"detailed", acknowledgement.detailed},
                           {"site", acknowledgement.site.ToString()}};
}

JsonValue Encode(const UpstreamSync& sync) {
  JsonValue::Object members{{"outcome", OutcomeName(sync.outcome)}};
  if (sync.outcome != UpstreamSync::Outcome::kNever) members["at"] = sync.at.ToXml();
  return members;
}

JsonValue Encode(const IndexSummary& index) {
  return JsonValue::Object{{"lines", index.lines},
                           {"raw_sha256", index.raw_sha256.ToHex()},
                           {"raw_size", index.raw_size},
                           {"sha256", index.sha256.ToHex()},
                           {"size", index.size}};
}

JsonValue Encode(const VolumeSummary& volume) {
  return JsonValue::Object{
      {"name", volume.name}, {"sha256", volume.sha256.ToHex()}, {"size", volume.size}};
}

JsonValue Encode(const Totals& totals) {
  return JsonValue::Object{{"content_bytes", totals.content_bytes},
                           {"content_files", totals.content_files},
                           {"revisions", totals.revisions}};
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
    out.acknowledgements = ReadAcknowledgements();
    out.audit_head = fields_.Sha256Value("audit_head");
    out.base = State("base");
    out.created = fields_.Time("created");
    out.index = Index();
    out.previous_manifest = fields_.Sha256Value("previous_manifest");
    out.recipients = ReadRecipients();
    out.scope = ReadScope();
    out.sender = ReadSender();
    out.sequence = fields_.Count("sequence", kMaxSequence);
    out.stream = fields_.Text("stream", 40);
    if (!IsStreamName(out.stream)) fields_.Refuse("field 'stream' is no stream name");
    out.sums_sha256 = fields_.Sha256Value("sums_sha256");
    out.sums_size = fields_.Count("sums_size");
    out.target = State("target");
    out.totals = ReadTotals();
    out.upstream_sync = ReadUpstreamSync();
    out.void_sequences = ReadVoid();
    out.volumes = ReadVolumes();
    CheckMeaning(out);
    TRY(fields_.Finish());
    return out;
  }

 private:
  void Take(JsonFields& child) {
    if (const auto finished = child.Finish(); !finished) fields_.Refuse(finished.error().message);
  }
  static KeyId ReadKeyId(JsonFields& fields) {
    const auto id = KeyId::FromHex(fields.Text("key_id", 32));
    if (!id) fields.Refuse(id.error().message);
    return id.value_or(KeyId{});
  }

  StateReference State(std::string_view key) {
    JsonFields child(fields_.Child(key), std::string(key));
    StateReference state;
    state.chain = child.Sha256Value("chain");
    state.epoch = child.GuidValue("epoch");
    state.generation = child.Count("generation");
    state.state_digest = child.Sha256Value("state_digest");
    Take(child);
    return state;
  }

  IndexSummary Index() {
    JsonFields child(fields_.Child("index"), "index");
    IndexSummary index;
    index.lines = child.Count("lines", kMaxIndexLines);
    index.raw_sha256 = child.Sha256Value("raw_sha256");
    index.raw_size = child.Count("raw_size", kMaxIndexRawBytes);
    index.sha256 = child.Sha256Value("sha256");
    index.size = child.Count("size", kMaxIndexRawBytes);
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
      if (!out.empty() && out.back().guid >= recipient.guid) child.Refuse("not sorted by GUID");
      Take(child);
      out.push_back(std::move(recipient));
    }
    if (out.empty()) fields_.Refuse("field 'recipients' is empty");
    return out;
  }

  std::vector<Acknowledgement> ReadAcknowledgements() {
    std::vector<Acknowledgement> out;
    std::size_t deleted_rest = kMaxDeletedComputers;
    for (const JsonValue& item : fields_.List("acknowledgements", kMaxRecipients)) {
      JsonFields child(item, "acknowledgement");
      Acknowledgement one;
      one.applied_return = child.Count("applied_return", kMaxSequence);
      const auto& deleted = child.List("deleted_computers", deleted_rest);
      deleted_rest -= deleted.size();
      for (const JsonValue& guid : deleted) one.deleted_computers.push_back(ReadGuid(guid, child));
      if (!std::ranges::is_sorted(one.deleted_computers, std::less_equal<>())) {
        child.Refuse("deleted computers are not sorted or repeated");
      }
      one.detailed = child.Flag("detailed");
      one.site = child.GuidValue("site");
      if (!out.empty() && out.back().site >= one.site) child.Refuse("not sorted by site");
      Take(child);
      out.push_back(std::move(one));
    }
    return out;
  }

  static Guid ReadGuid(const JsonValue& value, JsonFields& child) {
    const std::string* text = value.AsString();
    const auto guid = Guid::Parse(text == nullptr ? "" : *text);
    if (!guid || guid->ToString() != *text) child.Refuse("expected a GUID in lower case");
    return guid.value_or(Guid{});
  }

  Scope ReadScope() {
    const std::string text = fields_.Text("scope", 8);
    if (text != "delta" && text != "full")
      fields_.Refuse("field 'scope' is neither delta nor full");
    return text == "full" ? Scope::kFull : Scope::kDelta;
  }

  Totals ReadTotals() {
    JsonFields child(fields_.Child("totals"), "totals");
    Totals totals;
    totals.content_bytes = child.Count("content_bytes");
    totals.content_files = child.Count("content_files", kMaxIndexLines);
    totals.revisions = child.Count("revisions");
    Take(child);
    return totals;
  }

  UpstreamSync ReadUpstreamSync() {
    JsonFields child(fields_.Child("upstream_sync"), "upstream_sync");
    UpstreamSync sync;
    const std::string outcome = child.Text("outcome", 16);
    using enum UpstreamSync::Outcome;
    bool known = false;
    for (const auto candidate : {kNever, kSucceeded, kFailed}) {
      if (OutcomeName(candidate) != outcome) continue;
      sync.outcome = candidate;
      known = true;
    }
    if (!known) child.Refuse("field 'outcome' is not one of never, succeeded, failed");
    if (sync.outcome != kNever) sync.at = child.Time("at");
    Take(child);
    return sync;
  }

  std::vector<std::uint64_t> ReadVoid() {
    std::vector<std::uint64_t> out;
    for (const JsonValue& item : fields_.List("void_sequences", kMaxVoidSequences)) {
      const std::int64_t* number = item.AsInteger();
      if (number == nullptr || *number < 1 ||
          (!out.empty() && out.back() >= static_cast<std::uint64_t>(*number))) {
        fields_.Refuse("field 'void_sequences' is no ascending list of numbers");
        return {};
      }
      out.push_back(static_cast<std::uint64_t>(*number));
    }
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
      if (volume.name != VolumeName(static_cast<std::uint32_t>(out.size() + 1))) {
        child.Refuse("field 'name' is out of order");
      }
      Take(child);
      out.push_back(std::move(volume));
    }
    return out;
  }

  void CheckMeaning(const Manifest& manifest) {
    if (manifest.sequence == 0) fields_.Refuse("field 'sequence' is 0");
    if (manifest.base.generation > manifest.target.generation) {
      fields_.Refuse("the base lies behind the target");
    }
    if (manifest.base.generation != 0 && manifest.base.epoch != manifest.target.epoch) {
      fields_.Refuse("base and target are of different epochs");
    }
    if (manifest.scope == Scope::kFull && manifest.base.generation != 0) {
      fields_.Refuse("a full bundle has no base");
    }
    if (!manifest.void_sequences.empty() && manifest.void_sequences.back() >= manifest.sequence) {
      fields_.Refuse("a void sequence lies behind this one");
    }
  }

  JsonFields fields_;
};

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

std::string EncodeManifest(const Manifest& manifest) {
  JsonValue::Array voided;
  for (const std::uint64_t number : manifest.void_sequences) voided.emplace_back(number);
  const JsonValue value =
      JsonValue::Object{{"_type", TypeField(DocumentType::kManifest)},
                        {"acknowledgements", EncodeList(manifest.acknowledgements)},
                        {"audit_head", manifest.audit_head.ToHex()},
                        {"base", Encode(manifest.base)},
                        {"created", manifest.created.ToXml()},
                        {"index", Encode(manifest.index)},
                        {"previous_manifest", manifest.previous_manifest.ToHex()},
                        {"recipients", EncodeList(manifest.recipients)},
                        {"scope", ScopeName(manifest.scope)},
                        {"sender", Encode(manifest.sender)},
                        {"sequence", manifest.sequence},
                        {"stream", manifest.stream},
                        {"sums_sha256", manifest.sums_sha256.ToHex()},
                        {"sums_size", manifest.sums_size},
                        {"target", Encode(manifest.target)},
                        {"totals", Encode(manifest.totals)},
                        {"upstream_sync", Encode(manifest.upstream_sync)},
                        {"void_sequences", std::move(voided)},
                        {"volumes", EncodeList(manifest.volumes)}};
  return WriteCanonicalJson(value) + "\n";
}

Result<Manifest> DecodeManifest(ByteView bytes) {
  const auto renamed = [](Error error) {
    if (error.code == ErrorCode::kCorrupt && error.reason != "document-type") {
      error.reason = "manifest-malformed";
    }
    return std::unexpected(std::move(error));
  };
  if (bytes.size() > kMaxManifestBytes) {
    return Fail(ErrorCode::kCorrupt, "manifest-malformed", "manifest: larger than 1 MiB");
  }
  auto value = ParseDocument(bytes, DocumentType::kManifest);
  if (!value) return renamed(std::move(value.error()));
  auto manifest = ManifestReader(*value).Read();
  if (!manifest) return renamed(std::move(manifest.error()));
  return std::move(*manifest);
}

}  // namespace gapferry::manifests
