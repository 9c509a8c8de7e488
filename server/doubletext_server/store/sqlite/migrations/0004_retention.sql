-- Where retention looks next. Neither column is written with each change: no event of a thread is older than its
-- oldest_time, and the thread was not idle before its active_time.
ALTER TABLE threads ADD COLUMN oldest_time INTEGER NOT NULL DEFAULT 0;
ALTER TABLE threads ADD COLUMN active_time INTEGER NOT NULL DEFAULT 0;
CREATE INDEX threads_by_oldest ON threads (oldest_time);
CREATE INDEX threads_by_active ON threads (active_time);
