#include "exporter/stored_plan.h"

#include "base/canonical_json.h"

namespace gapferry::exporter {

std::string EncodePlan(const StoredPlan& plan) {
  JsonValue::Array seal_for;
  for (const auto& key : plan.seal_for) seal_for.emplace_back(key.ToText());
  return WriteCanonicalJson(JsonValue::Object{{"draft", manifests::EncodeManifest(plan.draft)},
                                              {"seal_for", std::move(seal_for)},
                                              {"volume_bytes", plan.volume_bytes}});
}

Result<StoredPlan> DecodePlan(std::string_view text) {
  TRY_ASSIGN(const JsonValue value, ParseCanonicalJson(text));
  JsonFields fields(value, "plan of a bundle");
  StoredPlan plan;
  const std::string draft = fields.Text("draft", manifests::kMaxManifestBytes);
  for (const JsonValue& item : fields.List("seal_for", manifests::kMaxRecipients)) {
    const std::string* key = item.AsString();
    TRY_ASSIGN(const auto one,
               manifests::EncryptionPublicKey::FromText(key == nullptr ? "" : *key));
    plan.seal_for.push_back(one);
  }
  plan.volume_bytes = fields.Count("volume_bytes");
  TRY(fields.Finish());
  TRY_ASSIGN(plan.draft, manifests::DecodeManifest(AsBytes(draft)));
  return plan;
}

}  // namespace gapferry::exporter
