#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "server/http_message.h"

namespace gapferry::server {

/// The files below one folder, served as they are: GET, HEAD, ranges. What can be asked for is what
/// was there at Index: regular files, found without case as IIS does. Links are passed over, so
/// nothing outside of the folder can be named. Immutable; thread-safe.
class StaticFiles {
 public:
  /// Fails with kNotFound for a folder that is not there and with kUsage for more than 100,000
  /// files.
  static Result<StaticFiles> Index(const std::filesystem::path& folder);

  /// `path`: relative, with '/' between its parts. 404 for what is not there.
  Reply Serve(const Request& request, std::string_view path) const;
  std::size_t size() const { return files_.size(); }

 private:
  std::map<std::string, std::filesystem::path, std::less<>> files_;  // by path in lower case
};

}  // namespace gapferry::server
