#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/fetcher.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/result.h"
#include "base/stream.h"
#include "exporter/content_need.h"
#include "mirror/content_store.h"

namespace gapferry::exporter {

/// The bytes of one needed file on their way: collected in staging/content/, hashed while they
/// arrive, taken up again by the next run. Beside the bytes of a larger file lies "<file>.from":
/// which URL they came from and what that server said about the object (ETag, Last-Modified), so
/// that a resumed part is asked for only if the object is still the same:
///
///   gapferry-staged/1
///   url-sha256 <64 hex digits>
///   validator <a strong ETag or a Last-Modified>
///   end
///
/// It is written without sync: what cannot be read whole counts as absent, and whatever it says,
/// the digests decide at the end. Runs of zeros become holes. Owned by one thread.
class StagedFile : public Sink {
 public:
  /// Opens what an earlier run left, and hashes it; kCancelled when stopped meanwhile. `needed`
  /// must outlive the result.
  static Result<StagedFile> Open(std::filesystem::path path, const NeededFile& needed,
                                 std::stop_token stop);

  /// Appends. Fails with kCorrupt, reason "answer-too-large", beyond the largest declared size.
  Result<void> Write(ByteView bytes) override;
  std::uint64_t offset() const { return offset_; }    ///< bytes collected
  std::uint64_t written() const { return written_; }  ///< of these, since Open

  /// Begins again with nothing.
  Result<void> Restart();
  /// Keeps what the server at `url` says about the object, for IfRange of a later run.
  Result<void> Remember(std::string_view url, const FetchResponse& answer);
  /// For FetchRequest::if_range; empty: the bytes are from elsewhere, or nothing is known.
  std::string IfRange(std::string_view url) const;

  bool IsWhole() const { return needed_->HasSize(offset_); }
  /// Checks size and digests of everything collected against each declaration; closes the file.
  /// Fails with kCorrupt, reason "content-mismatch", naming both values; nothing stays then.
  Result<mirror::VerifiedContent> Accept();

 private:
  StagedFile(std::filesystem::path path, File file, const NeededFile& needed)
      : path_(std::move(path)), file_(std::move(file)), needed_(&needed) {}
  Result<void> HashPresent(std::stop_token stop);
  void ReadOrigin();
  Result<void> ForgetOrigin();

  struct Origin {
    std::string url_sha256;
    std::string validator;
  };

  std::filesystem::path path_;
  File file_;
  const NeededFile* needed_;
  std::optional<Origin> origin_;
  std::uint64_t offset_ = 0;
  std::uint64_t written_ = 0;
  Sha1Hasher sha1_;
  Sha256Hasher sha256_;
};

/// What identifies the object of `answer` for If-Range: a strong ETag, else Last-Modified; empty
/// when there is neither of a bounded, printable form.
std::string ValidatorOf(const FetchResponse& answer);

}  // namespace gapferry::exporter
