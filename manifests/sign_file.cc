#include "manifests/sign_file.h"

#include <algorithm>

#include "base/file.h"

namespace gapferry::manifests {

Result<SignatureLine> AddSignature(ByteView document, const std::filesystem::path& from,
                                   const std::filesystem::path& to, const SigningKey& key,
                                   SignerRole role) {
  TRY_ASSIGN(const std::string text, ReadTextFile(from, kMaxSignatureFileBytes));
  TRY_ASSIGN(auto lines, DecodeSignatures(text), "'" + from.string() + "'");
  TRY_ASSIGN(const SignatureLine line, SignDocument(document, key, role));
  const auto same = std::ranges::find(lines, line.key_id, &SignatureLine::key_id);
  if (same == lines.end()) {
    if (lines.size() == kMaxSignatureLines) {
      return Fail(ErrorCode::kUsage, "signature-too-many",
                  "'" + from.string() + "' has " + std::to_string(lines.size()) +
                      " signatures already, no more fit");
    }
    lines.push_back(line);
  } else if (same->role != role) {
    return Fail(ErrorCode::kUsage, "signature-other-role",
                "key " + line.key_id.ToHex() + " signed this already as " +
                    std::string(SignerRoleName(same->role)));
  } else {
    *same = line;
  }
  TRY(WriteFileAtomically(to, AsBytes(EncodeSignatures(std::move(lines)))));
  return line;
}

}  // namespace gapferry::manifests
