-- catalog.db, version 1. Times: 100-ns ticks since 1970-01-01 UTC. GUIDs: 16 bytes in text order.
-- A row of a job is visible when its change has a generation (change.generation IS NOT NULL).

CREATE TABLE mirror (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  guid BLOB NOT NULL CHECK (length(guid) = 16),
  epoch BLOB NOT NULL CHECK (length(epoch) = 16),
  created_at INTEGER NOT NULL,
  published INTEGER NOT NULL,              -- generation readers see
  assignment_sequence INTEGER NOT NULL DEFAULT 0,
  content_sequence INTEGER NOT NULL DEFAULT 0,
  is_held INTEGER NOT NULL DEFAULT 0,      -- 1: a replica follows intent of origin 2
  bundle_created_at INTEGER                -- what the last imported bundle says; null: none yet
) STRICT;

-- What Catalog::Counts gives, moved by each commit: counting 400,000 revisions takes seconds.
CREATE TABLE catalog_count (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  revisions INTEGER NOT NULL,
  updates INTEGER NOT NULL,
  deployable_updates INTEGER NOT NULL,
  expired_updates INTEGER NOT NULL,
  live_updates INTEGER NOT NULL,
  categories INTEGER NOT NULL,
  detectoids INTEGER NOT NULL,
  withdrawn INTEGER NOT NULL
) STRICT;

CREATE TABLE generation_log (
  generation INTEGER PRIMARY KEY,
  epoch BLOB NOT NULL,
  chain BLOB NOT NULL,                     -- SHA-256(previous chain || change_digest)
  change_digest BLOB NOT NULL,
  documents_digest BLOB NOT NULL,
  intent_digest BLOB NOT NULL,             -- root of what state_digest covers
  state_digest BLOB NOT NULL,
  passed_on_digest BLOB NOT NULL,          -- over the intent passed on; nearly always state_digest
  followed INTEGER NOT NULL DEFAULT 0,     -- whose intent that was: 0 local, 1 the upstream's
  committed_at INTEGER NOT NULL UNIQUE,    -- whole milliseconds, strictly rising
  kind TEXT NOT NULL
) STRICT;

CREATE TABLE change (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  key TEXT NOT NULL,                       -- what makes a restart the same job
  opened_at INTEGER NOT NULL,
  generation INTEGER REFERENCES generation_log (generation)  -- null: open, its rows invisible
) STRICT;
CREATE UNIQUE INDEX change_by_generation ON change (generation) WHERE generation IS NOT NULL;
CREATE UNIQUE INDEX change_open ON change ((generation IS NULL)) WHERE generation IS NULL;  -- one open change

