#include "manifests/token_key.h"

#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/text.h"
#include "manifests/passphrase.h"

namespace gapferry::manifests {
namespace {

constexpr CK_ULONG kMaxSlots = 64;
constexpr CK_ULONG kMaxKeys = 8;

struct Release {
  void operator()(P11KitUri* uri) const { p11_kit_uri_free(uri); }
};
using Uri = std::unique_ptr<P11KitUri, Release>;

std::unexpected<Error> Refuse(ErrorCode code, std::string reason, std::string message) {
  return Fail(code, std::move(reason), "token: " + std::move(message));
}

std::unexpected<Error> Failed(const char* call, CK_RV code) {
  if (code == CKR_PIN_INCORRECT || code == CKR_PIN_INVALID || code == CKR_PIN_LEN_RANGE) {
    return Refuse(ErrorCode::kUntrusted, "passphrase-wrong", "it does not accept the PIN");
  }
  if (code == CKR_PIN_LOCKED) {
    return Refuse(ErrorCode::kUntrusted, "passphrase-wrong", "its PIN is locked");
  }
  return Refuse(ErrorCode::kTransient, "token-failed",
                std::string(call) + ": " + p11_kit_strerror(code));
}

/// The URI without what must not be shown: its PIN.
std::string Shown(std::string_view uri) {
  const std::size_t query = uri.find('?');
  return "'" + EscapeForDisplay(uri.substr(0, query), 200) + "'";
}

Result<Uri> ParseUri(const std::string& text) {
  Uri uri(p11_kit_uri_new());
  if (!uri || p11_kit_uri_parse(text.c_str(), P11_KIT_URI_FOR_ANY, uri.get()) != P11_KIT_URI_OK ||
      p11_kit_uri_any_unrecognized(uri.get()) != 0) {
    return Refuse(ErrorCode::kUsage, "token-uri",
                  Shown(text) +
                      " is no PKCS#11 URI such as "
                      "'pkcs11:token=LABEL;object=LABEL?module-path=FILE'");
  }
  // Command lines are seen by all processes, and gapferry.yaml is no secret.
  if (p11_kit_uri_get_pin_value(uri.get()) != nullptr) {
    return std::unexpected(Error{
        ErrorCode::kUsage, "token: " + Shown(text) + " carries its PIN where others can read it",
        "token-pin",
        "leave pin-value out: the PIN is asked for, or put it into a file of mode 600 and say "
        "pin-source=file:FILE or GAPFERRY_PASSPHRASE_FILE=FILE"});
  }
  return uri;
}

/// The modules that the URI names, or all that are registered; ended by the last owner.
class Modules {
 public:
  static Result<std::unique_ptr<Modules>> Load(P11KitUri* uri) {
    std::unique_ptr<Modules> loaded(new Modules);
    const char* path = p11_kit_uri_get_module_path(uri);
    if (path == nullptr) {
      loaded->registered_ = p11_kit_modules_load_and_initialize(0);
      for (auto* at = loaded->registered_; at != nullptr && *at != nullptr; ++at) {
        loaded->list_.push_back(*at);
      }
      return loaded;
    }
    loaded->single_ = p11_kit_module_load(path, P11_KIT_MODULE_CRITICAL);
    if (loaded->single_ == nullptr) {
      return Refuse(ErrorCode::kNotFound, "token-missing",
                    "module '" + std::string(path) + "' cannot be loaded");
    }
    if (const CK_RV code = p11_kit_module_initialize(loaded->single_); code != CKR_OK) {
      p11_kit_module_release(std::exchange(loaded->single_, nullptr));
      return Failed("C_Initialize", code);
    }
    loaded->list_.push_back(loaded->single_);
    return loaded;
  }
  ~Modules() {
    if (registered_ != nullptr) p11_kit_modules_finalize_and_release(registered_);
    if (single_ == nullptr) return;
    p11_kit_module_finalize(single_);
    p11_kit_module_release(single_);
  }
  Modules(const Modules&) = delete;
  Modules& operator=(const Modules&) = delete;
  const std::vector<CK_FUNCTION_LIST*>& list() const { return list_; }

