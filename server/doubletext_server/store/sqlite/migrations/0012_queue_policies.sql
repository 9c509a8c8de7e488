-- What becomes of the runs that wait: they may end, or become part of the new run, and have an order of their own.
INSERT INTO strategies VALUES ('join');
INSERT INTO run_statuses VALUES ('merged');
CREATE TABLE queue_policies (queue_policy TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO queue_policies VALUES ('keep'), ('supersede'), ('merge');

ALTER TABLE threads ADD COLUMN default_queue_policy TEXT REFERENCES queue_policies;

ALTER TABLE runs ADD COLUMN queue_policy TEXT REFERENCES queue_policies;
ALTER TABLE runs ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN merged_into TEXT;
ALTER TABLE runs ADD COLUMN merges INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN input_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN oldest_time INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN debounced INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN expire_time INTEGER;
UPDATE runs SET rank = sequence * 1048576, input_bytes = length(CAST(input AS BLOB));
UPDATE runs SET queue_policy = CASE strategy WHEN 'enqueue' THEN 'keep' ELSE 'supersede' END
    WHERE strategy IN ('enqueue', 'interrupt', 'rollback');

-- The order of a queue is that of ranks. Nearly all runs have the rank of their admission, and those that have another
-- one are few: runs_in_flight says which they are, and runs_placed has them in order.
DROP INDEX runs_in_flight;
CREATE INDEX runs_in_flight ON runs (thread_id, sequence, due_time, rank) WHERE end_time IS NULL;
DROP INDEX runs_delayed;
CREATE INDEX runs_delayed ON runs (thread_id, due_time, rank, sequence) WHERE end_time IS NULL AND due_time > create_time;
CREATE INDEX runs_placed ON runs (thread_id, rank, due_time, sequence)
    WHERE end_time IS NULL AND rank <> sequence * 1048576;
CREATE INDEX runs_expiring ON runs (thread_id, expire_time) WHERE end_time IS NULL AND expire_time IS NOT NULL;
CREATE INDEX runs_taking ON runs (thread_id, merges) WHERE end_time IS NULL AND merges > 0;
CREATE INDEX runs_merged ON runs (merged_into) WHERE merged_into IS NOT NULL;

-- The run that finished last is one that was there for its own sake.
DROP INDEX runs_finished;
CREATE INDEX runs_finished ON runs (thread_id, end_time, sequence) WHERE end_time IS NOT NULL AND status <> 'merged';

ALTER TABLE tombstones ADD COLUMN merged_into TEXT;
ALTER TABLE requests ADD COLUMN joined INTEGER NOT NULL DEFAULT 0;
-- The run whose input the step is; NULL in steps from before this column.
ALTER TABLE steps ADD COLUMN input_of TEXT;
