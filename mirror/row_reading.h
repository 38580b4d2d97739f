#pragma once

#include <optional>
#include <vector>

#include "base/result.h"
#include "mirror/sqlite.h"

namespace gapferry::mirror {

/// What `read` makes of each row of a bound statement.
template <class Read>
auto ReadAllRows(Statement& rows, Read read) -> Result<std::vector<decltype(read(rows))>> {
  std::vector<decltype(read(rows))> out;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    out.push_back(read(rows));
  }
  TRY(rows.Check());
  return out;
}

/// The same of the first row, when there is one.
template <class Read>
auto ReadFirstRow(Statement& rows, Read read) -> Result<std::optional<decltype(read(rows))>> {
  TRY_ASSIGN(const bool row, rows.Step());
  if (!row) return std::optional<decltype(read(rows))>();
  std::optional<decltype(read(rows))> value(read(rows));
  TRY(rows.Check());
  return value;
}

}  // namespace gapferry::mirror
