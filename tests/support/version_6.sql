PRAGMA application_id = 1685354612;
PRAGMA user_version = 6;
BEGIN TRANSACTION;
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
INSERT INTO "assistants" VALUES(1,'a','g',1000000000,'{}','{}','{"messages": "messages"}',3,5000000,NULL,NULL);
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
INSERT INTO "events" VALUES('talk',1,'hello',1000000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('talk',2,'hello',1000000000,'run_changed',NULL,'["pending", "running", null, null]');
INSERT INTO "events" VALUES('talk',3,'hello',1000000000,'step_committed',1,NULL);
INSERT INTO "events" VALUES('talk',4,'hello',1000000000,'step_committed',2,NULL);
INSERT INTO "events" VALUES('talk',5,'hello',1000000000,'run_changed',NULL,'["running", "success", null, null]');
INSERT INTO "events" VALUES('talk',6,'first',1000000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('talk',7,'first',1000000000,'run_changed',NULL,'["pending", "running", null, null]');
INSERT INTO "events" VALUES('talk',8,'first',1000000000,'step_committed',3,NULL);
INSERT INTO "events" VALUES('talk',9,'first',1000000000,'step_committed',4,NULL);
INSERT INTO "events" VALUES('talk',10,'first',1000000000,'output',NULL,'["tokens", "{\"t\":\"so\"}"]');
INSERT INTO "events" VALUES('talk',11,'waiting',1000000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('talk',12,'second',1000000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('talk',13,'first',1000000000,'run_changed',NULL,'["running", "interrupted", "second", "SUPERSEDED"]');
INSERT INTO "events" VALUES('talk',14,'waiting',1000000000,'run_changed',NULL,'["pending", "interrupted", "second", "SUPERSEDED"]');
INSERT INTO "events" VALUES('talk',15,'second',1000000000,'run_changed',NULL,'["pending", "running", null, null]');
INSERT INTO "events" VALUES('talk',16,'second',1000000000,'step_committed',5,NULL);
INSERT INTO "events" VALUES('talk',17,'second',1000000000,'step_committed',6,NULL);
INSERT INTO "events" VALUES('talk',18,'third',1001000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('talk',19,'second',1001000000,'run_changed',NULL,'["running", "deleted", "third", "SUPERSEDED"]');
INSERT INTO "events" VALUES('talk',20,'third',1001000000,'run_changed',NULL,'["pending", "running", null, null]');
INSERT INTO "events" VALUES('talk',21,'third',1001000000,'step_committed',5,NULL);
INSERT INTO "events" VALUES('talk',22,'third',1001000000,'step_committed',6,NULL);
INSERT INTO "events" VALUES('talk',23,'third',1001000000,'run_changed',NULL,'["running", "success", null, null]');
INSERT INTO "events" VALUES('talk',24,NULL,1001000000,'step_committed',7,NULL);
INSERT INTO "events" VALUES('work',1,'failed',1001000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('work',2,'failed',1001000000,'run_changed',NULL,'["pending", "running", null, null]');
INSERT INTO "events" VALUES('work',3,'failed',1001000000,'step_committed',1,NULL);
INSERT INTO "events" VALUES('work',4,'failed',1001000000,'run_changed',NULL,'["running", "error", null, null]');
INSERT INTO "events" VALUES('work',5,'late',1002000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('work',6,'late',1002000000,'run_changed',NULL,'["pending", "running", null, null]');
INSERT INTO "events" VALUES('work',7,'late',1002000000,'step_committed',2,NULL);
INSERT INTO "events" VALUES('work',8,'late',1004000000,'run_changed',NULL,'["running", "timeout", null, "TIMEOUT"]');
INSERT INTO "events" VALUES('work',9,'silent',1004000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('work',10,'silent',1004000000,'run_changed',NULL,'["pending", "running", null, null]');
INSERT INTO "events" VALUES('work',11,'silent',1004000000,'step_committed',3,NULL);
INSERT INTO "events" VALUES('work',12,'silent',1019000000,'run_changed',NULL,'["running", "pending", null, "LEASE_LOST"]');
INSERT INTO "events" VALUES('work',13,'silent',1019000000,'run_changed',NULL,'["pending", "running", null, null]');
INSERT INTO "events" VALUES('work',14,'silent',1034000000,'run_changed',NULL,'["running", "pending", null, "LEASE_LOST"]');
INSERT INTO "events" VALUES('work',15,'silent',1034000000,'run_changed',NULL,'["pending", "running", null, null]');
INSERT INTO "events" VALUES('work',16,'silent',1049000000,'run_changed',NULL,'["running", "error", null, "MAX_ATTEMPTS"]');
INSERT INTO "events" VALUES('work',17,'back',1049000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('work',18,'back',1049000000,'run_changed',NULL,'["pending", "running", null, null]');
INSERT INTO "events" VALUES('work',19,'back',1049000000,'step_committed',4,NULL);
INSERT INTO "events" VALUES('work',20,'back',1049000000,'step_committed',5,NULL);
INSERT INTO "events" VALUES('work',21,'back',1049000000,'run_changed',NULL,'["running", "pending", null, "RELEASED"]');
INSERT INTO "events" VALUES('queue',1,'p0',1049000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('queue',2,'p1',1049000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('queue',3,'p2',1049000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('queue',4,'delayed',1049000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('queue',5,'p0',1049000000,'run_changed',NULL,'["pending", "running", null, null]');
INSERT INTO "events" VALUES('queue',6,'p0',1049000000,'step_committed',1,NULL);
INSERT INTO "events" VALUES('queue',7,'p0',1049000000,'step_committed',2,NULL);
INSERT INTO "events" VALUES('leased',1,'held',1049000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('leased',2,'held',1049000000,'run_changed',NULL,'["pending", "running", null, null]');
INSERT INTO "events" VALUES('leased',3,'held',1049000000,'step_committed',1,NULL);
INSERT INTO "events" VALUES('stopped',1,'old',1049000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('stopped',2,'old',1049000000,'run_changed',NULL,'["pending", "running", null, null]');
INSERT INTO "events" VALUES('stopped',3,'old',1049000000,'step_committed',1,NULL);
INSERT INTO "events" VALUES('stopped',4,'old',1049000000,'step_committed',2,NULL);
INSERT INTO "events" VALUES('stopped',5,'new',1049000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('stopped',6,'old',1049000000,'run_changed',NULL,'["running", "interrupted", "new", "SUPERSEDED"]');
INSERT INTO "events" VALUES('cut',1,'cancelled',1049000000,'run_changed',NULL,'[null, "pending", null, null]');
INSERT INTO "events" VALUES('cut',2,'cancelled',1049000000,'run_changed',NULL,'["pending", "interrupted", null, "CANCELLED"]');
CREATE TABLE requests (
        thread_id    TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
        request_id   TEXT NOT NULL,
        run_id       TEXT NOT NULL,
        digest       TEXT NOT NULL,
        create_time  INTEGER NOT NULL,
        PRIMARY KEY (thread_id, request_id)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "requests" VALUES('stopped','q-new','new','',1049000000);
INSERT INTO "requests" VALUES('talk','q-hello','hello','',1000000000);
INSERT INTO "requests" VALUES('talk','q-third','third','',1001000000);
CREATE TABLE run_labels (
        thread_id  TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
        label      TEXT NOT NULL,
        sequence   INTEGER NOT NULL,
        PRIMARY KEY (thread_id, label, sequence)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "run_labels" VALUES('queue','0cbb5121a6caeb7ae62fc9761b53c78e',1);
INSERT INTO "run_labels" VALUES('queue','23d7ce90c4cf222668ed548f30a02fdc',2);
INSERT INTO "run_labels" VALUES('queue','7dc138e9c73384bbd91fa125851bee5f',3);
INSERT INTO "run_labels" VALUES('talk','8082cd2fe95f728e7bc6fac9309a1cf7',1);
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
    , worker_id TEXT, lease_expires INTEGER CHECK (lease_expires IS NULL OR status = 'running'), outcome_digest TEXT, first_event INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "runs" VALUES('hello','talk',1,1,'enqueue',1000000000,1000000000,NULL,'success',1,1,1000000000,1000000000,0,2,NULL,NULL,NULL,NULL,'{"n":1}','{"k":1}',NULL,NULL,NULL,1);
INSERT INTO "runs" VALUES('first','talk',2,1,'enqueue',1000000000,1000000000,NULL,'interrupted',1,1,1000000000,1000000000,2,4,NULL,NULL,'second','SUPERSEDED','{}','{}',NULL,NULL,NULL,6);
INSERT INTO "runs" VALUES('waiting','talk',3,1,'enqueue',1000000000,1000000000,NULL,'interrupted',0,0,NULL,1000000000,4,0,NULL,NULL,'second','SUPERSEDED','{}','{}',NULL,NULL,NULL,11);
INSERT INTO "runs" VALUES('third','talk',5,1,'rollback',1001000000,1001000000,NULL,'success',1,1,1001000000,1001000000,4,6,NULL,NULL,NULL,NULL,'{}','{}',NULL,NULL,NULL,18);
INSERT INTO "runs" VALUES('failed','work',1,1,'enqueue',1001000000,1001000000,NULL,'error',1,1,1001000000,1001000000,0,1,'Oops','no luck',NULL,NULL,'{}','{}','w1',NULL,'d1',1);
INSERT INTO "runs" VALUES('late','work',2,1,'enqueue',1002000000,1002000000,1000000,'timeout',1,1,1002000000,1004000000,1,2,NULL,NULL,NULL,'TIMEOUT','{}','{}','w1',NULL,NULL,5);
INSERT INTO "runs" VALUES('silent','work',3,1,'enqueue',1004000000,1004000000,NULL,'error',3,3,1034000000,1049000000,2,3,'MaxAttempts','started 3 times, and each time its executor died or fell silent',NULL,'MAX_ATTEMPTS','{}','{}','w2',NULL,NULL,9);
INSERT INTO "runs" VALUES('back','work',4,1,'enqueue',1049000000,1049000000,NULL,'pending',0,1,1049000000,NULL,3,5,NULL,NULL,NULL,'RELEASED','{}','{}','w1',NULL,NULL,17);
INSERT INTO "runs" VALUES('p0','queue',1,1,'enqueue',1049000000,1049000000,NULL,'running',1,1,1049000000,NULL,0,2,NULL,NULL,NULL,NULL,'{}','{"n":0}',NULL,NULL,NULL,1);
INSERT INTO "runs" VALUES('p1','queue',2,1,'enqueue',1049000000,1049000000,NULL,'pending',0,0,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'{}','{"n":1}',NULL,NULL,NULL,2);
INSERT INTO "runs" VALUES('p2','queue',3,1,'enqueue',1049000000,1049000000,NULL,'pending',0,0,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'{}','{"n":2}',NULL,NULL,NULL,3);
INSERT INTO "runs" VALUES('delayed','queue',4,1,'enqueue',1049000000,4649000000,NULL,'pending',0,0,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'{}','{}',NULL,NULL,NULL,4);
INSERT INTO "runs" VALUES('held','leased',1,1,'enqueue',1049000000,1049000000,NULL,'running',1,1,1049000000,NULL,0,1,NULL,NULL,NULL,NULL,'{}','{}','w3',1064000000,NULL,1);
INSERT INTO "runs" VALUES('old','stopped',1,1,'enqueue',1049000000,1049000000,NULL,'interrupted',1,1,1049000000,1049000000,0,2,NULL,NULL,'new','SUPERSEDED','{}','{}','w4',NULL,NULL,1);
INSERT INTO "runs" VALUES('new','stopped',2,1,'interrupt',1049000000,1049000000,NULL,'pending',0,0,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'{}','{}',NULL,NULL,NULL,5);
INSERT INTO "runs" VALUES('cancelled','cut',1,1,'enqueue',1049000000,1049000000,NULL,'interrupted',0,0,NULL,1049000000,0,0,NULL,NULL,NULL,'CANCELLED','{}','{}',NULL,NULL,NULL,1);
CREATE TABLE snapshots (
        thread_id  TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
        step       INTEGER NOT NULL,
        body       TEXT NOT NULL,
        PRIMARY KEY (thread_id, step)
    ) STRICT;
CREATE TABLE steps (
        thread_id    TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
        step         INTEGER NOT NULL,
        run_id       TEXT,
        create_time  INTEGER NOT NULL,
        reducers     TEXT,
        body         TEXT NOT NULL,
        PRIMARY KEY (thread_id, step)
    ) STRICT;
INSERT INTO "steps" VALUES('talk',1,'hello',1000000000,NULL,'{"n":1}');
INSERT INTO "steps" VALUES('talk',2,'hello',1000000000,NULL,'{"messages":["hi"]}');
INSERT INTO "steps" VALUES('talk',3,'first',1000000000,NULL,'{}');
INSERT INTO "steps" VALUES('talk',4,'first',1000000000,NULL,'{"messages":["so far"]}');
INSERT INTO "steps" VALUES('talk',5,'third',1001000000,NULL,'{}');
INSERT INTO "steps" VALUES('talk',6,'third',1001000000,NULL,'{"key":[1,2]}');
INSERT INTO "steps" VALUES('talk',7,NULL,1001000000,'{"by": "append"}','{"by":"hand"}');
INSERT INTO "steps" VALUES('work',1,'failed',1001000000,NULL,'{}');
INSERT INTO "steps" VALUES('work',2,'late',1002000000,NULL,'{}');
INSERT INTO "steps" VALUES('work',3,'silent',1004000000,NULL,'{}');
INSERT INTO "steps" VALUES('work',4,'back',1049000000,NULL,'{}');
INSERT INTO "steps" VALUES('work',5,'back',1049000000,NULL,'{"b":1}');
INSERT INTO "steps" VALUES('queue',1,'p0',1049000000,NULL,'{}');
INSERT INTO "steps" VALUES('queue',2,'p0',1049000000,NULL,'{"messages":["half"]}');
INSERT INTO "steps" VALUES('leased',1,'held',1049000000,NULL,'{}');
INSERT INTO "steps" VALUES('stopped',1,'old',1049000000,NULL,'{}');
INSERT INTO "steps" VALUES('stopped',2,'old',1049000000,NULL,'{"messages":["old"]}');
CREATE TABLE thread_labels (
        label        TEXT NOT NULL,
        create_time  INTEGER NOT NULL,
        thread_id    TEXT NOT NULL,
        PRIMARY KEY (label, create_time, thread_id)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "thread_labels" VALUES('628fe4a6780f9e5050d243b5a5d0e7cf',1000000000,'talk');
INSERT INTO "thread_labels" VALUES('e0a6036dc29923032f2dd0cbc28c0949',1049000000,'empty');
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
    , drain_grace_until INTEGER, drain_worker_id TEXT, first_event INTEGER NOT NULL DEFAULT 1, oldest_time INTEGER NOT NULL DEFAULT 0, active_time INTEGER NOT NULL DEFAULT 0, outcome TEXT NOT NULL DEFAULT 'idle'
        CHECK (outcome IN ('idle', 'interrupted', 'error'))) STRICT, WITHOUT ROWID;
INSERT INTO "threads" VALUES('cut',1049000000,1049000000,'{}',NULL,NULL,1,0,2,NULL,NULL,NULL,NULL,NULL,1,1049000000,1049000000,'interrupted');
INSERT INTO "threads" VALUES('empty',1049000000,1049000000,'{"who":"nobody"}',NULL,NULL,0,0,0,NULL,NULL,NULL,NULL,NULL,1,1049000000,1049000000,'idle');
INSERT INTO "threads" VALUES('leased',1049000000,1049000000,'{}',NULL,NULL,1,1,3,NULL,NULL,NULL,NULL,NULL,1,1049000000,1049000000,'idle');
INSERT INTO "threads" VALUES('queue',1049000000,1049000000,'{}',NULL,NULL,4,2,7,NULL,NULL,NULL,NULL,NULL,1,1049000000,1049000000,'idle');
INSERT INTO "threads" VALUES('stopped',1049000000,1049000000,'{}','interrupt',NULL,2,2,6,'old',1,1054000000,1054000000,'w4',1,1049000000,1049000000,'interrupted');
INSERT INTO "threads" VALUES('talk',1000000000,1001000000,'{"who":"me"}',NULL,NULL,5,7,24,NULL,NULL,NULL,NULL,NULL,1,1000000000,1000000000,'idle');
INSERT INTO "threads" VALUES('work',1001000000,1049000000,'{}','reject',9,4,5,21,NULL,NULL,NULL,NULL,NULL,1,1001000000,1001000000,'error');
CREATE TABLE tombstones (
        run_id         TEXT PRIMARY KEY,
        thread_id      TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
        superseded_by  TEXT,
        reason         TEXT NOT NULL,
        create_time    INTEGER NOT NULL,
        delete_time    INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
INSERT INTO "tombstones" VALUES('second','talk','third','SUPERSEDED',1000000000,1001000000);
CREATE UNIQUE INDEX assistants_by_id ON assistants (assistant_id) WHERE delete_time IS NULL;
CREATE INDEX threads_draining ON threads (thread_id) WHERE drain_until IS NOT NULL;
CREATE UNIQUE INDEX runs_by_sequence ON runs (thread_id, sequence);
CREATE INDEX runs_finished ON runs (thread_id, end_time, sequence) WHERE end_time IS NOT NULL;
CREATE INDEX runs_superseded ON runs (superseded_by) WHERE superseded_by IS NOT NULL;
CREATE INDEX events_outputs ON events (run_id) WHERE kind = 'output';
CREATE INDEX tombstones_by_thread ON tombstones (thread_id);
CREATE INDEX tombstones_superseded ON tombstones (superseded_by) WHERE superseded_by IS NOT NULL;
CREATE INDEX threads_by_oldest ON threads (oldest_time);
CREATE INDEX threads_by_active ON threads (active_time);
CREATE INDEX threads_by_outcome ON threads (outcome, create_time, thread_id);
CREATE INDEX runs_by_status ON runs (thread_id, status, sequence) WHERE end_time IS NOT NULL;
CREATE INDEX runs_in_flight ON runs (thread_id, sequence, due_time) WHERE end_time IS NULL;
CREATE INDEX runs_delayed ON runs (thread_id, due_time, sequence) WHERE end_time IS NULL AND due_time > create_time;
CREATE UNIQUE INDEX runs_one_started ON runs (thread_id)
        WHERE status = 'running' OR status = 'pending' AND base_step IS NOT NULL;
COMMIT;
