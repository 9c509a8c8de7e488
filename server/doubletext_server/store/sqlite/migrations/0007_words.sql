-- The closed lists of words move from CHECKs to tables. SQLite cannot alter a CHECK: one more word in it means to build
-- its table anew, as this migration does. From now on one more word is one more row here.
CREATE TABLE strategies (strategy TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO strategies VALUES ('reject'), ('interrupt'), ('rollback'), ('enqueue');

-- A run that is rolled back has no row any more, so that 'deleted' is not among these.
CREATE TABLE run_statuses (status TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO run_statuses VALUES ('pending'), ('running'), ('interrupted'), ('success'), ('error'), ('timeout');

CREATE TABLE outcomes (outcome TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO outcomes VALUES ('idle'), ('interrupted'), ('error');

-- threads and runs are built anew by the procedure of https://www.sqlite.org/lang_altertable.html#otheralter. The
-- columns stopping_* were called drain_*.
CREATE TABLE new_threads (
    thread_id             TEXT PRIMARY KEY,
    create_time           INTEGER NOT NULL,
    update_time           INTEGER NOT NULL,
    metadata              TEXT NOT NULL,
    default_strategy      TEXT REFERENCES strategies,
    max_queued_runs       INTEGER CHECK (max_queued_runs > 0),
    last_sequence         INTEGER NOT NULL,
    last_step             INTEGER NOT NULL,
    last_event            INTEGER NOT NULL,
    stopping_run_id       TEXT,
    stopping_epoch        INTEGER,
    stopping_until        INTEGER,
    stopping_grace_until  INTEGER,
    stopping_worker_id    TEXT,
    first_event           INTEGER NOT NULL DEFAULT 1,
    oldest_time           INTEGER NOT NULL DEFAULT 0,
    active_time           INTEGER NOT NULL DEFAULT 0,
    outcome               TEXT NOT NULL DEFAULT 'idle' REFERENCES outcomes
) STRICT, WITHOUT ROWID;
INSERT INTO new_threads
    SELECT thread_id, create_time, update_time, metadata, default_strategy, max_queued_runs, last_sequence, last_step,
        last_event, drain_run_id, drain_epoch, drain_until, drain_grace_until, drain_worker_id, first_event, oldest_time,
        active_time, outcome
    FROM threads;
DROP TABLE threads;
ALTER TABLE new_threads RENAME TO threads;
CREATE INDEX threads_stopping ON threads (thread_id) WHERE stopping_until IS NOT NULL;
CREATE INDEX threads_by_oldest ON threads (oldest_time);
CREATE INDEX threads_by_active ON threads (active_time);
CREATE INDEX threads_by_outcome ON threads (outcome, create_time, thread_id);

CREATE TABLE new_runs (
    run_id          TEXT PRIMARY KEY,
    thread_id       TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    sequence        INTEGER NOT NULL,
    assistant_key   INTEGER NOT NULL REFERENCES assistants,
    strategy        TEXT NOT NULL REFERENCES strategies,
    create_time     INTEGER NOT NULL,
    due_time        INTEGER NOT NULL,
    timeout         INTEGER,
    status          TEXT NOT NULL REFERENCES run_statuses,
    attempt         INTEGER NOT NULL,
    epoch           INTEGER NOT NULL,
    start_time      INTEGER,
    end_time        INTEGER CHECK ((end_time IS NULL) = (status IN ('pending', 'running'))),
    base_step       INTEGER,
    last_step       INTEGER NOT NULL,
    error_type      TEXT,
    error_message   TEXT,
    superseded_by   TEXT,
    reason          TEXT,
    input           TEXT NOT NULL,
    metadata        TEXT NOT NULL,
    worker_id       TEXT,
    lease_expires   INTEGER CHECK (lease_expires IS NULL OR status = 'running'),
    outcome_digest  TEXT,
    first_event     INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO new_runs
    SELECT run_id, thread_id, sequence, assistant_key, strategy, create_time, due_time, timeout, status, attempt, epoch,
        start_time, end_time, base_step, last_step, error_type, error_message, superseded_by, reason, input, metadata,
        worker_id, lease_expires, outcome_digest, first_event
    FROM runs;
DROP TABLE runs;
ALTER TABLE new_runs RENAME TO runs;
CREATE UNIQUE INDEX runs_by_sequence ON runs (thread_id, sequence);
CREATE INDEX runs_in_flight ON runs (thread_id, sequence, due_time) WHERE end_time IS NULL;
CREATE INDEX runs_delayed ON runs (thread_id, due_time, sequence) WHERE end_time IS NULL AND due_time > create_time;
CREATE UNIQUE INDEX runs_one_started ON runs (thread_id)
    WHERE status = 'running' OR status = 'pending' AND base_step IS NOT NULL;
CREATE INDEX runs_finished ON runs (thread_id, end_time, sequence) WHERE end_time IS NOT NULL;
CREATE INDEX runs_by_status ON runs (thread_id, status, sequence) WHERE end_time IS NOT NULL;
CREATE INDEX runs_superseded ON runs (superseded_by) WHERE superseded_by IS NOT NULL;
