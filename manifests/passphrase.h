#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gapferry::manifests {

/// Names a file whose first line is the passphrase of the private keys: for schedules and scripts.
/// `--passphrase-file` of the commands sets it for their process.
inline constexpr const char* kPassphraseFileVariable = "GAPFERRY_PASSPHRASE_FILE";
inline constexpr std::size_t kMaxPassphraseBytes = 1024;

/// A secret in memory, overwritten when it goes.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  Secret(Secret&& other) noexcept : text_(std::move(other.text_)) { other.Wipe(); }
  Secret& operator=(Secret&& other) noexcept;
  ~Secret() { Wipe(); }
  const std::string& text() const { return text_; }

 private:
  void Wipe();
  std::string text_;
};

/// The first line of a file that only its owner may read (kUntrusted, reason "key-readable"; pipes
/// are taken as they are). kUsage when it is empty or longer than kMaxPassphraseBytes.
Result<Secret> ReadPassphraseFile(const std::filesystem::path& path);

/// What opens `object` (a key file or token, for the question): the file of
/// GAPFERRY_PASSPHRASE_FILE, else asked on the terminal without echo. Fails with kUsage (reason
/// "passphrase-needed") when there is neither.
Result<Secret> FindPassphrase(std::string_view object);

/// Asks on the terminal, twice, until both are the same; at least 8 bytes. Fails with kUsage
/// (reason "passphrase-needed") without a terminal.
Result<Secret> AskNewPassphrase(std::string_view object);

}  // namespace gapferry::manifests
