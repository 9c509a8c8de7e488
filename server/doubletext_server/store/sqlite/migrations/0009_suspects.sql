-- The runs that may have killed the server's process, until the next death says more.
CREATE TABLE suspects (run_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
