#include "manifests/medium.h"

#include <algorithm>

#include "base/file.h"
#include "base/text.h"
#include "manifests/index.h"

namespace gapferry::manifests {
namespace {

class DiskFile : public MediumFile {
 public:
  DiskFile(File file, std::uint64_t size) : file_(std::move(file)), size_(size) {}
  std::uint64_t size() const override { return size_; }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::uint8_t> out) const override {
    auto count = file_.ReadAt(offset, out);
    if (!count && count.error().code == ErrorCode::kInternal) {
      count.error().reason = "medium-unreadable";
    }
    return count;
  }

 private:
  File file_;
  std::uint64_t size_;
};

}  // namespace

bool IsLitter(std::string_view name) {
  return name.starts_with("._") || name == ".DS_Store" || EqualsIgnoreCase(name, "Thumbs.db") ||
         EqualsIgnoreCase(name, "desktop.ini");
}

std::optional<std::uint32_t> VolumeOfFile(std::string_view name) {
  for (const std::string_view stem : {"volume-", "blocks-", "repair-"}) {
    if (!name.starts_with(stem)) continue;
    const auto number = ParseInt<std::uint32_t>(name.substr(stem.size(), 4));
    if (number && *number > 0 && *number <= kMaxVolumes) return *number;
  }
  return std::nullopt;
}

Result<std::vector<std::unique_ptr<MediumFile>>> Medium::OpenCopies(std::string_view name) {
  TRY_ASSIGN(auto file, Open(name));
  std::vector<std::unique_ptr<MediumFile>> copies;
  copies.push_back(std::move(file));
  return copies;
}

DirectoryMedium::DirectoryMedium(std::filesystem::path directory)
    : directory_(std::move(directory)) {}

std::string DirectoryMedium::Describe() const { return directory_.string(); }

Result<std::vector<std::string>> DirectoryMedium::List() {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator it(directory_, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    if (names.size() == kMaxMediumEntries) {
      return Fail(ErrorCode::kCorrupt, "file-unlisted",
                  "'" + directory_.string() + "' has more than " +
                      std::to_string(kMaxMediumEntries) + " entries");
    }
    std::string name = it->path().filename().string();
    if (!IsLitter(name)) names.push_back(std::move(name));
  }
  if (error) return FailErrno(error.value(), "cannot list '" + directory_.string() + "'");
  std::ranges::sort(names);
  return names;
}

Result<std::unique_ptr<MediumFile>> DirectoryMedium::Open(std::string_view name) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string_view::npos) {
    return Fail(ErrorCode::kCorrupt, "'" + EscapeForDisplay(name, 100) + "' is no file name");
  }
  TRY_ASSIGN(File file, File::OpenRead(directory_ / name));
  TRY_ASSIGN(const std::uint64_t size, file.Size());
  return std::unique_ptr<MediumFile>(std::make_unique<DiskFile>(std::move(file), size));
}

Result<Bytes> ReadMediumFile(Medium& medium, std::string_view name, std::uint64_t limit_bytes) {
  TRY_ASSIGN(const auto file, medium.Open(name));
  if (file->size() > limit_bytes) {
    return Fail(ErrorCode::kCorrupt, "file-too-large",
                "'" + std::string(name) + "' has " + std::to_string(file->size()) +
                    " bytes, allowed are " + std::to_string(limit_bytes));
  }
  Bytes bytes(file->size());
  TRY_ASSIGN(const std::size_t count, file->ReadAt(0, bytes));
  bytes.resize(count);
  return bytes;
}

}  // namespace gapferry::manifests