-- Ids told to clients: kept for ever, also of removed revisions.
CREATE TABLE revision_identity (
  id INTEGER PRIMARY KEY AUTOINCREMENT CHECK (id BETWEEN 1 AND 2147483647),
  guid BLOB NOT NULL CHECK (length(guid) = 16),
  revision INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX revision_identity_by_update ON revision_identity (guid, revision);

CREATE TABLE revision (
  id INTEGER PRIMARY KEY REFERENCES revision_identity (id),
  change_id INTEGER NOT NULL REFERENCES change (id),
  type INTEGER NOT NULL,                   -- 0 category, 1 detectoid, 2 software, 3 driver
  category_type INTEGER NOT NULL,          -- 0 none, 1 classification, 2 company, 3 family, 4 product
  is_expired INTEGER NOT NULL,
  is_explicitly_deployable INTEGER NOT NULL,
  is_locally_published INTEGER NOT NULL,
  can_uninstall INTEGER NOT NULL,
  is_withdrawn INTEGER NOT NULL DEFAULT 0,
  withdrawn_generation INTEGER,            -- last time is_withdrawn changed; null: never
  is_unlisted INTEGER NOT NULL DEFAULT 0,  -- 1: a full bundle did not list it; not in the documents tree
  unlisted_generation INTEGER,             -- last time is_unlisted changed; null: never
  has_digest_conflict INTEGER NOT NULL DEFAULT 0,
  needs_file_keys INTEGER NOT NULL DEFAULT 0,  -- its files are encrypted: keys come apart from it
  eula_id BLOB,                            -- null: no licence to accept
  protocol_version TEXT NOT NULL,          -- CompatibleProtocolVersion, '' when not given
  handler TEXT NOT NULL,
  severity TEXT NOT NULL,
  kb_articles TEXT NOT NULL,               -- numbers separated by blanks
  created_at INTEGER,                      -- CreationDate; null: not given
  default_language TEXT NOT NULL,
  document_form INTEGER NOT NULL,          -- 0 plain, 1 cabinet
  document_sha256 BLOB NOT NULL,           -- of the decoded UTF-8 text
  document_bytes INTEGER NOT NULL,         -- decoded
  stored_bytes INTEGER NOT NULL,           -- as kept in document_part
  detail TEXT NOT NULL DEFAULT '{}'        -- JSON: bulletins, CVEs, languages, reboot, commands
) STRICT;
CREATE INDEX revision_by_change ON revision (change_id);
CREATE INDEX revision_conflict ON revision (id) WHERE has_digest_conflict = 1;
CREATE INDEX revision_withdrawn ON revision (withdrawn_generation) WHERE withdrawn_generation IS NOT NULL;
CREATE INDEX revision_unlisted ON revision (unlisted_generation) WHERE unlisted_generation IS NOT NULL;
CREATE INDEX revision_needs_keys ON revision (id) WHERE needs_file_keys = 1;
CREATE INDEX revision_categories ON revision (category_type) WHERE category_type <> 0;

-- id = revision id << 12 | part; parts of at most 256 KiB.
CREATE TABLE document_part (
  id INTEGER PRIMARY KEY,
  bytes BLOB NOT NULL
) STRICT;

CREATE TABLE revision_text (
  revision_id INTEGER PRIMARY KEY REFERENCES revision (id) ON DELETE CASCADE,
  language TEXT NOT NULL,                  -- English when there is one, else the default
  title TEXT NOT NULL,
  description TEXT NOT NULL
) STRICT;

CREATE TABLE prerequisite (
  revision_id INTEGER NOT NULL REFERENCES revision (id) ON DELETE CASCADE,
  clause INTEGER NOT NULL,
  ordinal INTEGER NOT NULL,
  is_category INTEGER NOT NULL,
  guid BLOB NOT NULL,
  PRIMARY KEY (revision_id, clause, ordinal)
) STRICT, WITHOUT ROWID;
-- Category counts and "who needs this".
CREATE INDEX prerequisite_by_guid ON prerequisite (guid, revision_id);

CREATE TABLE bundle_member (
  revision_id INTEGER NOT NULL REFERENCES revision (id) ON DELETE CASCADE,
  clause INTEGER NOT NULL,
  ordinal INTEGER NOT NULL,
  guid BLOB NOT NULL,
  revision INTEGER NOT NULL,
  PRIMARY KEY (revision_id, clause, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX bundle_member_by_update ON bundle_member (guid, revision);

CREATE TABLE superseded (
  revision_id INTEGER NOT NULL REFERENCES revision (id) ON DELETE CASCADE,
  guid BLOB NOT NULL,                      -- all revisions of it are superseded
  PRIMARY KEY (revision_id, guid)
) STRICT, WITHOUT ROWID;
CREATE INDEX superseded_by_guid ON superseded (guid);

CREATE TABLE revision_file (
  revision_id INTEGER NOT NULL REFERENCES revision (id) ON DELETE CASCADE,
  ordinal INTEGER NOT NULL,
  kind INTEGER NOT NULL,                   -- 0 payload, 1 EULA
  sha1 BLOB NOT NULL,
  sha256 BLOB,                             -- null: not declared
  size_bytes INTEGER NOT NULL,
  name TEXT NOT NULL,
  extension TEXT NOT NULL,
  patching_type TEXT NOT NULL,
  language TEXT NOT NULL,
  geo_id TEXT NOT NULL,
  is_encrypted INTEGER NOT NULL,
  PRIMARY KEY (revision_id, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX revision_file_by_sha1 ON revision_file (sha1);
-- Licence texts: few files, needed by every plan.
CREATE INDEX revision_file_licence ON revision_file (revision_id) WHERE kind = 1;

CREATE TABLE driver (
  revision_id INTEGER NOT NULL REFERENCES revision (id) ON DELETE CASCADE,
  ordinal INTEGER NOT NULL,
  hardware_id TEXT NOT NULL,               -- lower case
  version_date TEXT NOT NULL,
  version TEXT NOT NULL,
  whql_id TEXT NOT NULL,
  class TEXT NOT NULL,
  company TEXT NOT NULL,
  provider TEXT NOT NULL,
  manufacturer TEXT NOT NULL,
  model TEXT NOT NULL,
  detail TEXT NOT NULL,                    -- JSON: providers, feature scores, computer ids
  PRIMARY KEY (revision_id, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX driver_by_hardware ON driver (hardware_id);

-- At the vendor's content network. Of several the one of the newest visible change counts.
CREATE TABLE file_url (
  sha1 BLOB NOT NULL,
  change_id INTEGER NOT NULL REFERENCES change (id),
  url TEXT NOT NULL,
  PRIMARY KEY (sha1, change_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX file_url_by_change ON file_url (change_id);

-- Keys of files that the vendor encrypts: secrets, never shown. Of several the one of the newest
-- visible change counts.
CREATE TABLE file_key (
  sha1 BLOB NOT NULL,
  change_id INTEGER NOT NULL REFERENCES change (id),
  key BLOB NOT NULL,
  PRIMARY KEY (sha1, change_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX file_key_by_change ON file_key (change_id);

-- Held files: verified and under content/.
CREATE TABLE content (
  sha1 BLOB PRIMARY KEY,
  sha256 BLOB NOT NULL,
  size_bytes INTEGER NOT NULL,
  extension TEXT NOT NULL,
  sequence INTEGER NOT NULL                -- mirror.content_sequence when it came
) STRICT, WITHOUT ROWID;

-- Files that a downstream server asked for or that were found damaged.
CREATE TABLE content_wanted (
  sha1 BLOB PRIMARY KEY,
  asked_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Files that were held, vanished or were found damaged, and did not come again: for the next return.
CREATE TABLE content_lost (
  sha1 BLOB PRIMARY KEY,
  lost_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Trees of 4,096 buckets by the first 12 bits of the GUID (of the SHA-1 for content).
CREATE TABLE digest_bucket (
  tree INTEGER NOT NULL,                   -- 1 documents, 2 local intent, 3 upstream intent, 4 content, 5 followed
  bucket INTEGER NOT NULL,
  digest BLOB NOT NULL,                    -- absent: the digest of an empty bucket
  PRIMARY KEY (tree, bucket)
) STRICT, WITHOUT ROWID;

-- Intent. origin: 0 local, 1 upstream, 2 what a replica follows while decisions from above wait for
-- somebody's word (mirror.is_held). generation: of the last change. is_dead: a tombstone.
CREATE TABLE target_group (
  origin INTEGER NOT NULL,
  guid BLOB NOT NULL,
  parent BLOB NOT NULL,
  name TEXT NOT NULL,
  generation INTEGER NOT NULL,
  is_dead INTEGER NOT NULL,
  PRIMARY KEY (origin, guid)
) STRICT, WITHOUT ROWID;
CREATE INDEX target_group_by_generation ON target_group (origin, generation);

CREATE TABLE deployment (
  id INTEGER PRIMARY KEY AUTOINCREMENT CHECK (id BETWEEN 1 AND 2147483647),  -- told to clients
  origin INTEGER NOT NULL,
  guid BLOB NOT NULL,
  update_guid BLOB NOT NULL,
  update_revision INTEGER NOT NULL,
  target_group BLOB NOT NULL,
  action INTEGER NOT NULL,                 -- 0 install, 1 uninstall, 2 scan, 3 block, 6 optional
  deadline INTEGER,                        -- as given or received; null: none
  effective_deadline INTEGER,              -- what clients are told; null: none, or none yet
  floored_at INTEGER,                      -- the clock when that was settled; null: as it was given
  is_assigned INTEGER NOT NULL,
  download_priority INTEGER NOT NULL,
  go_live INTEGER NOT NULL,
  last_change INTEGER NOT NULL,
  admin_name TEXT NOT NULL,
  created_generation INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  is_dead INTEGER NOT NULL                 -- 2: written by an import that has not committed yet
) STRICT;
CREATE UNIQUE INDEX deployment_by_guid ON deployment (origin, guid);
CREATE INDEX deployment_by_update ON deployment (update_guid, origin);
CREATE INDEX deployment_by_generation ON deployment (origin, generation);
CREATE INDEX deployment_by_group ON deployment (target_group, origin);
CREATE INDEX deployment_floored ON deployment (floored_at) WHERE floored_at IS NOT NULL;
CREATE INDEX deployment_go_live ON deployment (origin, go_live);

CREATE TABLE decline (
  origin INTEGER NOT NULL,
  guid BLOB NOT NULL,                      -- of the update
  generation INTEGER NOT NULL,
  is_dead INTEGER NOT NULL,
  PRIMARY KEY (origin, guid)
) STRICT, WITHOUT ROWID;
CREATE INDEX decline_by_generation ON decline (origin, generation);

CREATE TABLE eula_acceptance (
  origin INTEGER NOT NULL,
  guid BLOB NOT NULL,                      -- EulaID
  generation INTEGER NOT NULL,
  is_dead INTEGER NOT NULL,                -- withdrawn: undone, or not in a full bundle
  PRIMARY KEY (origin, guid)
) STRICT, WITHOUT ROWID;
CREATE INDEX eula_acceptance_by_generation ON eula_acceptance (origin, generation);

-- Updates that are not offered here whoever approves them.
CREATE TABLE update_block (
  guid BLOB PRIMARY KEY,                   -- of the update
  reason TEXT NOT NULL,
  actor TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What an element of local intent was before a generation changed it, for 'intent undo'. Kept for
-- the last 5,000 generations.
CREATE TABLE intent_history (
  generation INTEGER NOT NULL,
  kind INTEGER NOT NULL,                   -- 1 group, 2 approval, 3 decline, 4 licence
  guid BLOB NOT NULL,
  update_guid BLOB,                        -- of approvals and declines
  target_group BLOB,                       -- of approvals
  before TEXT,                             -- JSON; null: it was not there
  PRIMARY KEY (generation, kind, guid)
) STRICT, WITHOUT ROWID;
CREATE INDEX intent_history_by_element ON intent_history (kind, guid, generation);
CREATE INDEX intent_history_by_update ON intent_history (update_guid, generation);

-- Decisions from above that somebody here has applied or rejected, as they were then.
CREATE TABLE proposal_decision (
  kind INTEGER NOT NULL,                   -- as in intent_history
  guid BLOB NOT NULL,                      -- of the upstream's element
  value BLOB NOT NULL,                     -- SHA-256 of what the upstream said; another: it waits again
  is_applied INTEGER NOT NULL,             -- 0: rejected
  local_guid BLOB,                         -- the approval that was made of it here
  actor TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (kind, guid)
) STRICT, WITHOUT ROWID;

CREATE TABLE computer_group (
  computer_id TEXT NOT NULL COLLATE NOCASE,
  guid BLOB NOT NULL,
  PRIMARY KEY (computer_id, guid)
) STRICT, WITHOUT ROWID;
CREATE INDEX computer_group_by_group ON computer_group (guid);

CREATE TABLE anchor (
  kind TEXT NOT NULL,
  filter TEXT NOT NULL,                    -- digest of the filter; '' for none
  value TEXT NOT NULL,                     -- opaque
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (kind, filter)
) STRICT, WITHOUT ROWID;

-- What the upstream said of itself in GetConfigData, as of the anchor "config".
CREATE TABLE upstream (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  url TEXT NOT NULL,                       -- without credentials
  announced_version TEXT NOT NULL,         -- by us, in GetCookie
  protocol_version TEXT NOT NULL,          -- by the upstream
  catalog_only INTEGER NOT NULL,
  lazy_sync INTEGER NOT NULL,
  hosts_psf INTEGER NOT NULL,
  max_updates INTEGER NOT NULL,            -- per request, as are the following
  max_decryption INTEGER NOT NULL,
  max_computer_ids INTEGER NOT NULL,
  max_driver_sets INTEGER NOT NULL,
  max_hardware_ids INTEGER NOT NULL,
  read_at INTEGER NOT NULL
) STRICT;
CREATE TABLE upstream_language (
  id INTEGER PRIMARY KEY,                  -- LCID; 0: all
  short_name TEXT NOT NULL,
  long_name TEXT NOT NULL,
  is_enabled INTEGER NOT NULL
) STRICT;

CREATE TABLE subscription (
  kind INTEGER NOT NULL,                   -- 1 product, 2 classification, 3 language, 4 drivers too
  value TEXT NOT NULL,                     -- GUID as text, language, or 'yes'
  PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;

CREATE TABLE job (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  actor TEXT NOT NULL,                     -- user:NAME, schedule
  process TEXT NOT NULL,                   -- pid/start/boot, so that a killed one is known; '' none
  started_at INTEGER NOT NULL,
  ended_at INTEGER,                        -- null: running, or ended without a word
  result INTEGER NOT NULL,                 -- 0 running, 1 done, 2 partly, 3 failed, 4 cancelled, 5 interrupted, 6 postponed
  generation INTEGER,                      -- null: committed none
  detail TEXT NOT NULL
) STRICT;
CREATE INDEX job_by_kind ON job (kind, id);

-- Schedules as they were last seen: what was missed before one was made is not made up for.
CREATE TABLE schedule_seen (
  kind TEXT PRIMARY KEY,                   -- of the job
  text TEXT NOT NULL,                      -- its times, days and spread
  since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  object TEXT NOT NULL,
  detail TEXT NOT NULL,                    -- JSON
  hash BLOB NOT NULL                       -- SHA-256(previous hash || canonical line)
) STRICT;

-- ===== ledger (mirror/ledger.*): begin =====
-- Connected side: destinations of bundles, and what each is known to have.
CREATE TABLE site (
  guid BLOB PRIMARY KEY CHECK (length(guid) = 16),
  stream TEXT NOT NULL UNIQUE,             -- of our bundles for it
  name TEXT NOT NULL,
  card BLOB NOT NULL,                      -- the card as it was added
  added_at INTEGER NOT NULL,
  last_sequence INTEGER NOT NULL DEFAULT 0,   -- highest reserved
  last_manifest BLOB,                      -- digest of the last one signed; null: none yet
  acked_epoch BLOB,                        -- state the site has reached; null: no receipt yet
  acked_generation INTEGER,
  acked_chain BLOB,
  acked_state_digest BLOB,
  acked_sequence INTEGER NOT NULL DEFAULT 0,
  acked_at INTEGER,                        -- when the receipt was applied
  site_epoch BLOB,                         -- the site's own epoch, from its last return; null: none
  applied_return INTEGER NOT NULL DEFAULT 0,
  last_return_at INTEGER,
  diverged TEXT NOT NULL DEFAULT '',       -- why deltas stopped; '' while all is well
  settings TEXT NOT NULL DEFAULT '',       -- JSON of what it is sent (mirror/site_settings.*); '' defaults
  forgotten_at INTEGER,                    -- bundles of before do not count as received; null: never
  removed_at INTEGER                       -- null: it is sent to; its numbers are kept for ever
) STRICT, WITHOUT ROWID;

-- Several sites with a stream of their own beside those of each.
CREATE TABLE site_group (
  guid BLOB PRIMARY KEY CHECK (length(guid) = 16),
  stream TEXT NOT NULL UNIQUE,             -- unique among streams of sites, too
  name TEXT NOT NULL,
  last_sequence INTEGER NOT NULL DEFAULT 0,
  last_manifest BLOB,                      -- as of sites
  removed_at INTEGER                       -- as of sites
) STRICT, WITHOUT ROWID;
CREATE TABLE site_group_member (
  site_group BLOB NOT NULL REFERENCES site_group (guid),
  site BLOB NOT NULL REFERENCES site (guid),
  PRIMARY KEY (site_group, site)
) STRICT, WITHOUT ROWID;

-- site, here and in the tables that hang on it: whose stream it is, a site or a group of sites.
CREATE TABLE bundle_out (
  site BLOB NOT NULL,
  sequence INTEGER NOT NULL,
  state INTEGER NOT NULL,                  -- 0 being reserved 1 reserved 2 written 3 signed 4 handed over 5 acknowledged by all 6 void
  scope INTEGER NOT NULL,                  -- 0 delta 1 full
  base_epoch BLOB NOT NULL,
  base_generation INTEGER NOT NULL,        -- 0: nothing
  base_chain BLOB NOT NULL,
  base_state_digest BLOB NOT NULL,
  target_epoch BLOB NOT NULL,
  target_generation INTEGER NOT NULL,
  target_chain BLOB NOT NULL,
  target_state_digest BLOB NOT NULL,
  plan_digest BLOB NOT NULL,
  plan TEXT NOT NULL,                      -- JSON: everything else the manifest will say
  manifest BLOB,                           -- digest; null until signed
  path TEXT NOT NULL,                      -- where it was written; '' before
  bytes INTEGER NOT NULL,                  -- of all its files; 0 before
  reserved_at INTEGER NOT NULL,
  finished_at INTEGER,                     -- null until signed or void
  PRIMARY KEY (site, sequence)
) STRICT, WITHOUT ROWID;

-- Content files of a bundle, so that nothing deletes them while it is unfinished.
CREATE TABLE bundle_pin (
  site BLOB NOT NULL,
  sequence INTEGER NOT NULL,
  sha1 BLOB NOT NULL,
  sha256 BLOB NOT NULL,
  size_bytes INTEGER NOT NULL,
  extension TEXT NOT NULL,
  PRIMARY KEY (site, sequence, sha1),
  FOREIGN KEY (site, sequence) REFERENCES bundle_out (site, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX bundle_pin_by_file ON bundle_pin (sha1);

CREATE TABLE bundle_recipient (
  site BLOB NOT NULL,
  sequence INTEGER NOT NULL,
  recipient BLOB NOT NULL REFERENCES site (guid),
  acknowledged INTEGER NOT NULL DEFAULT 0, -- it told that it has imported the bundle
  PRIMARY KEY (site, sequence, recipient),
  FOREIGN KEY (site, sequence) REFERENCES bundle_out (site, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX bundle_recipient_by_site ON bundle_recipient (recipient);

-- The intent object of a stream's last bundle, in parts of at most 256 KiB: of an unfinished one,
-- and of one of which a medium may have to be written again. Gone once void or followed by another.
CREATE TABLE bundle_plan_part (
  id INTEGER PRIMARY KEY,
  site BLOB NOT NULL,
  sequence INTEGER NOT NULL,
  part INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  UNIQUE (site, sequence, part)
) STRICT;

-- The media that a bundle was written to; numbers from 1 and used once.
CREATE TABLE bundle_medium (
  site BLOB NOT NULL,
  sequence INTEGER NOT NULL,
  medium INTEGER NOT NULL,
  path TEXT NOT NULL,                      -- as --to named it; another medium may be there later
  lost INTEGER NOT NULL DEFAULT 0,         -- 1: given up, its volumes have no place or another one
  has_manifest INTEGER NOT NULL DEFAULT 0,
  read_back TEXT NOT NULL DEFAULT '',      -- how its volumes were read again; '' before the first
  begun_at INTEGER NOT NULL,
  PRIMARY KEY (site, sequence, medium),
  FOREIGN KEY (site, sequence) REFERENCES bundle_out (site, sequence)
) STRICT, WITHOUT ROWID;

-- Volumes that were written and read back, and where they lie.
CREATE TABLE bundle_volume (
  site BLOB NOT NULL,
  sequence INTEGER NOT NULL,
  volume INTEGER NOT NULL,                 -- from 1
  medium INTEGER NOT NULL,
  bytes INTEGER NOT NULL,                  -- with the files beside it
  sha256 BLOB NOT NULL,
  PRIMARY KEY (site, sequence, volume),
  FOREIGN KEY (site, sequence, medium) REFERENCES bundle_medium (site, sequence, medium)
) STRICT, WITHOUT ROWID;

-- Content a site is believed to hold: acknowledged bundles brought it and no return denied it since.
CREATE TABLE site_content (
  site BLOB NOT NULL REFERENCES site (guid),
  sha1 BLOB NOT NULL,
  PRIMARY KEY (site, sha1)
) STRICT, WITHOUT ROWID;

-- What the last return of a site asked for.
CREATE TABLE site_request (
  site BLOB NOT NULL REFERENCES site (guid),
  sha1 BLOB NOT NULL,
  asked INTEGER NOT NULL,                  -- by a person or a server below, not by approvals there
  PRIMARY KEY (site, sha1)
) STRICT, WITHOUT ROWID;

-- Damaged blocks that the last return of a site named.
CREATE TABLE site_damage (
  site BLOB NOT NULL REFERENCES site (guid),
  stream TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  volume INTEGER NOT NULL,
  block INTEGER NOT NULL,                  -- the first of the run, from 0
  count INTEGER NOT NULL,
  PRIMARY KEY (site, stream, sequence, volume, block)
) STRICT, WITHOUT ROWID;

-- Disconnected side: blocks of bundles that could not be read when their import was refused. The
-- next return asks for them; gone once this bundle or a later one of its stream was imported.
CREATE TABLE bundle_damage (
  sender BLOB NOT NULL,
  stream TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  volume INTEGER NOT NULL,
  block INTEGER NOT NULL,                  -- the first of the run, from 0
  count INTEGER NOT NULL,
  PRIMARY KEY (sender, stream, sequence, volume, block)
) STRICT, WITHOUT ROWID;

-- Updates that the site does not offer, as its last return said.
CREATE TABLE site_blocked (
  site BLOB NOT NULL REFERENCES site (guid),
  update_guid BLOB NOT NULL,
  since INTEGER NOT NULL,
  reason TEXT NOT NULL,                    -- '' where the level leaves it out
  PRIMARY KEY (site, update_guid)
) STRICT, WITHOUT ROWID;

-- Files that reached the site and were not let in, as its last return said.
CREATE TABLE site_withheld (
  site BLOB NOT NULL REFERENCES site (guid),
  sha1 BLOB NOT NULL,
  size_bytes INTEGER NOT NULL,
  why TEXT NOT NULL,                       -- rejected, crashed, timed-out
  PRIMARY KEY (site, sha1)
) STRICT, WITHOUT ROWID;

-- Disconnected side: bundles that were imported.
CREATE TABLE bundle_in (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  sender BLOB NOT NULL,
  stream TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  manifest BLOB NOT NULL UNIQUE,           -- digest
  scope INTEGER NOT NULL,
  target_epoch BLOB NOT NULL,              -- of the sender
  target_generation INTEGER NOT NULL,
  target_chain BLOB NOT NULL,
  state_digest BLOB NOT NULL,
  local_generation INTEGER NOT NULL,       -- ours after the import
  upstream_sync_at INTEGER,                -- the sender's last sync at the target; null: never
  applied_return INTEGER NOT NULL,         -- our highest return that the sender had applied
  detailed INTEGER NOT NULL,               -- the upstream wants computers and their status
  imported_at INTEGER NOT NULL
) STRICT;
CREATE INDEX bundle_in_by_stream ON bundle_in (sender, stream, sequence);

-- Disconnected side: bundles whose files are asked for once more. sequence 0: everything.
CREATE TABLE request_out (
  stream TEXT NOT NULL,                    -- '' for everything
  sequence INTEGER NOT NULL,
  asked_at INTEGER NOT NULL,
  PRIMARY KEY (stream, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE return_out (
  recipient BLOB NOT NULL,
  number INTEGER NOT NULL,
  state INTEGER NOT NULL,                  -- 1 reserved 2 written 6 void
  level TEXT NOT NULL,
  sha256 BLOB NOT NULL,                    -- of the file
  path TEXT NOT NULL,                      -- '' while reserved
  created_at INTEGER NOT NULL,
  PRIMARY KEY (recipient, number)
) STRICT, WITHOUT ROWID;

-- Connected side: returns that were applied.
CREATE TABLE return_in (
  site BLOB NOT NULL REFERENCES site (guid),
  epoch BLOB NOT NULL,                     -- of the site then: one that was left does not come back
  number INTEGER NOT NULL,
  sha256 BLOB NOT NULL,
  applied_at INTEGER NOT NULL,
  PRIMARY KEY (site, sha256)               -- numbers begin again when a site is made anew
) STRICT, WITHOUT ROWID;
-- Connected side: whose signatures the returns of a site need beside its own.
CREATE TABLE site_review (
  site BLOB PRIMARY KEY REFERENCES site (guid),
  required INTEGER NOT NULL                -- so many reviewers; 0: none
) STRICT, WITHOUT ROWID;
CREATE TABLE site_reviewer (
  site BLOB NOT NULL REFERENCES site (guid),
  reviewer BLOB NOT NULL,
  card BLOB NOT NULL,
  PRIMARY KEY (site, reviewer)
) STRICT, WITHOUT ROWID;

-- Connected side: receipt codes that were applied. epoch, state: the bits of the code.
CREATE TABLE receipt_code_in (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  site BLOB NOT NULL REFERENCES site (guid),
  epoch INTEGER NOT NULL,
  stream TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  state INTEGER NOT NULL,
  files_are_missing INTEGER NOT NULL,
  applied_at INTEGER NOT NULL,
  UNIQUE (site, epoch, stream, sequence, state, files_are_missing)
) STRICT;
-- ===== ledger: end =====

-- ===== evidence (mirror/witness.*, evidence.*, quarantine.*): begin =====
-- Heads of audit chains as signed documents told them: of partners as we saw them, and of our own as
-- partners say they saw it.
CREATE TABLE audit_witness (
  log BLOB NOT NULL CHECK (length(log) = 16),         -- the mirror whose chain it is
  witness BLOB NOT NULL CHECK (length(witness) = 16), -- the mirror that saw it
  document BLOB NOT NULL,                  -- SHA-256 of the manifest or return that says so
  kind TEXT NOT NULL,                      -- manifest, return
  stream TEXT NOT NULL,                    -- '' for returns
  number INTEGER NOT NULL,                 -- of the bundle or return
  records INTEGER NOT NULL,                -- of the chain then
  head BLOB NOT NULL,                      -- hash of the last of them
  created INTEGER NOT NULL,                -- by the sender's clock
  seen_at INTEGER NOT NULL,                -- by ours
  PRIMARY KEY (log, witness, document)
) STRICT, WITHOUT ROWID;

-- What happened to a bundle here, told when it happened: medium, signatures, scanner, contents.
CREATE TABLE bundle_event (
  id INTEGER PRIMARY KEY,
  manifest BLOB NOT NULL,                  -- SHA-256 of manifest.json
  kind TEXT NOT NULL,                      -- export, import
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  facts TEXT NOT NULL                      -- canonical JSON; its SHA-256 is in the audit record
) STRICT;
CREATE INDEX bundle_event_by_manifest ON bundle_event (manifest);

-- Files that the scanner called clean in an import that has not ended, so that a repetition goes on.
CREATE TABLE scan_verdict (
  manifest BLOB NOT NULL,
  sha256 BLOB NOT NULL,                    -- of the file
  scanner BLOB NOT NULL,                   -- SHA-256 of the command as configured
  at INTEGER NOT NULL,
  PRIMARY KEY (manifest, sha256, scanner)
) STRICT, WITHOUT ROWID;

-- Files of bundles that the scanner rejected.
CREATE TABLE quarantine (
  sha1 BLOB PRIMARY KEY,
  sha256 BLOB NOT NULL,
  size_bytes INTEGER NOT NULL,
  extension TEXT NOT NULL,
  state INTEGER NOT NULL,                  -- 1 withheld 2 released 3 discarded
  bundle TEXT NOT NULL,                    -- that brought it
  manifest BLOB NOT NULL,
  reason TEXT NOT NULL,                    -- rejected, crashed, timed-out
  output TEXT NOT NULL,                    -- of the scanner, its beginning
  scanner TEXT NOT NULL,                   -- the program
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- ===== evidence: end =====

-- ===== trust (mirror/trust_log.*): begin =====
-- Rotations and revocations of keys that were accepted, in this order.
CREATE TABLE trust_document (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  holder BLOB NOT NULL,
  number INTEGER NOT NULL,
  text TEXT NOT NULL,                      -- the document as it was signed
  accepted_at INTEGER NOT NULL
) STRICT;

-- By which key each imported bundle was signed as origin: what an ended key signed binds no order.
CREATE TABLE bundle_in_key (
  manifest BLOB PRIMARY KEY,               -- digest
  origin_key TEXT NOT NULL                 -- key id, hex
) STRICT, WITHOUT ROWID;
-- ===== trust: end =====
