#include "manifests/passphrase.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>

namespace gapferry::manifests {
namespace {

constexpr std::size_t kMinNewBytes = 8;

std::unexpected<Error> Needed(std::string_view object) {
  return Fail(
      ErrorCode::kUsage, "passphrase-needed",
      std::string(object) + " is protected by a passphrase, and there is no terminal to ask");
}

/// The controlling terminal, echo switched off until destruction.
class Terminal {
 public:
  static std::optional<Terminal> Open() {
    const int fd = ::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return std::nullopt;
    termios before{};
    if (::tcgetattr(fd, &before) != 0) {
      ::close(fd);
      return std::nullopt;
    }
    termios silent = before;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(fd, TCSAFLUSH, &silent);
    return Terminal(fd, before);
  }
  Terminal(Terminal&& other) noexcept : fd_(std::exchange(other.fd_, -1)), before_(other.before_) {}
  ~Terminal() {
    if (fd_ < 0) return;
    ::tcsetattr(fd_, TCSAFLUSH, &before_);
    ::close(fd_);
  }

  Result<Secret> Ask(const std::string& question) {
    if (::write(fd_, question.data(), question.size()) < 0) {
      return FailErrno(errno, "terminal");
    }
    std::string line(kMaxPassphraseBytes + 2, '\0');
    const ssize_t count = ::read(fd_, line.data(), line.size());
    (void)!::write(fd_, "\n", 1);
    if (count <= 0) return Fail(ErrorCode::kCancelled, "no passphrase was typed");
    Secret typed(line.substr(0, static_cast<std::size_t>(count)));
    OPENSSL_cleanse(line.data(), line.size());
    return Secret(typed.text().substr(0, typed.text().find_first_of("\r\n")));
  }

 private:
  Terminal(int fd, const termios& before) : fd_(fd), before_(before) {}
  int fd_;
  termios before_;
};

}  // namespace

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    Wipe();
    text_ = std::move(other.text_);
    other.Wipe();
  }
  return *this;
}

void Secret::Wipe() {
  OPENSSL_cleanse(text_.data(), text_.size());
  text_.clear();
}

Result<Secret> ReadPassphraseFile(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    auto error = FailErrno(errno, "passphrase file '" + path.string() + "'");
    error.error().reason = "passphrase-file";
    return error;
  }
  struct stat info {};
  std::string text(kMaxPassphraseBytes + 2, '\0');
  std::size_t size = 0;
  ssize_t count = ::fstat(fd, &info) == 0 ? 1 : -1;
  while (count > 0 && size < text.size()) {
    count = ::read(fd, text.data() + size, text.size() - size);
    if (count > 0) size += static_cast<std::size_t>(count);
  }
  const int error = errno;
  ::close(fd);
  if (count < 0) return FailErrno(error, "passphrase file '" + path.string() + "'");
  Secret line(text.substr(0, std::min(size, text.find_first_of("\r\n"))));
  OPENSSL_cleanse(text.data(), text.size());
  if (S_ISREG(info.st_mode) && (info.st_mode & 077) != 0) {
    return Fail(ErrorCode::kUntrusted, "key-readable",
                "passphrase file '" + path.string() + "' can be read by others; chmod 600 it");
  }
  if (line.text().empty() || line.text().size() > kMaxPassphraseBytes) {
    return Fail(ErrorCode::kUsage, "passphrase-file",
                "passphrase file '" + path.string() + "': its first line is empty or longer than " +
                    std::to_string(kMaxPassphraseBytes) + " bytes");
  }
  return line;
}

Result<Secret> FindPassphrase(std::string_view object) {
  const char* file = std::getenv(kPassphraseFileVariable);
  if (file != nullptr && *file != 0) return ReadPassphraseFile(file);
  auto terminal = Terminal::Open();
  if (!terminal) return Needed(object);
  return terminal->Ask("passphrase of " + std::string(object) + ": ");
}

Result<Secret> AskNewPassphrase(std::string_view object) {
  auto terminal = Terminal::Open();
  if (!terminal) return Needed(object);
  for (;;) {
    TRY_ASSIGN(Secret first, terminal->Ask("new passphrase of " + std::string(object) + ": "));
    if (first.text().size() < kMinNewBytes) {
      return Fail(ErrorCode::kUsage, "passphrase-short",
                  "a passphrase has at least " + std::to_string(kMinNewBytes) + " characters");
    }
    TRY_ASSIGN(const Secret second, terminal->Ask("the same again: "));
    if (first.text() == second.text()) return first;
  }
}

}  // namespace gapferry::manifests
