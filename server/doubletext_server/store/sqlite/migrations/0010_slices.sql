-- Threads that were deleted, and threads whose last steps were cut off, of which something is left to be removed.
CREATE TABLE doomed (thread_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE cuts (thread_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
