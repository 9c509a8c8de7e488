-- A thread can be held, also by a run that fails.
CREATE TABLE on_failures (on_failure TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO on_failures VALUES ('continue'), ('hold');
ALTER TABLE threads ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
ALTER TABLE threads ADD COLUMN on_failure TEXT REFERENCES on_failures;

-- The kinds of events move from a CHECK to a table, as the other words did in migration 7.
CREATE TABLE event_kinds (kind TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO event_kinds VALUES ('run_changed'), ('step_committed'), ('output'), ('run_edited'), ('thread_changed');
CREATE TABLE new_events (
    thread_id  TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    sequence   INTEGER NOT NULL,
    run_id     TEXT,
    time       INTEGER NOT NULL,
    kind       TEXT NOT NULL REFERENCES event_kinds,
    step       INTEGER,
    body       TEXT,
    PRIMARY KEY (thread_id, sequence)
) STRICT;
INSERT INTO new_events SELECT thread_id, sequence, run_id, time, kind, step, body FROM events;
DROP TABLE events;
ALTER TABLE new_events RENAME TO events;
CREATE INDEX events_outputs ON events (run_id) WHERE kind = 'output';
