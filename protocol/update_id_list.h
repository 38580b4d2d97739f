#pragma once

#include <cstddef>
#include <memory>

#include "protocol/answer_body.h"
#include "protocol/update_id.h"

namespace gapferry::protocol {

/// A list of identities that its owner keeps in a shorter form than text: a whole catalogue is
/// 126 MB as text. Immutable; thread-safe.
class UpdateIdList {
 public:
  virtual ~UpdateIdList() = default;
  virtual std::size_t size() const = 0;
  virtual UpdateId At(std::size_t position) const = 0;  ///< position < size()
};

/// The list as UpdateIdentity elements, one after the other, made while they are read.
std::shared_ptr<const StoredBytes> MarkupOf(std::shared_ptr<const UpdateIdList> list);

}  // namespace gapferry::protocol
