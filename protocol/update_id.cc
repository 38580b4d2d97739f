#include "protocol/update_id.h"

#include "base/text.h"

namespace gapferry::protocol {

Result<UpdateIdArgument> UpdateIdArgument::Parse(std::string_view text) {
  UpdateIdArgument argument;
  const std::size_t slash = text.find('/');
  TRY_ASSIGN(argument.guid, Guid::Parse(text.substr(0, slash)));
  if (slash == std::string_view::npos) return argument;
  argument.revision = ParseInt<std::int32_t>(text.substr(slash + 1));
  if (!argument.revision || *argument.revision < 0) {
    return Fail(ErrorCode::kUsage,
                "'" + EscapeForDisplay(text, 80) + "' has no revision number behind its slash");
  }
  return argument;
}

Result<UpdateId> UpdateId::Parse(std::string_view text) {
  TRY_ASSIGN(const UpdateIdArgument argument, UpdateIdArgument::Parse(text));
  if (!argument.revision) {
    return Fail(ErrorCode::kUsage,
                "'" + EscapeForDisplay(text, 80) + "' names no revision: expected GUID/REVISION");
  }
  return UpdateId{argument.guid, *argument.revision};
}

std::string UpdateId::ToString() const { return guid.ToString() + "/" + std::to_string(revision); }

}  // namespace gapferry::protocol
