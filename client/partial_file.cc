#include "client/partial_file.h"

#include <fmt/core.h>

#include <algorithm>

namespace gapferry::client {

namespace {

constexpr std::uint64_t kMaxMapBytes = 64 << 20;

}  // namespace

Result<PartialFile> PartialFile::Open(std::filesystem::path part, std::uint64_t size,
                                      std::uint64_t piece_bytes) {
  TRY_ASSIGN(File file, File::OpenUpdate(part));
  PartialFile partial(std::move(part), std::move(file), size, piece_bytes);
  partial.done_.assign((size + piece_bytes - 1) / piece_bytes, '.');
  TRY(partial.ReadMap());
  TRY(partial.WriteMap());
  return partial;
}

std::filesystem::path PartialFile::MapPath() const {
  return std::filesystem::path(part_.string() + ".map");
}

std::string PartialFile::Header() const { return fmt::format("{} {}\n", size_, piece_bytes_); }

Result<void> PartialFile::ReadMap() {
  const auto map = ReadTextFile(MapPath(), kMaxMapBytes);
  if (map) {
    const std::string header = Header();
    if (map->size() == header.size() + done_.size() && map->starts_with(header)) {
      done_ = map->substr(header.size());
    }
    return {};  // a map of other sizes: begin again
  }
  if (map.error().code != ErrorCode::kNotFound) return std::unexpected(map.error());
  TRY_ASSIGN(const std::uint64_t present, file_.Size());
  if (present > size_) return file_.Truncate(0);
  const auto whole = static_cast<std::size_t>(present / piece_bytes_);
  std::fill_n(done_.begin(), std::min(whole, done_.size()), '#');
  if (present == size_) done_.assign(done_.size(), '#');
  prefix_ = present == size_ ? 0 : present % piece_bytes_;
  return {};
}

Result<void> PartialFile::WriteMap() {
  const std::string text = Header() + done_;
  TRY_ASSIGN(File map, File::OpenUpdate(MapPath()));
  TRY(map.Truncate(text.size()));
  TRY(map.WriteAllAt(0, AsBytes(text)));
  return map.Close();
}

std::vector<PartialFile::Piece> PartialFile::Missing() const {
  std::vector<Piece> missing;
  std::uint64_t prefix = prefix_;
  for (std::size_t i = 0; i < done_.size(); ++i) {
    if (done_[i] == '#') continue;
    const std::uint64_t first = i * piece_bytes_;
    missing.push_back({i, first + prefix, std::min(size_, first + piece_bytes_)});
    prefix = 0;
  }
  return missing;
}

std::uint64_t PartialFile::present_bytes() const {
  std::uint64_t missing = 0;
  for (const Piece& piece : Missing()) missing += piece.end - piece.first;
  return size_ - missing;
}

Result<void> PartialFile::MarkDone(std::size_t index) {
  done_[index] = '#';
  TRY_ASSIGN(File map, File::OpenUpdate(MapPath()));
  TRY(map.WriteAllAt(Header().size() + index, AsBytes(std::string_view("#"))));
  return map.Close();
}

Result<void> PartialFile::Finish() {
  TRY(file_.Sync());
  TRY(file_.Close());
  return RemoveFile(MapPath());
}

Result<void> PartialFile::Remove(const std::filesystem::path& part) {
  TRY(RemoveFile(part));
  const std::filesystem::path map(part.string() + ".map");
  std::error_code error;
  return std::filesystem::exists(map, error) ? RemoveFile(map) : Result<void>();
}

}  // namespace gapferry::client
