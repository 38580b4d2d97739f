#include "exporter/staged_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/text.h"

namespace gapferry::exporter {

using mirror::ContentExpectation;
using mirror::ContentStore;
using mirror::VerifiedContent;

namespace {

constexpr std::size_t kReadPiece = 1 << 20;
constexpr std::uint64_t kMaxOriginBytes = 4096;
constexpr std::size_t kMaxValidator = 200;
/// Smaller files are fetched again from the start as quickly as their origin is looked up.
constexpr std::uint64_t kOriginWorthwhileBytes = 1 << 20;
/// Shorter runs of zeros would only fragment the file.
constexpr std::size_t kHoleBytes = 4096;
constexpr std::string_view kOriginHead = "gapferry-staged/1\n";

std::filesystem::path OriginPath(const std::filesystem::path& path) {
  return path.string() + ".from";
}

bool IsPrintable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

bool AllZero(ByteView bytes) {
  return bytes.front() == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

// "name value\n" at the front of `text`, which is cut off.
std::optional<std::string> TakeLine(std::string_view& text, std::string_view name) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos || !text.starts_with(name)) return std::nullopt;
  std::string_view line = text.substr(0, end);
  line.remove_prefix(name.size());
  text.remove_prefix(end + 1);
  return std::string(line);
}

}  // namespace

std::string ValidatorOf(const FetchResponse& answer) {
  const std::string_view etag = answer.Header("ETag");
  if (etag.size() > 2 && etag.size() <= kMaxValidator && etag.front() == '"' && IsPrintable(etag)) {
    return std::string(etag);
  }
  const std::string_view modified = answer.Header("Last-Modified");
  if (!modified.empty() && modified.size() <= kMaxValidator && IsPrintable(modified)) {
    return std::string(modified);
  }
  return {};
}

Result<StagedFile> StagedFile::Open(std::filesystem::path path, const NeededFile& needed,
                                    std::stop_token stop) {
  TRY_ASSIGN(File file, File::OpenUpdate(path));
  StagedFile staged(std::move(path), std::move(file), needed);
  TRY_ASSIGN(const std::uint64_t size, staged.file_.Size());
  if (size == 0) return staged;
  if (size > needed.LargestBytes()) {
    TRY(staged.Restart());
    return staged;
  }
  staged.offset_ = size;
  TRY(staged.HashPresent(std::move(stop)));
  staged.ReadOrigin();
  return staged;
}

Result<void> StagedFile::HashPresent(std::stop_token stop) {
  Bytes piece(std::min<std::uint64_t>(kReadPiece, offset_));
  for (std::uint64_t at = 0; at < offset_;) {
    if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "download: stopped");
    TRY_ASSIGN(const std::size_t size, file_.ReadAt(at, piece));
    if (size == 0) return Fail(ErrorCode::kInternal, path_.string() + " became shorter");
    sha1_.Update(ByteView(piece).first(size));
    sha256_.Update(ByteView(piece).first(size));
    at += size;
  }
  return {};
}

Result<void> StagedFile::Write(ByteView bytes) {
  const std::uint64_t largest = needed_->LargestBytes();
  if (bytes.size() > largest - offset_) {
    return Fail(ErrorCode::kCorrupt, "answer-too-large",
                fmt::format("content {}: more than the declared {} bytes",
                            needed_->expected.sha1.ToHex(), largest));
  }
  const std::uint64_t end = offset_ + bytes.size();
  if (bytes.size() >= kHoleBytes && AllZero(bytes)) {
    TRY(file_.Truncate(end));
  } else {
    TRY(file_.WriteAllAt(offset_, bytes));
  }
  offset_ = end;
  written_ += bytes.size();
  sha1_.Update(bytes);
  sha256_.Update(bytes);
  return {};
}

Result<void> StagedFile::Restart() {
  TRY(file_.Truncate(0));
  offset_ = 0;
  (void)sha1_.Finish();
  (void)sha256_.Finish();
  return ForgetOrigin();
}

Result<void> StagedFile::ForgetOrigin() {
  origin_.reset();
  return RemoveFile(OriginPath(path_));
}

void StagedFile::ReadOrigin() {
  const auto text = ReadTextFile(OriginPath(path_), kMaxOriginBytes);
  if (!text) return;  // absent, or none of ours
  std::string_view rest = *text;
  if (!rest.starts_with(kOriginHead)) return;
  rest.remove_prefix(kOriginHead.size());
  auto url = TakeLine(rest, "url-sha256 ");
  auto validator = url ? TakeLine(rest, "validator ") : std::nullopt;
  const bool printable = validator && validator->size() <= kMaxValidator && !validator->empty() &&
                         IsPrintable(*validator);
  if (printable && rest == "end\n") origin_ = Origin{std::move(*url), std::move(*validator)};
}

Result<void> StagedFile::Remember(std::string_view url, const FetchResponse& answer) {
  Origin origin{Sha256(url).ToHex(), ValidatorOf(answer)};
  if (origin_ && origin_->url_sha256 == origin.url_sha256 &&
      origin_->validator == origin.validator) {
    return {};
  }
  if (origin_) TRY(ForgetOrigin());
  // The URL may hold secrets; its digest is enough to know it again.
  if (origin.validator.empty() || needed_->LargestBytes() < kOriginWorthwhileBytes) return {};
  TRY_ASSIGN(File file, File::Create(OriginPath(path_)));
  TRY(file.WriteAll(AsBytes(fmt::format("{}url-sha256 {}\nvalidator {}\nend\n", kOriginHead,
                                        origin.url_sha256, origin.validator))));
  TRY(file.Close());
  origin_ = std::move(origin);
  return {};
}

std::string StagedFile::IfRange(std::string_view url) const {
  if (offset_ == 0 || !origin_ || origin_->url_sha256 != Sha256(url).ToHex()) return {};
  return origin_->validator;
}

Result<VerifiedContent> StagedFile::Accept() {
  TRY(file_.Close());
  TRY(ForgetOrigin());
  const Sha1Digest sha1 = sha1_.Finish();
  const Sha256Digest sha256 = sha256_.Finish();
  const ContentExpectation* match = needed_->Match(sha256, offset_);
  return ContentStore::AcceptHashed(path_, match != nullptr ? *match : needed_->expected, sha1,
                                    sha256, offset_);
}

}  // namespace gapferry::exporter
