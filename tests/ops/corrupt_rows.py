"""Corruptions of rows, and of how they fit each other."""

from typing import Final

from tests.ops.corruption import planted

ROWS: Final = {
    # References and schema
    "a thread whose rows are left": planted(
        "DELETE FROM threads WHERE thread_id = 'draining'",
        "reference: 2 rows of runs refer to thread_id draining, which is not in threads",
        "reference: 1 row of steps refers to thread_id draining, which is not in threads",
        "reference: 5 rows of events refer to thread_id draining, which is not in threads",
    ),
    "an assistant that is gone": planted(
        "DELETE FROM assistants WHERE key = 2",
        "reference: 1 row of runs refers to assistant_key 2, which is not in assistants",
    ),
    "tombstones and requests of a thread that never was": planted(
        "UPDATE tombstones SET thread_id = 'nowhere' WHERE run_id = 'alone';"
        "UPDATE requests SET thread_id = 'nowhere' WHERE run_id = 'forgotten'",
        "reference: 1 row of tombstones refers to thread_id nowhere, which is not in threads",
        "reference: 1 row of requests refers to thread_id nowhere, which is not in threads",
    ),
    "an index that is gone": planted("DROP INDEX runs_by_sequence", "schema: index runs_by_sequence is missing"),
    "an index of another's": planted("CREATE INDEX mine ON runs (reason)", "schema: index mine does not belong there"),
    "an index that lets more in": planted(
        "DROP INDEX runs_one_started; CREATE INDEX runs_one_started ON runs (thread_id) WHERE status = 'running'",
        "schema: index runs_one_started is defined in another way",
    ),
    # Runs that were merged
    "a merged run that is part of none": planted(
        "UPDATE runs SET merged_into = NULL WHERE run_id = 'undone'",
        "run: thread together, run undone: is merged, and part of no run",
    ),
    "a merged run's input that is not the one in the state": planted(
        "UPDATE runs SET input = '{\"x\":1}' WHERE run_id = 'undone'",
        "step: thread together, step 2: is the input of run undone, but they differ",
    ),
    "a merged run that is part of an earlier one": planted(
        "UPDATE runs SET merged_into = 'urgent' WHERE run_id = 'later'",
        "run: thread together, run later: is part of urgent, which was admitted before it",
    ),
    "a run that expired and had no time": planted(
        "UPDATE runs SET expire_time = NULL WHERE run_id = 'hasty'",
        "run: thread together, run hasty: has expired in epoch 0, with expire_time NULL",
    ),
    # JSON
    "an input that is no JSON": planted(
        "UPDATE runs SET input = '{\"n\":' WHERE run_id = 'waiting'",
        "json: thread talk, run waiting: input is not JSON",
    ),
    "an assistant's config that is a list": planted(
        "UPDATE assistants SET config = '[]' WHERE key = 1", "json: assistant a: config is not a JSON object"
    ),
    "an unknown reducer": planted(
        'UPDATE assistants SET reducers = \'{"x":"mix"}\' WHERE key = 1',
        "json: assistant a: reducers names one that does not exist",
    ),
    "a thread's metadata that is no JSON": planted(
        "UPDATE threads SET metadata = '' WHERE thread_id = 'line'", "json: thread line: metadata is not JSON"
    ),
    "a step that is no JSON": planted(
        "UPDATE steps SET body = 'x' WHERE thread_id = 'talk' AND step = 6",
        "json: thread talk, step 6: body is not JSON",
    ),
    "a snapshot that is no JSON": planted(
        "UPDATE snapshots SET body = '{' WHERE step = 2",
        "json: thread long, snapshot of step 2: body is not JSON",
        "snapshot: thread long, snapshot of step 2: it, or a step up to there, cannot be read: ",
    ),
    # Runs by themselves
    "two running runs": planted(
        "DROP INDEX runs_one_started; UPDATE runs SET status = 'running', end_time = NULL, reason = NULL, "
        "worker_id = 'w', lease_expires = 1 WHERE run_id = 'late'",
        "schema: index runs_one_started is missing",
        "running: thread work: runs late, running are running at once",
        "counter: thread work, run late: is running with last_step 5, the thread's is 8",
        "history: thread work, run late: is running, but by its events it is timeout",
    ),
    "an unknown status": planted(
        "UPDATE runs SET status = 'paused' WHERE run_id = 'hello'",
        "reference: 1 row of runs refers to status paused, which is not in run_statuses",
        "history: thread talk, run hello: is paused, but by its events it is success",
    ),
    "an unknown strategy": planted(
        "UPDATE threads SET default_strategy = 'shout' WHERE thread_id = 'talk'",
        "reference: 1 row of threads refers to default_strategy shout, which is not in strategies",
    ),
    "a word too many": planted(
        "INSERT INTO run_statuses VALUES ('paused')",
        "schema: run_statuses has the unknown word paused",
    ),
    "a word too few": planted(
        "DELETE FROM strategies WHERE strategy = 'reject'",
        "schema: strategies lacks reject",
    ),
    "an end while pending": planted(
        "UPDATE runs SET end_time = 1 WHERE run_id = 'new'",
        "schema: thread draining, run new: breaks CHECK ((end_time IS NULL) = ",
    ),
    "a lease of a finished run": planted(
        "UPDATE runs SET lease_expires = 5 WHERE run_id = 'returned'",
        "schema: thread work, run returned: breaks CHECK (lease_expires IS NULL OR status = 'running')",
    ),
    "a worker without a lease": planted(
        "UPDATE runs SET lease_expires = NULL WHERE run_id = 'running'",
        "run: thread work, run running: is running with a worker and no lease",
    ),
    "a start that never was": planted(
        "UPDATE runs SET start_time = 5 WHERE run_id = 'waiting'",
        "run: thread talk, run waiting: has epoch 0 with a start_time",
        "history: thread talk, run waiting: start_time is 5, by its events None",
    ),
    "a success without an attempt": planted(
        "UPDATE runs SET attempt = 0 WHERE run_id = 'one'",
        "run: thread line, run one: is success in attempt 0, epoch 1",
        "history: thread line, run one: attempt is 0, by its events 1",
    ),
    "more attempts than claims": planted(
        "UPDATE runs SET attempt = 3 WHERE run_id = 'first'",
        "run: thread talk, run first: is in attempt 3, epoch 1",
        "history: thread talk, run first: attempt is 3, by its events 1",
    ),
    "an ended run that left no state": planted(
        "UPDATE runs SET base_step = NULL WHERE run_id = 'waiting'",
        "run: thread talk, run waiting: is interrupted, epoch 0, base_step NULL",
    ),
    "a last step before the first": planted(
        "UPDATE runs SET last_step = 2 WHERE run_id = 'first'",
        "run: thread talk, run first: has last_step 2, which is not after its base_step 2",
        "step: thread talk, run first: has made steps 3 to 2, but they are not all there",
        "step: thread talk, run first: steps 3 to 4 are there, but by its record it made 3 to 2",
    ),
    "a step of a run that never started": planted(
        "UPDATE runs SET last_step = 4 WHERE run_id = 'waiting'",
        "run: thread talk, run waiting: has last_step 4 though it never started",
        "step: thread talk, run waiting: has made steps 5 to 4, but they are not all there",
    ),
    "a timeout without a reason": planted(
        "UPDATE runs SET reason = NULL WHERE run_id = 'late'",
        "run: thread work, run late: is timeout without a reason",
        "history: thread work, run late: reason is None, by its events TIMEOUT",
    ),
    "a reason that does not go with the status": planted(
        "UPDATE runs SET reason = 'CANCELLED' WHERE run_id = 'hello'",
        "run: thread talk, run hello: is success with the reason CANCELLED",
        "history: thread talk, run hello: reason is CANCELLED, by its events None",
    ),
    "a success with an error": planted(
        "UPDATE runs SET error_type = 'Oops' WHERE run_id = 'hello'",
        "run: thread talk, run hello: is success with an error",
    ),
    # Counters
    "a counter of admissions that is behind": planted(
        "UPDATE threads SET last_sequence = 4 WHERE thread_id = 'line'",
        "counter: thread line, run next: has sequence 5, the thread's last is 4",
        "counter: thread line: last_sequence is 4, but 5 admissions are told of",
    ),
    "a counter of admissions that is ahead": planted(
        "UPDATE threads SET last_sequence = 3 WHERE thread_id = 'draining'",
        "counter: thread draining: last_sequence is 3, but 2 admissions are told of",
        "counter: thread draining, run old: has sequence 1, but was admitted as number 2",
        "counter: thread draining, run new: has sequence 2, but was admitted as number 3",
    ),
    "sequences that changed places": planted(
        "UPDATE runs SET sequence = 9 WHERE run_id = 'one'; UPDATE runs SET sequence = 2 WHERE run_id = 'two';"
        "UPDATE runs SET sequence = 3 WHERE run_id = 'one'",
        "counter: thread line, run one: has sequence 3, but was admitted as number 2",
        "counter: thread line, run two: has sequence 2, but was admitted as number 3",
    ),
    "a counter of steps that is ahead": planted(
        "UPDATE threads SET last_step = 10 WHERE thread_id = 'talk'",
        "counter: thread talk: last_step is 10, but the newest step there is 9",
    ),
    "a counter of events that is behind": planted(
        "UPDATE threads SET last_event = 31 WHERE thread_id = 'talk'",
        "counter: thread talk: last_event is 31, but event 32 is there",
    ),
    "a last step that is beyond the thread's": planted(
        "UPDATE runs SET last_step = 12 WHERE run_id = 'third'",
        "counter: thread talk, run third: has last_step 12, the thread's is 9",
        "step: thread talk, run third: has made steps 5 to 12, but they are not all there",
        "step: thread talk, run third: steps 5 to 6 are there, but by its record it made 5 to 12",
    ),
    "a state left that is none": planted(
        "UPDATE runs SET base_step = 12 WHERE run_id = 'waiting'",
        "counter: thread talk, run waiting: has base_step 12, the thread's last step is 9",
    ),
    # Steps
    "a step in the middle that is gone": planted(
        "DELETE FROM steps WHERE thread_id = 'work' AND step = 2",
        "step: thread work: step 2 is missing, the next one there is 3",
    ),
    "a last step that is gone": planted(
        "DELETE FROM steps WHERE thread_id = 'talk' AND step = 9",
        "step: thread talk: steps 8 to 8 of run forgotten are there, but the events tell of steps 8 to 9",
        "counter: thread talk: last_step is 9, but the newest step there is 8",
    ),
    "all steps by a record that is gone, gone too": planted(
        "DELETE FROM steps WHERE run_id = 'forgotten'",
        "step: thread talk: the events tell of steps 8 to 9 of run forgotten, but they are not there",
        "counter: thread talk: last_step is 9, but the newest step there is 7",
    ),
    "a run's first step that is gone": planted(
        "DELETE FROM steps WHERE thread_id = 'talk' AND step = 1",
        "step: thread talk, run hello: has made steps 1 to 2, but they are not all there",
        "step: thread talk: step 1 is missing, the next one there is 2",
        "step: thread talk, run hello: steps 2 to 2 are there, but by its record it made 1 to 2",
        "step: thread talk: steps 2 to 2 of run hello are there, but the events tell of steps 1 to 2 of run hello",
    ),
    "a step of another run": planted(
        "UPDATE steps SET run_id = 'hello' WHERE thread_id = 'talk' AND step = 8",
        "step: thread talk, run hello: steps 8 to 8 are apart from the others that it made",
        "step: thread talk: steps 8 to 8 of run hello are there, but the events tell of steps 8 to 9 of run forgotten",
    ),
    "a step of another thread's run": planted(
        "UPDATE steps SET run_id = 'tall' WHERE thread_id = 'talk' AND step = 7",
        "step: thread talk, run tall: steps 7 to 7 are of it, which is of thread long",
        "step: thread talk: steps 7 to 7 of run tall are there, but the events tell of steps 7 to 7 made by hand",
    ),
    "a step of a run that never was": planted(
        "UPDATE steps SET run_id = 'ghost' WHERE thread_id = 'talk' AND step = 7",
        "step: thread talk, run ghost: steps 7 to 7 are of it, of which nothing else is known",
        "step: thread talk: steps 7 to 7 of run ghost are there, but the events tell of steps 7 to 7 made by hand",
    ),
    "an input that is not the one in the state": planted(
        "UPDATE steps SET body = '{\"n\":3}' WHERE thread_id = 'talk' AND step = 1",
        "step: thread talk, run hello: has made step 1 of its input, but they differ",
    ),
    # Snapshots
    "a snapshot that is not the fold": planted(
        "UPDATE snapshots SET body = json_set(body, '$.last', 7) WHERE step = 2",
        "snapshot: thread long, snapshot of step 2: it is not what the steps up to there amount to",
    ),
    "a later snapshot that is not the fold": planted(
        "UPDATE snapshots SET body = json_remove(body, '$.last') WHERE step = 4",
        "snapshot: thread long, snapshot of step 4: it is not what the steps up to there amount to",
    ),
    "a snapshot of a step that is not there": planted(
        "INSERT INTO snapshots (thread_id, step, body) VALUES ('talk', 12, '{}')",
        "snapshot: thread talk, snapshot of step 12: that step is not there",
    ),
    # Stopped attempts
    "half a stopped attempt": planted(
        "UPDATE threads SET stopping_run_id = NULL WHERE thread_id = 'draining'",
        "drain: thread draining: awaits a stopped attempt, of which it does not say all",
    ),
    "a stopped attempt of another thread": planted(
        "UPDATE threads SET stopping_run_id = 'first' WHERE thread_id = 'draining'",
        "drain: thread draining: awaits run first, which is of thread talk",
    ),
    "a stopped attempt that was not stopped": planted(
        "UPDATE threads SET stopping_run_id = 'hello', stopping_epoch = 1, stopping_until = 1 WHERE thread_id = 'talk'",
        "drain: thread talk: awaits run hello as stopped, but it is success",
    ),
    "a stopped attempt of another epoch": planted(
        "UPDATE threads SET stopping_epoch = 2 WHERE thread_id = 'draining'",
        "drain: thread draining: awaits epoch 2 of run old, which ended in 1",
    ),
    "a stopped attempt beyond its grace": planted(
        "UPDATE threads SET stopping_until = stopping_grace_until + 1 WHERE thread_id = 'draining'",
        "drain: thread draining: awaits run old beyond its grace",
    ),
    "a stopped attempt beside a running one": planted(
        "UPDATE threads SET stopping_run_id = 'late', stopping_epoch = 1, stopping_until = 1 WHERE thread_id = 'work'",
        "drain: thread work: awaits run late while another is running",
    ),
    # Request ids
    "a request id of another thread's run": planted(
        "UPDATE requests SET run_id = 'tall' WHERE request_id = 'q-hello'",
        "request: thread talk: request id 'q-hello' leads to run tall, which is of thread long",
    ),
    "a request id of a run that never was": planted(
        "UPDATE requests SET run_id = 'ghost' WHERE request_id = 'q-hello'",
        "request: thread talk: request id 'q-hello' leads to run ghost, which never was",
    ),
    # What lists are served from
    "an outcome that the thread was not left with": planted(
        "UPDATE threads SET outcome = 'error' WHERE thread_id = 'talk'",
        "list: thread talk: is listed as error, but its newest finished run left it idle",
    ),
    "a thread's metadata without a label": planted(
        "DELETE FROM thread_labels", "list: thread talk: a key of its metadata has no label"
    ),
    "a label of a thread's that its metadata has not": planted(
        "INSERT INTO thread_labels SELECT 'x', create_time, thread_id FROM threads WHERE thread_id IN ('talk', 'line')",
        "list: thread talk: it has the label x, which none of its metadata has",
        "list: thread line: it has the label x, which none of its metadata has",
    ),
    "a label of a thread that is gone": planted(
        "INSERT INTO thread_labels VALUES ('x', 5, 'gone')",
        "list: thread gone: it has the label x, which none of its metadata has",
    ),
    "a run's metadata without a label": planted(
        "DELETE FROM run_labels", "list: thread talk, run hello: a key of its metadata has no label"
    ),
    "labels of a run that its metadata has not, and of none": planted(
        "INSERT INTO run_labels (thread_id, label, sequence) VALUES ('talk', 'x', 1), ('talk', 'x', 99)",
        "list: thread talk: run hello has the label x, which none of its metadata has",
        "list: thread talk: a run that is not there, of sequence 99 has the label x, which none of its metadata has",
    ),
}
