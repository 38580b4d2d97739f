-- fragments.db, version 1: derived from the documents, rebuildable.
CREATE TABLE derivation (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  version INTEGER NOT NULL,                -- protocol::kFragmentDerivation that made all rows
  since INTEGER NOT NULL DEFAULT 0         -- clients that scanned before it cache other fragments
) STRICT;

CREATE TABLE fragment (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  revision_id INTEGER NOT NULL,
  kind INTEGER NOT NULL,                   -- 0 core, 1 extended, 2 localized, 3 EULA
  language TEXT NOT NULL,
  geo_id TEXT NOT NULL,
  form INTEGER NOT NULL,                   -- 0 escaped text, 1 xpress blocks of escaped text
  decoded_bytes INTEGER NOT NULL,          -- escaped text
  stored_bytes INTEGER NOT NULL,
  bytes BLOB                               -- null: in fragment_part
) STRICT;
CREATE UNIQUE INDEX fragment_by_revision ON fragment (revision_id, kind, language, geo_id);

-- id = fragment id << 12 | part; parts of 256 KiB, the last one shorter.
CREATE TABLE fragment_part (
  id INTEGER PRIMARY KEY,
  bytes BLOB NOT NULL
) STRICT;
