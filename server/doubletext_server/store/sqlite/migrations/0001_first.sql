CREATE TABLE assistants (
    key           INTEGER PRIMARY KEY,
    assistant_id  TEXT NOT NULL,
    graph         TEXT NOT NULL,
    create_time   INTEGER NOT NULL,
    metadata      TEXT NOT NULL,
    config        TEXT NOT NULL,
    reducers      TEXT NOT NULL,
    max_attempts  INTEGER NOT NULL CHECK (max_attempts > 0),
    stop_grace    INTEGER NOT NULL CHECK (stop_grace >= 0),
    run_timeout   INTEGER CHECK (run_timeout > 0),
    delete_time   INTEGER
) STRICT;
CREATE UNIQUE INDEX assistants_by_id ON assistants (assistant_id) WHERE delete_time IS NULL;

CREATE TABLE threads (
    thread_id         TEXT PRIMARY KEY,
    create_time       INTEGER NOT NULL,
    update_time       INTEGER NOT NULL,
    metadata          TEXT NOT NULL,
    default_strategy  TEXT CHECK (default_strategy IN ('reject', 'interrupt', 'rollback', 'enqueue')),
    max_queued_runs   INTEGER CHECK (max_queued_runs > 0),
    last_sequence     INTEGER NOT NULL,
    last_step         INTEGER NOT NULL,
    last_event        INTEGER NOT NULL,
    drain_run_id      TEXT,
    drain_epoch       INTEGER,
    drain_until       INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX threads_by_age ON threads (create_time, thread_id);
CREATE INDEX threads_draining ON threads (thread_id) WHERE drain_until IS NOT NULL;

CREATE TABLE runs (
    run_id         TEXT PRIMARY KEY,
    thread_id      TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    sequence       INTEGER NOT NULL,
    assistant_key  INTEGER NOT NULL REFERENCES assistants,
    strategy       TEXT NOT NULL CHECK (strategy IN ('reject', 'interrupt', 'rollback', 'enqueue')),
    create_time    INTEGER NOT NULL,
    due_time       INTEGER NOT NULL,
    timeout        INTEGER,
    status         TEXT NOT NULL CHECK (
                       status IN ('pending', 'running', 'interrupted', 'success', 'error', 'timeout')),
    attempt        INTEGER NOT NULL,
    epoch          INTEGER NOT NULL,
    start_time     INTEGER,
    end_time       INTEGER CHECK ((end_time IS NULL) = (status IN ('pending', 'running'))),
    base_step      INTEGER,
    last_step      INTEGER NOT NULL,
    error_type     TEXT,
    error_message  TEXT,
    superseded_by  TEXT,
    reason         TEXT,
    input          TEXT NOT NULL,
    metadata       TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX runs_by_sequence ON runs (thread_id, sequence);
CREATE UNIQUE INDEX runs_one_running ON runs (thread_id) WHERE status = 'running';
CREATE INDEX runs_in_flight ON runs (thread_id, sequence) WHERE end_time IS NULL;
CREATE INDEX runs_finished ON runs (thread_id, end_time, sequence) WHERE end_time IS NOT NULL;
CREATE INDEX runs_superseded ON runs (superseded_by) WHERE superseded_by IS NOT NULL;

-- Steps and events are tables with rowids, which grow at their end only. A page in the middle of a table would be split,
-- and SQLite leaves copies of rows behind when it splits a page, of which secure_delete does not know.
CREATE TABLE steps (
    thread_id    TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    step         INTEGER NOT NULL,
    run_id       TEXT,
    create_time  INTEGER NOT NULL,
    reducers     TEXT,
    body         TEXT NOT NULL,
    PRIMARY KEY (thread_id, step)
) STRICT;

CREATE TABLE snapshots (
    thread_id  TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    step       INTEGER NOT NULL,
    body       TEXT NOT NULL,
    PRIMARY KEY (thread_id, step)
) STRICT;

CREATE TABLE events (
    thread_id  TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    sequence   INTEGER NOT NULL,
    run_id     TEXT,
    time       INTEGER NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('run_changed', 'step_committed', 'output')),
    step       INTEGER,
    body       TEXT,
    PRIMARY KEY (thread_id, sequence)
) STRICT;
CREATE INDEX events_outputs ON events (run_id) WHERE kind = 'output';

CREATE TABLE tombstones (
    run_id         TEXT PRIMARY KEY,
    thread_id      TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    superseded_by  TEXT,
    reason         TEXT NOT NULL,
    create_time    INTEGER NOT NULL,
    delete_time    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstones_by_thread ON tombstones (thread_id);
CREATE INDEX tombstones_superseded ON tombstones (superseded_by) WHERE superseded_by IS NOT NULL;

CREATE TABLE requests (
    thread_id    TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    request_id   TEXT NOT NULL,
    run_id       TEXT NOT NULL,
    digest       TEXT NOT NULL,
    create_time  INTEGER NOT NULL,
    PRIMARY KEY (thread_id, request_id)
) STRICT, WITHOUT ROWID;