 private:
  Modules() = default;
  CK_FUNCTION_LIST** registered_ = nullptr;
  CK_FUNCTION_LIST* single_ = nullptr;
  std::vector<CK_FUNCTION_LIST*> list_;
};

class Session {
 public:
  static Result<std::unique_ptr<Session>> Open(CK_FUNCTION_LIST* module, CK_SLOT_ID slot,
                                               const CK_TOKEN_INFO& info) {
    std::unique_ptr<Session> session(new Session(module, info));
    const CK_RV code =
        module->C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &session->handle_);
    if (code != CKR_OK) return Failed("C_OpenSession", code);
    return session;
  }
  ~Session() {
    if (handle_ != 0) module_->C_CloseSession(handle_);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Result<void> Login(P11KitUri* uri) {
    if ((info_.flags & CKF_LOGIN_REQUIRED) == 0) return {};
    CK_RV code = CKR_OK;
    if ((info_.flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0) {
      code = module_->C_Login(handle_, CKU_USER, nullptr, 0);
    } else {
      TRY_ASSIGN(const Secret pin, FindPin(uri));
      std::string copy = pin.text();
      const Secret wiped(std::move(copy));
      code = module_->C_Login(
          handle_, CKU_USER,
          reinterpret_cast<CK_UTF8CHAR*>(const_cast<char*>(wiped.text().data())),  // NOLINT: C API
          wiped.text().size());
    }
    if (code != CKR_OK && code != CKR_USER_ALREADY_LOGGED_IN) return Failed("C_Login", code);
    return {};
  }

  /// The objects of `kind` that the URI means.
  Result<std::vector<CK_OBJECT_HANDLE>> Find(P11KitUri* uri, CK_OBJECT_CLASS kind) {
    std::vector<CK_ATTRIBUTE> wanted = {{CKA_CLASS, &kind, sizeof kind}};
    for (const CK_ATTRIBUTE_TYPE type : {CKA_LABEL, CKA_ID}) {
      const CK_ATTRIBUTE* given = p11_kit_uri_get_attribute(uri, type);
      if (given != nullptr) wanted.push_back(*given);
    }
    CK_RV code = module_->C_FindObjectsInit(handle_, wanted.data(), wanted.size());
    if (code != CKR_OK) return Failed("C_FindObjectsInit", code);
    std::vector<CK_OBJECT_HANDLE> found(kMaxKeys);
    CK_ULONG count = 0;
    code = module_->C_FindObjects(handle_, found.data(), kMaxKeys, &count);
    module_->C_FindObjectsFinal(handle_);
    if (code != CKR_OK) return Failed("C_FindObjects", code);
    found.resize(count);
    return found;
  }

  /// CKA_EC_POINT: the 32 bytes in a DER OCTET STRING (PKCS#11 3.0), or bare as some tokens give
  /// it.
  Result<SigningPublicKey> PublicKey(CK_OBJECT_HANDLE object) {
    CK_KEY_TYPE type = 0;
    std::array<std::uint8_t, 80> point{};
    CK_ATTRIBUTE attributes[] = {{CKA_KEY_TYPE, &type, sizeof type},
                                 {CKA_EC_POINT, point.data(), point.size()}};
    const CK_RV code = module_->C_GetAttributeValue(handle_, object, attributes, 2);
    if (code != CKR_OK) return Failed("C_GetAttributeValue", code);
    const std::size_t size = attributes[1].ulValueLen;
    const bool wrapped = size == 34 && point[0] == 0x04 && point[1] == 32;
    if (type != CKK_EC_EDWARDS || (!wrapped && size != 32)) {
      return Refuse(ErrorCode::kUnsupported, "token-key", "its key is no Ed25519 key");
    }
    SigningPublicKey key;
    std::copy_n(point.begin() + (wrapped ? 2 : 0), 32, key.bytes.begin());
    return key;
  }

  Result<Signature> Sign(CK_OBJECT_HANDLE object, ByteView message) {
    CK_MECHANISM mechanism = {CKM_EDDSA, nullptr, 0};
    CK_RV code = module_->C_SignInit(handle_, &mechanism, object);
    if (code != CKR_OK) return Failed("C_SignInit", code);
    Signature signature{};
    CK_ULONG size = signature.size();
    code = module_->C_Sign(handle_, const_cast<CK_BYTE*>(message.data()),  // NOLINT: C API
                           message.size(), signature.data(), &size);
    if (code != CKR_OK) return Failed("C_Sign", code);
    if (size != signature.size()) {
      return Refuse(ErrorCode::kTransient, "token-failed",
                    "it gave a signature of " + std::to_string(size) + " bytes, expected 64");
    }
    return signature;
  }

 private:
  Session(CK_FUNCTION_LIST* module, const CK_TOKEN_INFO& info) : module_(module), info_(info) {}

  Result<Secret> FindPin(P11KitUri* uri) {
    if (const char* source = p11_kit_uri_get_pin_source(uri)) {
      const std::string_view path(source);
      return ReadPassphraseFile(path.starts_with("file:") ? path.substr(5) : path);
    }
    std::string label(reinterpret_cast<const char*>(info_.label), sizeof info_.label);
    label.resize(label.find_last_not_of(' ') + 1);
    return FindPassphrase("token '" + EscapeForDisplay(label, 32) + "'");
  }

  CK_FUNCTION_LIST* module_;
  CK_TOKEN_INFO info_;
  CK_SESSION_HANDLE handle_ = 0;
};

/// A session on the one token that the URI means.
Result<std::unique_ptr<Session>> FindToken(const Modules& modules, P11KitUri* uri,
                                           const std::string& text) {
  for (CK_FUNCTION_LIST* module : modules.list()) {
    std::array<CK_SLOT_ID, kMaxSlots> slots{};
    CK_ULONG count = slots.size();
    if (module->C_GetSlotList(CK_TRUE, slots.data(), &count) != CKR_OK) continue;
    for (CK_ULONG i = 0; i < count; ++i) {
      CK_TOKEN_INFO info;
      if (module->C_GetTokenInfo(slots[i], &info) != CKR_OK) continue;
      if ((info.flags & CKF_TOKEN_INITIALIZED) == 0) continue;
      if (p11_kit_uri_match_token_info(uri, &info) == 1)
        return Session::Open(module, slots[i], info);
    }
  }
  return Refuse(ErrorCode::kNotFound, "token-missing",
                "none that fits " + Shown(text) + " is there");
}

Result<CK_OBJECT_HANDLE> OnlyOne(const std::vector<CK_OBJECT_HANDLE>& found,
                                 const std::string& text) {
  if (found.size() == 1) return found.front();
  return Refuse(found.empty() ? ErrorCode::kNotFound : ErrorCode::kUsage, "token-missing",
                std::to_string(found.size()) + " keys fit " + Shown(text) + ", expected one");
}

}  // namespace

struct TokenKey::Impl {
  std::unique_ptr<Modules> modules;  // outlives the session
  std::unique_ptr<Session> session;
  CK_OBJECT_HANDLE key = 0;
};

bool IsTokenUri(std::string_view text) { return text.starts_with("pkcs11:"); }

TokenKey::TokenKey(std::unique_ptr<Impl> impl, const SigningPublicKey& public_key)
    : impl_(std::move(impl)), public_key_(public_key) {}
TokenKey::~TokenKey() = default;

Result<std::unique_ptr<TokenKey>> TokenKey::Open(const std::string& text) {
  TRY_ASSIGN(const Uri uri, ParseUri(text));
  auto impl = std::make_unique<Impl>();
  TRY_ASSIGN(impl->modules, Modules::Load(uri.get()));
  TRY_ASSIGN(impl->session, FindToken(*impl->modules, uri.get(), text));
  TRY(impl->session->Login(uri.get()));
  TRY_ASSIGN(const auto private_keys, impl->session->Find(uri.get(), CKO_PRIVATE_KEY));
  TRY_ASSIGN(impl->key, OnlyOne(private_keys, text));
  TRY_ASSIGN(const auto public_keys, impl->session->Find(uri.get(), CKO_PUBLIC_KEY));
  TRY_ASSIGN(const CK_OBJECT_HANDLE object, OnlyOne(public_keys, text));
  TRY_ASSIGN(const SigningPublicKey key, impl->session->PublicKey(object));
  std::unique_ptr<TokenKey> token(new TokenKey(std::move(impl), key));
  // A label may stand on halves of different keys.
  static constexpr std::string_view kProbe = "gapferry-probe/1\n";
  TRY_ASSIGN(const Signature probe, token->Sign(AsBytes(kProbe)));
  if (!key.Verifies(AsBytes(kProbe), probe)) {
    return Refuse(ErrorCode::kCorrupt, "token-key",
                  "public and private key of " + Shown(text) + " do not belong together");
  }
  return token;
}

Result<Signature> TokenKey::Sign(ByteView message) const {
  return impl_->session->Sign(impl_->key, message);
}

}  // namespace gapferry::manifests
