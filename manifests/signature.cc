#include "manifests/signature.h"

#include <algorithm>
#include <optional>
#include <set>

#include "base/text.h"

namespace gapferry::manifests {
namespace {

std::unexpected<Error> Malformed(std::size_t line, std::string_view problem) {
  return Fail(ErrorCode::kCorrupt, "signature-malformed",
              "signature line " + std::to_string(line) + ": " + std::string(problem));
}

Result<SignatureLine> DecodeLine(std::string_view text, std::size_t number) {
  const auto words = Split(text, ' ');
  if (words.size() != 3) return Malformed(number, "expected key id, role and signature");
  SignatureLine line;
  const auto id = KeyId::FromHex(words[0]);
  const auto role = ParseSignerRole(words[1]);
  const auto raw = Base64Decode(words[2]);
  if (!id) return Malformed(number, id.error().message);
  if (!role) return Malformed(number, role.error().message);
  if (!raw || raw->size() != kSignatureBytes || Base64Encode(*raw) != words[2]) {
    return Malformed(number, "expected base64 of 64 bytes");
  }
  line.key_id = *id;
  line.role = *role;
  std::ranges::copy(*raw, line.signature.begin());
  return line;
}

std::unexpected<Error> Untrusted(std::string reason, std::string message) {
  return Fail(ErrorCode::kUntrusted, std::move(reason), std::move(message));
}

std::string Names(const TrustedKey& key) {
  return "key " + key.key.Id().ToHex() + " of '" + EscapeForDisplay(key.name, 64) + "'";
}

/// The trusted key of a line, none for an unknown one. A known key that signed otherwise than it
/// may is an error, not an unknown.
Result<std::optional<TrustedKey>> Judge(const SignatureLine& line, ByteView document,
                                        const TrustPolicy& policy) {
  const TrustedKey* known = nullptr;
  for (const TrustedKey& key : policy.keys) {
    if (key.key.Id() != line.key_id) continue;
    known = &key;
    if (key.role == line.role) break;
  }
  if (known == nullptr) return std::optional<TrustedKey>();
  if (!known->key.Verifies(document, line.signature)) {
    return Untrusted("signature-bad", "the signature by " + Names(*known) + " does not match");
  }
  if (known->role != line.role) {
    return Untrusted("signature-role",
                     Names(*known) + " signed as " + std::string(SignerRoleName(line.role)) +
                         " but is trusted as " + std::string(SignerRoleName(known->role)));
  }
  return std::optional(*known);
}

}  // namespace

std::string_view SignerRoleName(SignerRole role) {
  return role == SignerRole::kOrigin ? "origin" : "release";
}

Result<SignerRole> ParseSignerRole(std::string_view text) {
  if (text == "origin") return SignerRole::kOrigin;
  if (text == "release") return SignerRole::kRelease;
  return Fail(ErrorCode::kCorrupt, "'" + EscapeForDisplay(text, 20) + "' is no role of a signer");
}

Result<SignatureLine> SignDocument(ByteView document, const SigningKey& key, SignerRole role) {
  TRY_ASSIGN(const Signature signature, key.Sign(document));
  return SignatureLine{key.public_key().Id(), role, signature};
}

std::string EncodeSignatures(std::vector<SignatureLine> lines) {
  std::ranges::sort(lines, {}, &SignatureLine::key_id);
  std::string out;
  for (const SignatureLine& line : lines) {
    out += line.key_id.ToHex();
    out += ' ';
    out += SignerRoleName(line.role);
    out += ' ';
    out += Base64Encode(line.signature);
    out += '\n';
  }
  return out;
}

Result<std::vector<SignatureLine>> DecodeSignatures(std::string_view text) {
  if (text.size() > kMaxSignatureFileBytes) return Malformed(1, "the file is too large");
  if (!text.ends_with('\n')) return Malformed(1, "the file does not end with a line end");
  std::vector<SignatureLine> lines;
  for (const std::string_view spelled : Split(text.substr(0, text.size() - 1), '\n')) {
    const std::size_t number = lines.size() + 1;
    if (number > kMaxSignatureLines) return Malformed(number, "too many lines");
    TRY_ASSIGN(const SignatureLine line, DecodeLine(spelled, number));
    if (!lines.empty() && lines.back().key_id == line.key_id) {
      return Fail(
          ErrorCode::kCorrupt, "signature-repeated-key",
          "signature line " + std::to_string(number) + " repeats key " + line.key_id.ToHex());
    }
    if (!lines.empty() && lines.back().key_id > line.key_id) {
      return Malformed(number, "lines are not sorted by key id");
    }
    lines.push_back(line);
  }
  return lines;
}

std::string TrustRule::ToString() const {
  return release_persons == 0 ? "origin"
                              : "origin + " + std::to_string(release_persons) + " release";
}

StreamRule TrustPolicy::RuleFor(const Guid& sender, std::string_view stream) const {
  const StreamRule* found = nullptr;
  for (const StreamRule& one : rules) {
    if (one.sender != sender) continue;
    if (one.stream == stream) return one;
    if (one.stream.empty()) found = &one;
  }
  return found != nullptr ? *found : StreamRule{sender, "", rule, {}};
}

Result<SignatureReport> ReadSignatures(ByteView document, DocumentType expected,
                                       std::string_view signature_file, const TrustPolicy& policy) {
  TRY(CheckDocumentType(document, expected));
  TRY_ASSIGN(const auto lines, DecodeSignatures(signature_file));
  SignatureReport report;
  std::optional<TrustedKey> origin;
  std::optional<EndedKey> ended_origin;
  for (const SignatureLine& line : lines) {
    TRY_ASSIGN(const auto known, Judge(line, document, policy));
    if (!known) {
      const auto ended = std::ranges::find(policy.ended, line.key_id, &EndedKey::id);
      if (ended == policy.ended.end()) {
        report.unknown.push_back(line);
      } else if (line.role == SignerRole::kOrigin) {
        ended_origin = *ended;
      } else {
        report.ended.push_back(*ended);
      }
    } else if (line.role == SignerRole::kRelease) {
      report.released.push_back(*known);
    } else if (origin) {
      return Untrusted("signature-two-origins",
                       Names(*origin) + " and " + Names(*known) + " both signed as origin");
    } else {
      origin = known;
    }
  }
  if (!origin && ended_origin) {
    return Untrusted("signature-revoked-key", "signed by key " + ended_origin->id.ToHex() +
                                                  " of '" +
                                                  EscapeForDisplay(ended_origin->name, 64) +
                                                  "', which does not count any more (" +
                                                  EscapeForDisplay(ended_origin->why, 160) + ")");
  }
  if (!origin) {
    const std::string who =
        report.unknown.empty() ? "nobody" : "key " + report.unknown.front().key_id.ToHex();
    return Untrusted("signature-unknown-key",
                     "signed by " + who + ", which is not trusted here as origin");
  }
  report.origin = *origin;
  return report;
}

Result<void> CheckRelease(const SignatureReport& report, const TrustPolicy& policy,
                          std::string_view stream) {
  const StreamRule rule = policy.RuleFor(report.origin.holder, stream);
  std::set<Guid> persons;
  for (const TrustedKey& key : report.released) {
    const bool counts = rule.reviewers.empty() ||
                        std::ranges::find(rule.reviewers, key.holder) != rule.reviewers.end();
    // A reviewer who is also the origin would be one pair of eyes counted twice.
    if (counts && key.holder != report.origin.holder) persons.insert(key.holder);
  }
  if (persons.size() >= rule.rule.release_persons) return {};
  return Untrusted("signature-threshold", "released by " + std::to_string(persons.size()) +
                                              ", the policy '" + rule.rule.ToString() +
                                              "' asks for " +
                                              std::to_string(rule.rule.release_persons));
}

Result<SignatureReport> CheckSignatures(ByteView document, DocumentType expected,
                                        std::string_view signature_file,
                                        const TrustPolicy& policy) {
  TRY_ASSIGN(auto report, ReadSignatures(document, expected, signature_file, policy));
  TRY(CheckRelease(report, policy, ""));
  return report;
}

}  // namespace gapferry::manifests
