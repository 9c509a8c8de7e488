-- What lists are served from. A thread's outcome is the status that its newest finished run left it with. It serves to
-- find threads by their status; the status itself is always read from the runs.
-- thread_labels has no reference to threads, which would need an index of its own: the writer, which knows the labels,
-- deletes them.
ALTER TABLE threads ADD COLUMN outcome TEXT NOT NULL DEFAULT 'idle'
    CHECK (outcome IN ('idle', 'interrupted', 'error'));
UPDATE threads SET outcome = coalesce(
    (SELECT CASE status WHEN 'success' THEN 'idle' WHEN 'timeout' THEN 'error' ELSE status END FROM runs
     WHERE runs.thread_id = threads.thread_id AND end_time IS NOT NULL
     ORDER BY end_time DESC, sequence DESC LIMIT 1), 'idle');
DROP INDEX threads_by_age;
CREATE INDEX threads_by_outcome ON threads (outcome, create_time, thread_id);
CREATE INDEX runs_by_status ON runs (thread_id, status, sequence) WHERE end_time IS NOT NULL;

CREATE TABLE thread_labels (
    label        TEXT NOT NULL,
    create_time  INTEGER NOT NULL,
    thread_id    TEXT NOT NULL,
    PRIMARY KEY (label, create_time, thread_id)
) STRICT, WITHOUT ROWID;
INSERT INTO thread_labels SELECT value, create_time, thread_id FROM threads, json_each(labels(metadata))
    WHERE metadata <> '{}';

CREATE TABLE run_labels (
    thread_id  TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
    label      TEXT NOT NULL,
    sequence   INTEGER NOT NULL,
    PRIMARY KEY (thread_id, label, sequence)
) STRICT, WITHOUT ROWID;
INSERT INTO run_labels SELECT thread_id, value, sequence FROM runs, json_each(labels(metadata))
    WHERE metadata <> '{}';
