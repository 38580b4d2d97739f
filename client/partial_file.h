#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace gapferry::client {

/// A file that arrives in pieces of one size, in any order, over several runs. Which pieces are
/// there is kept in `<part>.map` beside it (a line with both sizes, then one '#' or '.' per piece).
/// The map is not synced: whoever completes the file verifies it as a whole. Without a map the
/// bytes of the file are taken as its beginning. Not thread-safe, but file() may be written by
/// several threads at different offsets.
class PartialFile {
 public:
  struct Piece {
    std::size_t index = 0;
    std::uint64_t first = 0;  ///< where to go on
    std::uint64_t end = 0;
  };

  static Result<PartialFile> Open(std::filesystem::path part, std::uint64_t size,
                                  std::uint64_t piece_bytes);

  std::vector<Piece> Missing() const;  ///< ascending
  std::uint64_t present_bytes() const;
  File& file() { return file_; }

  Result<void> MarkDone(std::size_t index);
  /// Syncs and closes the file and removes the map.
  Result<void> Finish();
  /// Removes a partial file and its map.
  static Result<void> Remove(const std::filesystem::path& part);

 private:
  PartialFile(std::filesystem::path part, File file, std::uint64_t size, std::uint64_t piece_bytes)
      : part_(std::move(part)), file_(std::move(file)), size_(size), piece_bytes_(piece_bytes) {}
  std::filesystem::path MapPath() const;
  std::string Header() const;
  Result<void> ReadMap();
  Result<void> WriteMap();

  std::filesystem::path part_;
  File file_;
  std::uint64_t size_;
  std::uint64_t piece_bytes_;
  std::string done_;          // '#' or '.'
  std::uint64_t prefix_ = 0;  // bytes of the first missing piece that are there
};

}  // namespace gapferry::client
