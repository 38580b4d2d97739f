#include "server/cookie_box.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <memory>

namespace gapferry::server {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kHeadBytes = 1 + 4;
constexpr std::int64_t kSecondsPerDay = 86'400;

struct CipherFree {
  void operator()(EVP_CIPHER_CTX* context) const { ::EVP_CIPHER_CTX_free(context); }
};
using Cipher = std::unique_ptr<EVP_CIPHER_CTX, CipherFree>;

/// The algorithm is fetched once per process.
const EVP_CIPHER* Aes256Gcm() {
  static const EVP_CIPHER* const cipher = ::EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  return cipher;
}

/// What is authenticated beside the text: the head and the purpose.
Bytes Associated(ByteView head, CookiePurpose purpose) {
  Bytes associated(head.begin(), head.end());
  associated.push_back(static_cast<std::uint8_t>(purpose));
  return associated;
}

class Writer {
 public:
  void Number(std::uint64_t value) { AppendLe64(bytes_, value); }
  void Signed(std::int64_t value) { Number(static_cast<std::uint64_t>(value)); }
  void Text(std::string_view text) {
    AppendLe16(bytes_, static_cast<std::uint16_t>(text.size()));
    bytes_.insert(bytes_.end(), text.begin(), text.end());
  }
  void Raw(ByteView raw) { bytes_.insert(bytes_.end(), raw.begin(), raw.end()); }
  Bytes Take() { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

/// Reads what Writer wrote; after an underrun everything is empty and Ok is false.
class Reader {
 public:
  explicit Reader(ByteView rest) : rest_(rest) {}
  std::uint64_t Number() {
    const ByteView raw = Raw(8);
    return raw.empty() ? 0 : LoadLe64(raw.data());
  }
  std::int64_t Signed() { return static_cast<std::int64_t>(Number()); }
  std::string Text() {
    const ByteView size = Raw(2);
    if (size.empty()) return {};
    const ByteView raw = Raw(LoadLe16(size.data()));
    return std::string(AsText(raw));
  }
  template <class T>
  T Fixed() {
    T value{};
    const ByteView raw = Raw(value.bytes.size());
    if (!raw.empty()) std::memcpy(value.bytes.data(), raw.data(), raw.size());
    return value;
  }
  bool Complete() const { return ok_ && rest_.empty(); }

 private:
  ByteView Raw(std::size_t size) {
    if (!ok_ || rest_.size() < size) {
      ok_ = false;
      return {};
    }
    const ByteView raw = rest_.first(size);
    rest_ = rest_.subspan(size);
    return raw;
  }
  ByteView rest_;
  bool ok_ = true;
};

void WriteState(Writer& out, const mirror::StateName& state) {
  out.Raw(state.epoch.View());
  out.Signed(state.generation);
  out.Raw(state.chain.View());
}

mirror::StateName ReadState(Reader& in) {
  mirror::StateName state;
  state.epoch = in.Fixed<Guid>();
  state.generation = in.Signed();
  state.chain = in.Fixed<Sha256Digest>();
  return state;
}

void WriteAnchor(Writer& out, const std::optional<ScanAnchor>& anchor) {
  out.Number(anchor ? 1 : 0);
  if (!anchor) return;
  out.Signed(anchor->generation);
  out.Signed(anchor->content_sequence);
  out.Number(anchor->scope_stamp);
  out.Signed(anchor->at.ticks);
}

std::optional<ScanAnchor> ReadAnchor(Reader& in) {
  if (in.Number() == 0) return std::nullopt;
  ScanAnchor anchor;
  anchor.generation = in.Signed();
  anchor.content_sequence = in.Signed();
  anchor.scope_stamp = in.Number();
  anchor.at.ticks = in.Signed();
  return anchor;
}

}  // namespace

CookieBox::CookieBox(const mirror::CookieKey& key)
    : key_(key), derived_(std::make_shared<Guarded<std::vector<DerivedKey>>>()) {}

Sha256Digest CookieBox::DayKey(CookiePurpose purpose, std::uint32_t day, bool keep) const {
  constexpr std::size_t kKept = 8;  // four purposes, today and yesterday
  const auto is_wanted = [purpose, day](const DerivedKey& one) {
    return one.purpose == purpose && one.day == day;
  };
  {
    auto derived = derived_->Lock();
    const auto found = std::ranges::find_if(*derived, is_wanted);
    if (found != derived->end()) return found->key;
  }
  const Sha256Digest key = DeriveKey(purpose, day);
  if (!keep) return key;
  auto derived = derived_->Lock();
  if (std::ranges::any_of(*derived, is_wanted)) return key;  // by another thread meanwhile
  if (derived->size() == kKept) derived->erase(derived->begin());
  derived->push_back({purpose, day, key});
  return key;
}

Sha256Digest CookieBox::DeriveKey(CookiePurpose purpose, std::uint32_t day) const {
  Bytes info(AsBytes("gapferry-cookie/1").begin(), AsBytes("gapferry-cookie/1").end());
  info.push_back(static_cast<std::uint8_t>(purpose));
  AppendLe32(info, day);
  Sha256Digest key;
  unsigned size = 0;
  ::HMAC(::EVP_sha256(), key_.data(), static_cast<int>(key_.size()), info.data(), info.size(),
         key.bytes.data(), &size);
  return key;
}

Result<Bytes> CookieBox::Seal(CookiePurpose purpose, ByteView plain, UtcTime now) const {
  const auto day = static_cast<std::uint32_t>(now.UnixSeconds() / kSecondsPerDay);
  Bytes sealed = {kVersion};
  AppendLe32(sealed, day);
  std::array<std::uint8_t, kNonceBytes> nonce;
  FillRandom(nonce);
  const Bytes associated = Associated(sealed, purpose);
  sealed.insert(sealed.end(), nonce.begin(), nonce.end());
  const std::size_t text_at = sealed.size();
  sealed.resize(text_at + plain.size() + kTagBytes);

  const Sha256Digest key = DayKey(purpose, day, /*keep=*/true);
  const Cipher cipher(::EVP_CIPHER_CTX_new());
  int written = 0;
  const bool done =
      cipher != nullptr &&
      ::EVP_EncryptInit_ex2(cipher.get(), Aes256Gcm(), key.bytes.data(), nonce.data(), nullptr) ==
          1 &&
      ::EVP_EncryptUpdate(cipher.get(), nullptr, &written, associated.data(),
                          static_cast<int>(associated.size())) == 1 &&
      ::EVP_EncryptUpdate(cipher.get(), sealed.data() + text_at, &written, plain.data(),
                          static_cast<int>(plain.size())) == 1 &&
      ::EVP_EncryptFinal_ex(cipher.get(), sealed.data() + text_at + plain.size(), &written) == 1 &&
      ::EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes,
                            sealed.data() + text_at + plain.size()) == 1;
  if (!done) return Fail(ErrorCode::kInternal, "sealing a cookie failed");
  return sealed;
}

Result<Bytes> CookieBox::Open(CookiePurpose purpose, ByteView sealed) const {
  constexpr std::size_t kLeast = kHeadBytes + kNonceBytes + kTagBytes;
  if (sealed.size() < kLeast || sealed.size() > 64 * 1024 || sealed[0] != kVersion) {
    return Fail(ErrorCode::kUntrusted, "cookie is not of this server");
  }
  const std::uint32_t day = LoadLe32(sealed.data() + 1);
  const ByteView nonce = sealed.subspan(kHeadBytes, kNonceBytes);
  const ByteView text = sealed.subspan(kHeadBytes + kNonceBytes, sealed.size() - kLeast);
  Bytes tag(sealed.end() - kTagBytes, sealed.end());
  const Bytes associated = Associated(sealed.first(kHeadBytes), purpose);
  const Sha256Digest key = DayKey(purpose, day, /*keep=*/false);
  const Cipher cipher(::EVP_CIPHER_CTX_new());
  Bytes plain(text.size() + 1);  // never a null pointer
  int written = 0;
  const bool valid =
      cipher != nullptr &&
      ::EVP_DecryptInit_ex2(cipher.get(), Aes256Gcm(), key.bytes.data(), nonce.data(), nullptr) ==
          1 &&
      ::EVP_DecryptUpdate(cipher.get(), nullptr, &written, associated.data(),
                          static_cast<int>(associated.size())) == 1 &&
      ::EVP_DecryptUpdate(cipher.get(), plain.data(), &written, text.data(),
                          static_cast<int>(text.size())) == 1 &&
      ::EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, tag.data()) == 1 &&
      ::EVP_DecryptFinal_ex(cipher.get(), plain.data() + text.size(), &written) == 1;
  if (!valid) return Fail(ErrorCode::kUntrusted, "cookie is not of this server");
  plain.resize(text.size());
  return plain;
}

