#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "exporter/own_keys.h"
#include "manifests/passphrase.h"
#include "manifests/trust_document.h"
#include "mirror/job_lock.h"
#include "mirror/mirror.h"

namespace gapferry::cli {

class Context;

/// Whose keys a command works on: with `--keys DIR` a person's folder, else the mirror's.
struct KeyOwner {
  exporter::KeyHolder holder;
  std::optional<mirror::Mirror> mirror;  ///< none for a person
  std::optional<mirror::JobLock> lock;   ///< of the mirror: nothing is signed meanwhile
};
/// Takes the mirror's job lock when `exclusive`; then fails with kBusy, or with kUsage (reason
/// "unfinished-export") while a bundle is reserved under the present key.
Result<KeyOwner> OpenKeyOwner(Context& context, bool exclusive);

/// The passphrase for new key files: from `--new-passphrase-file`, asked with `--protect`, else
/// none.
Result<manifests::Secret> NewPassphrase(Context& context, const std::string& object);

/// Writes `document` for people to carry: to `--to FILE`, or to stdout.
Result<void> HandOut(Context& context, const manifests::TrustDocument& document);

/// A file of trust documents. kUsage (reason "document-type") when it is none.
Result<std::vector<manifests::TrustDocument>> ReadTrustFile(const std::string& path);

/// What a document says, in lines for people.
std::string DescribeTrust(const manifests::TrustDocument& document);

}  // namespace gapferry::cli
