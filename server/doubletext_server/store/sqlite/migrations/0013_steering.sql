-- Runs that steer: their inputs may become steps of the run that is running.
INSERT INTO strategies VALUES ('steer');

ALTER TABLE runs ADD COLUMN absorbed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
CREATE INDEX runs_steering ON runs (thread_id, due_time, rank)
    WHERE end_time IS NULL AND base_step IS NULL AND strategy = 'steer';

-- Of the first step of a commit that was to absorb runs: a JSON list of how many it took, and of the ids it named.
ALTER TABLE steps ADD COLUMN absorb TEXT;
