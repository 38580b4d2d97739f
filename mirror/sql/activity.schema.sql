-- activity.db, version 1. Times: ticks as in catalog.db. change_seq: one counter over all records.
CREATE TABLE activity_state (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  sequence INTEGER NOT NULL,
  rollup_reset_guid BLOB NOT NULL
) STRICT;

CREATE TABLE computer (
  id INTEGER PRIMARY KEY,
  computer_id TEXT NOT NULL COLLATE NOCASE,
  parent_server BLOB NOT NULL,             -- zero: talks to this mirror itself
  name TEXT NOT NULL COLLATE NOCASE,       -- full domain name
  details TEXT NOT NULL,                   -- JSON of ComputerRollupDetails
  os_key TEXT NOT NULL,                    -- JSON of what names its kind in client summaries
  registered_at INTEGER NOT NULL,
  last_contact INTEGER NOT NULL,
  last_sync_time INTEGER NOT NULL,
  last_sync_result INTEGER NOT NULL,       -- 0 unknown, 1 succeeded, 2 failed
  last_reported_status INTEGER NOT NULL,
  last_reported_reboot INTEGER NOT NULL,
  last_inventory INTEGER NOT NULL,
  effective_last_detection INTEGER NOT NULL,
  scanned_generation INTEGER NOT NULL,     -- 0: none
  rollup_number INTEGER NOT NULL,
  has_status INTEGER NOT NULL,
  change_seq INTEGER NOT NULL,
  status_seq INTEGER NOT NULL,
  full_seq INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX computer_by_computer_id ON computer (computer_id);
CREATE INDEX computer_by_name ON computer (name);
CREATE INDEX computer_by_change ON computer (change_seq);
CREATE INDEX computer_by_parent ON computer (parent_server);

CREATE TABLE update_status (
  computer INTEGER NOT NULL REFERENCES computer (id) ON DELETE CASCADE,
  update_guid BLOB NOT NULL,
  state INTEGER NOT NULL,                  -- 0 to 6, MS-WSUSSS 3.1.1; 1 is not stored
  last_change INTEGER NOT NULL,
  change_seq INTEGER NOT NULL,
  PRIMARY KEY (computer, update_guid)
) STRICT, WITHOUT ROWID;
CREATE INDEX update_status_by_update ON update_status (update_guid, state);

CREATE TABLE event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  instance_id BLOB NOT NULL,               -- deduplicates
  computer_id TEXT NOT NULL COLLATE NOCASE,
  received_at INTEGER NOT NULL,
  event_id INTEGER NOT NULL,
  body TEXT NOT NULL                       -- JSON of the whole event
) STRICT;
CREATE UNIQUE INDEX event_by_instance ON event (instance_id);
CREATE INDEX event_by_computer ON event (computer_id, id);
CREATE INDEX event_by_age ON event (received_at);

CREATE TABLE deleted_computer (
  computer_id TEXT PRIMARY KEY COLLATE NOCASE,
  deleted_at INTEGER NOT NULL,
  change_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Cumulative for ever; server zero: computers of this mirror itself.
CREATE TABLE install_activity (
  server BLOB NOT NULL,
  os_key TEXT NOT NULL,
  update_guid BLOB NOT NULL,
  update_revision INTEGER NOT NULL,
  success_total INTEGER NOT NULL,
  failure_total INTEGER NOT NULL,
  change_seq INTEGER NOT NULL,
  PRIMARY KEY (server, os_key, update_guid, update_revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE downstream_server (
  server BLOB PRIMARY KEY,
  name TEXT NOT NULL,
  parent BLOB NOT NULL,                    -- zero: talks to this mirror itself
  version TEXT NOT NULL,
  is_replica INTEGER NOT NULL,
  first_seen INTEGER NOT NULL,
  last_contact INTEGER NOT NULL,
  last_sync_time INTEGER NOT NULL,
  last_rollup_time INTEGER NOT NULL,
  summary TEXT,                            -- JSON of ServerSummary; null: none came
  clients TEXT NOT NULL,                   -- JSON of ClientSummaries, without activity
  site BLOB NOT NULL,                      -- whose returns tell of it; zero: it reports over the network
  change_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Install activity of a large rollup on its way into install_activity: written in short transactions
-- and counted only once its batch is accepted, all or nothing.
CREATE TABLE incoming_batch (
  batch INTEGER PRIMARY KEY AUTOINCREMENT,
  accepted INTEGER NOT NULL
) STRICT;
CREATE TABLE incoming_activity (
  batch INTEGER NOT NULL,
  row INTEGER NOT NULL,
  server BLOB NOT NULL,
  os_key TEXT NOT NULL,
  update_guid BLOB NOT NULL,
  update_revision INTEGER NOT NULL,
  success INTEGER NOT NULL,
  failure INTEGER NOT NULL,
  PRIMARY KEY (batch, row)
) STRICT, WITHOUT ROWID;

-- ===== rollup state (mirror/rollup_state.*): begin =====
-- What the upstream has been told (MS-WSUSSS 3.2.4.5).
CREATE TABLE rollup_upstream (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  server_id BLOB NOT NULL,
  reset_guid BLOB NOT NULL,
  detailed INTEGER NOT NULL,
  last_rollup INTEGER NOT NULL             -- end of the last one that ended well; 1753: none
) STRICT;

CREATE TABLE rollup_computer (
  computer_id TEXT PRIMARY KEY COLLATE NOCASE,
  last_sent INTEGER NOT NULL,              -- rollup number; 0: never
  status_seq INTEGER,                      -- states told up to this change_seq; null: full one due
  full_seq INTEGER NOT NULL,               -- computer.full_seq when status was told
  details BLOB,                            -- SHA-256 of the details it was told; null: to be told
  deleted_at INTEGER                       -- when the upstream said Deleted; null: it did not
) STRICT, WITHOUT ROWID;

-- Servers as the upstream was told of them.
CREATE TABLE rollup_server (
  server BLOB PRIMARY KEY,                 -- zero: this mirror itself
  told_at INTEGER NOT NULL,                -- LastRollupTime it has for certain; 1753: none
  tried_at INTEGER                         -- LastRollupTime of a try without an answer; null: none
) STRICT, WITHOUT ROWID;

-- Totals of install_activity that the upstream has counted, and those of a try without an answer.
CREATE TABLE rollup_activity (
  server BLOB NOT NULL,
  os BLOB NOT NULL,                        -- SHA-256 of what names the kind of computer
  update_guid BLOB NOT NULL,
  update_revision INTEGER NOT NULL,
  success INTEGER NOT NULL,
  failure INTEGER NOT NULL,
  tried_success INTEGER,                   -- null: nothing is open
  tried_failure INTEGER,
  PRIMARY KEY (server, os, update_guid, update_revision)
) STRICT, WITHOUT ROWID;
CREATE INDEX rollup_activity_open ON rollup_activity (server) WHERE tried_success IS NOT NULL;
-- ===== rollup state: end =====
