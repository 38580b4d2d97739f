#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "protocol/wusp_messages.h"

// JSON forms shared by the files of a client's state directory. Included by .cc files only.

namespace gapferry::client {

/// Parses one object; fails with kCorrupt naming `what`.
Result<nlohmann::json> ParseJsonObject(std::string_view text, std::string_view what);

/// A member of the wrong type counts as absent.
std::string StringOf(const nlohmann::json& object, const char* name);
std::int64_t IntegerOf(const nlohmann::json& object, const char* name, std::int64_t fallback = 0);
bool BoolOf(const nlohmann::json& object, const char* name, bool fallback = false);

nlohmann::json DeploymentToJson(const protocol::Deployment& deployment);
protocol::Deployment DeploymentFromJson(const nlohmann::json& object);

/// The word of the protocol for an action, or nothing.
std::optional<protocol::DeploymentAction> ActionOf(std::string_view name);

}  // namespace gapferry::client
