#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "manifests/medium.h"

namespace gapferry::manifests {

/// The files of a bundle in memory, for tests that change one byte at a time.
class MemoryMedium : public Medium {
 public:
  using Files = std::map<std::string, std::string, std::less<>>;
  explicit MemoryMedium(const Files& files) : files_(files) {}
  std::string Describe() const override { return "memory"; }
  Result<std::vector<std::string>> List() override {
    std::vector<std::string> names;
    for (const auto& [name, bytes] : files_) names.push_back(name);
    return names;
  }
  Result<std::unique_ptr<MediumFile>> Open(std::string_view name) override {
    const auto found = files_.find(name);
    if (found == files_.end()) {
      return Fail(ErrorCode::kNotFound, "'" + std::string(name) + "' is not there");
    }
    return std::unique_ptr<MediumFile>(std::make_unique<File>(found->second));
  }

 private:
  class File : public MediumFile {
   public:
    explicit File(const std::string& bytes) : bytes_(bytes) {}
    std::uint64_t size() const override { return bytes_.size(); }
    Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::uint8_t> out) const override {
      if (offset >= bytes_.size()) return std::size_t{0};
      const std::size_t count =
          std::min<std::size_t>(out.size(), bytes_.size() - static_cast<std::size_t>(offset));
      std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
      return count;
    }

   private:
    const std::string& bytes_;
  };
  const Files& files_;
};

}  // namespace gapferry::manifests
