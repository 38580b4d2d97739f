#include "server/static_files.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <memory>
#include <system_error>

#include "base/log.h"
#include "base/text.h"
#include "server/http_content.h"

namespace gapferry::server {
namespace fs = std::filesystem;

Result<StaticFiles> StaticFiles::Index(const fs::path& folder) {
  constexpr std::size_t kMaxFiles = 100'000;
  StaticFiles index;
  std::error_code error;
  fs::recursive_directory_iterator at(folder, error);
  if (error) {
    return Fail(ErrorCode::kNotFound,
                fmt::format("folder '{}': {}", folder.string(), error.message()));
  }
  for (; at != fs::recursive_directory_iterator(); at.increment(error)) {
    if (error) {
      return Fail(ErrorCode::kNotFound,
                  fmt::format("folder '{}': {}", folder.string(), error.message()));
    }
    if (!fs::is_regular_file(at->symlink_status(error))) continue;
    if (index.files_.size() == kMaxFiles) {
      return Fail(ErrorCode::kUsage,
                  fmt::format("folder '{}' has more than {} files", folder.string(), kMaxFiles));
    }
    const std::string name = at->path().lexically_relative(folder).generic_string();
    index.files_.emplace(ToLowerAscii(name), at->path());
  }
  return index;
}

Reply StaticFiles::Serve(const Request& request, std::string_view path) const {
  const auto found = files_.find(ToLowerAscii(path));
  if (found == files_.end()) return PlainReply(404, "no such file");
  Result<File> opened = File::OpenRead(found->second);
  struct ::stat facts {};
  if (!opened.has_value() || ::fstat(opened->fd(), &facts) != 0 || !S_ISREG(facts.st_mode)) {
    Log(LogLevel::kWarning, "file unreadable", {{"file", found->second.string()}});
    return PlainReply(404, "no such file");
  }
  const auto size = static_cast<std::uint64_t>(facts.st_size);
  const FileFacts about{
      fmt::format("\"{:x}-{:x}-{:x}\"", size, facts.st_mtim.tv_sec, facts.st_mtim.tv_nsec),
      UtcTime::FromUnixSeconds(facts.st_mtim.tv_sec),
      std::string(MimeType(found->second.extension().string().empty()
                               ? ""
                               : found->second.extension().string().substr(1)))};
  return ServeFile(request, std::make_shared<const File>(std::move(*opened)), size, about);
}

}  // namespace gapferry::server
