#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/guid.h"
#include "base/result.h"
#include "cli/command.h"
#include "cli/context.h"
#include "mirror/activity.h"
#include "mirror/catalog.h"
#include "mirror/intent.h"
#include "mirror/mirror.h"

// What the administrative commands share: opening the mirror, finding what a person names, and the
// next command to type when it is not there.

namespace gapferry::cli {

/// The mirror the command line means. Errors of the configuration name the file to correct.
Result<mirror::Mirror> OpenMirror(const Context& context);

/// "gapferry WORDS", with --mirror as it was given, so that the line can be typed as it is.
std::string NextCommand(const Context& context, std::string_view words);
std::unexpected<Error> FailNext(ErrorCode code, std::string_view reason, std::string message,
                                std::string next);
/// `error` with `next`, unless it has one.
std::unexpected<Error> WithNext(Error error, std::string next);

/// `word` as a shell takes it: in single quotes where it needs them.
std::string ShellWord(std::string_view word);

// Finding.

/// An update as ID names it: GUID (its newest revision) or GUID/REVISION. The error of what is no
/// id, or unknown, names the search that finds one.
Result<mirror::RevisionRow> FindUpdate(const Context& context, mirror::Mirror& mirror,
                                       std::string_view id);
/// Each once, in the order given.
Result<std::vector<mirror::RevisionRow>> FindUpdates(const Context& context, mirror::Mirror& mirror,
                                                     const std::vector<std::string>& ids);
/// By name without case, or GUID.
Result<mirror::TargetGroup> FindGroup(const Context& context, mirror::Mirror& mirror,
                                      std::string_view name);
/// By id, full name or the name before the first dot; kUsage when several computers have it.
Result<mirror::Computer> FindComputer(const Context& context, mirror::Mirror& mirror,
                                      std::string_view text);
/// Fails on a replica, where approvals, declines and groups come from above: `words` is the command
/// to type there, and the configuration line that changes this is named.
Result<void> RefuseOnReplica(const mirror::Mirror& mirror, std::string_view words);

// Saying.

/// Groups by GUID, of the origin that is followed.
using GroupNames = std::map<Guid, std::string>;
Result<GroupNames> ReadGroupNames(mirror::Mirror& mirror);
/// The name, or the GUID of a group that is not there.
std::string GroupName(const GroupNames& names, const Guid& group);

/// Title of the newest revision of an update, escaped; its GUID when it has none or is unknown.
Result<std::string> TitleOf(mirror::Mirror& mirror, const Guid& update);
std::string ShownTitle(std::string_view title, std::string_view otherwise = "(no title)");

/// `text` in at most `width` code points, with an ellipsis when something was left out.
std::string Cut(std::string_view text, std::size_t width);
/// Lines of at most `width` code points, broken at blanks, each behind `indent`.
std::string Wrap(std::string_view text, std::size_t width, std::string_view indent);
std::string Minute(UtcTime time);  ///< "2026-11-22 09:18"; "never" for kNever and before
/// "1 update", "2 updates".
std::string Plural(std::uint64_t count, std::string_view one, std::string_view many = {});

/// What brings files that are missing, for people: "'gapferry sync' brings them".
std::string WhatBringsFiles(const Context& context, const mirror::Config& config);

nlohmann::json TimeToJson(const std::optional<UtcTime>& time);  ///< xs:dateTime, or null
nlohmann::json TimeToJson(UtcTime time);                        ///< null for kNever and before
/// What a job or an audit record kept: the JSON object, or {} when it is none.
nlohmann::json DetailToJson(std::string_view detail);

}  // namespace gapferry::cli
