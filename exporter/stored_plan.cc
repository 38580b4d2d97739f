#include "exporter/stored_plan.h"

#include "base/canonical_json.h"

namespace gapferry::exporter {

std::string EncodePlan(const StoredPlan& plan) {
  return WriteCanonicalJson(JsonValue::Object{{"draft", manifests::EncodeManifest(plan.draft)},
                                              {"volume_bytes", plan.volume_bytes}});
}

Result<StoredPlan> DecodePlan(std::string_view text) {
  TRY_ASSIGN(const JsonValue value, ParseCanonicalJson(text));
  JsonFields fields(value, "plan of a bundle");
  StoredPlan plan;
  const std::string draft = fields.Text("draft", manifests::kMaxManifestBytes);
  plan.volume_bytes = fields.Count("volume_bytes");
  TRY(fields.Finish());
  TRY_ASSIGN(plan.draft, manifests::DecodeManifest(AsBytes(draft)));
  return plan;
}

}  // namespace gapferry::exporter
