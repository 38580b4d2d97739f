#include "manifests/manifest_details.h"

#include <algorithm>
#include <functional>

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

JsonValue Encode(const Acknowledgement& acknowledgement) {
  JsonValue::Array deleted;
  for (const Guid& guid : acknowledgement.deleted_computers) deleted.emplace_back(guid.ToString());
  return JsonValue::Object{{"applied_return", acknowledgement.applied_return},
                           {"deleted_computers", std::move(deleted)},
                           {"detailed", acknowledgement.detailed},
                           {"seen_head", acknowledgement.seen_head.ToHex()},
                           {"seen_records", acknowledgement.seen_records},
                           {"site", acknowledgement.site.ToString()}};
}

JsonValue Encode(const UpstreamSync& sync) {
  JsonValue::Object members{{"outcome", OutcomeName(sync.outcome)}};
  if (sync.outcome != UpstreamSync::Outcome::kNever) members["at"] = sync.at.ToXml();
  return members;
}

JsonValue Encode(const Totals& totals) {
  return JsonValue::Object{{"content_bytes", totals.content_bytes},
                           {"content_files", totals.content_files},
                           {"revisions", totals.revisions}};
}

/// Reads the details; failures go to the reader of the whole, the first one wins.
class DetailsReader {
 public:
  DetailsReader(JsonFields& fields, Manifest& out) : fields_(fields), out_(out) {}

  void Read() {
    out_.acknowledgements = ReadAcknowledgements();
    out_.audit_head = fields_.Sha256Value("audit_head");
    out_.audit_records = fields_.Count("audit_records");
    out_.base = State("base");
    out_.scope = ReadScope();
    out_.target = State("target");
    out_.totals = ReadTotals();
    out_.upstream_sync = ReadUpstreamSync();
    out_.void_sequences = ReadVoid();
    CheckMeaning(out_);
  }

 private:
  void Take(JsonFields& child) { TakeChild(fields_, child); }

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
      one.seen_head = child.Sha256Value("seen_head");
      one.seen_records = child.Count("seen_records");
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

  void CheckMeaning(const Manifest& manifest) {
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

  JsonFields& fields_;
  Manifest& out_;
};

}  // namespace

void TakeChild(JsonFields& parent, JsonFields& child) {
  if (const auto finished = child.Finish(); !finished) parent.Refuse(finished.error().message);
}

JsonValue::Object EncodeDetailFields(const Manifest& manifest) {
  JsonValue::Array acknowledgements;
  for (const auto& one : manifest.acknowledgements) acknowledgements.push_back(Encode(one));
  JsonValue::Array voided;
  for (const std::uint64_t number : manifest.void_sequences) voided.emplace_back(number);
  return {{"acknowledgements", std::move(acknowledgements)},
          {"audit_head", manifest.audit_head.ToHex()},
          {"audit_records", manifest.audit_records},
          {"base", Encode(manifest.base)},
          {"index", JsonValue::Object{{"lines", manifest.index.lines},
                                      {"raw_sha256", manifest.index.raw_sha256.ToHex()},
                                      {"raw_size", manifest.index.raw_size}}},
          {"scope", ScopeName(manifest.scope)},
          {"target", Encode(manifest.target)},
          {"totals", Encode(manifest.totals)},
          {"upstream_sync", Encode(manifest.upstream_sync)},
          {"void_sequences", std::move(voided)}};
}

void ReadDetailFields(JsonFields& fields, Manifest& out) { DetailsReader(fields, out).Read(); }

void ReadIndexDetails(JsonFields& fields, IndexSummary& out) {
  out.lines = fields.Count("lines", kMaxIndexLines);
  out.raw_sha256 = fields.Sha256Value("raw_sha256");
  out.raw_size = fields.Count("raw_size", kMaxIndexRawBytes);
}

}  // namespace gapferry::manifests
