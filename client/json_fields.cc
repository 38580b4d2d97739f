#include "client/json_fields.h"

#include <fmt/core.h>

namespace gapferry::client {

using nlohmann::json;
using protocol::Deployment;
using protocol::DeploymentAction;

Result<json> ParseJsonObject(std::string_view text, std::string_view what) {
  json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object())
    return Fail(ErrorCode::kCorrupt, fmt::format("{} is no JSON object", what));
  return object;
}

std::string StringOf(const json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

std::int64_t IntegerOf(const json& object, const char* name, std::int64_t fallback) {
  const auto it = object.find(name);
  return it != object.end() && it->is_number_integer() ? it->get<std::int64_t>() : fallback;
}

bool BoolOf(const json& object, const char* name, bool fallback) {
  const auto it = object.find(name);
  return it != object.end() && it->is_boolean() ? it->get<bool>() : fallback;
}

std::optional<DeploymentAction> ActionOf(std::string_view name) {
  for (const DeploymentAction action :
       {DeploymentAction::kInstall, DeploymentAction::kUninstall,
        DeploymentAction::kOptionalInstall, DeploymentAction::kPreDeploymentCheck,
        DeploymentAction::kBlock, DeploymentAction::kEvaluate, DeploymentAction::kBundle}) {
    if (protocol::DeploymentActionName(action) == name) return action;
  }
  return std::nullopt;
}

json DeploymentToJson(const Deployment& deployment) {
  json object = {{"id", deployment.id},
                 {"action", protocol::DeploymentActionName(deployment.action)},
                 {"assigned", deployment.is_assigned},
                 {"changed", deployment.last_change_time.ToXml()}};
  if (deployment.deadline) object["deadline"] = deployment.deadline->ToXml();
  return object;
}

Deployment DeploymentFromJson(const json& object) {
  Deployment deployment;
  if (!object.is_object()) return deployment;
  deployment.id = static_cast<std::int32_t>(IntegerOf(object, "id"));
  deployment.action = ActionOf(StringOf(object, "action")).value_or(DeploymentAction::kEvaluate);
  deployment.is_assigned = BoolOf(object, "assigned", true);
  if (const auto time = UtcTime::ParseXml(StringOf(object, "changed"))) {
    deployment.last_change_time = *time;
  }
  if (const auto time = UtcTime::ParseXml(StringOf(object, "deadline")))
    deployment.deadline = *time;
  return deployment;
}

}  // namespace gapferry::client
