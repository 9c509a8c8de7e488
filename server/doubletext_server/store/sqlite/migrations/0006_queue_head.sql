-- What the head of a queue is read from. runs_in_flight has due_time beside the sequence, so that delayed runs are
-- passed over without being read. runs_delayed has the delayed runs by when they are due. runs_one_started has the run
-- that has started, be it running or handed back: a thread has one at most, since no other starts before it has ended.
DROP INDEX runs_in_flight;
CREATE INDEX runs_in_flight ON runs (thread_id, sequence, due_time) WHERE end_time IS NULL;
CREATE INDEX runs_delayed ON runs (thread_id, due_time, sequence) WHERE end_time IS NULL AND due_time > create_time;
DROP INDEX runs_one_running;
CREATE UNIQUE INDEX runs_one_started ON runs (thread_id)
    WHERE status = 'running' OR status = 'pending' AND base_step IS NOT NULL;