Bytes EncodeCookie(const ClientCookie& cookie) {
  Writer out;
  out.Text(cookie.client_id);
  out.Text(cookie.dns_name);
  out.Text(cookie.target_group);
  WriteState(out, cookie.state);
  out.Number(cookie.protocol_version);
  out.Signed(cookie.issued.ticks);
  out.Signed(cookie.expires.ticks);
  out.Signed(cookie.config_last_change.ticks);
  WriteAnchor(out, cookie.anchor);
  WriteAnchor(out, cookie.category_anchor);
  out.Signed(cookie.derivation);
  return out.Take();
}

Result<ClientCookie> DecodeClientCookie(ByteView bytes) {
  Reader in(bytes);
  ClientCookie cookie;
  cookie.client_id = in.Text();
  cookie.dns_name = in.Text();
  cookie.target_group = in.Text();
  cookie.state = ReadState(in);
  cookie.protocol_version = static_cast<std::uint32_t>(in.Number());
  cookie.issued.ticks = in.Signed();
  cookie.expires.ticks = in.Signed();
  cookie.config_last_change.ticks = in.Signed();
  cookie.anchor = ReadAnchor(in);
  cookie.category_anchor = ReadAnchor(in);
  cookie.derivation = static_cast<std::int32_t>(in.Signed());
  if (!in.Complete()) return Fail(ErrorCode::kCorrupt, "cookie of another program version");
  return cookie;
}

Bytes EncodeCookie(const ServerCookie& cookie) {
  Writer out;
  out.Raw(cookie.server.View());
  out.Text(cookie.name);
  out.Raw(cookie.mirror.View());
  out.Raw(cookie.epoch.View());
  out.Number(cookie.protocol_version);
  out.Signed(cookie.expires.ticks);
  return out.Take();
}

Result<ServerCookie> DecodeServerCookie(ByteView bytes) {
  Reader in(bytes);
  ServerCookie cookie;
  cookie.server = in.Fixed<Guid>();
  cookie.name = in.Text();
  cookie.mirror = in.Fixed<Guid>();
  cookie.epoch = in.Fixed<Guid>();
  cookie.protocol_version = static_cast<std::uint32_t>(in.Number());
  cookie.expires.ticks = in.Signed();
  if (!in.Complete()) return Fail(ErrorCode::kCorrupt, "cookie of another program version");
  return cookie;
}

}  // namespace gapferry::server
