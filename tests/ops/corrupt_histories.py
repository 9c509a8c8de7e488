"""Corruptions of what the events tell, and of what has to agree with it."""

from typing import Final

from tests.ops.corruption import planted

HISTORIES: Final = {
    # Events
    "an event that is gone": planted(
        "DELETE FROM events WHERE thread_id = 'talk' AND sequence = 10", "event: thread talk: event 10 is missing"
    ),
    "events at the end that are gone": planted(
        "DELETE FROM events WHERE thread_id = 'talk' AND sequence > 30",
        "event: thread talk: the last event given out is 32, the last one there is 30",
        "counter: thread talk: last_sequence is 7, but 6 admissions are told of",
        "counter: thread talk, run ",
        "history: thread talk, run alone: has a tombstone, but no event tells of it",
    ),
    "an event that was trimmed": planted(
        "UPDATE threads SET first_event = 2 WHERE thread_id = 'long'",
        "event: thread long: event 1 was trimmed, but is there",
    ),
    "an event that cannot be read": planted(
        "UPDATE events SET body = '[null, \"begun\", null, null]' WHERE thread_id = 'line' AND sequence = 11",
        "event: thread line, run next: event 11 tells of a change that cannot be read",
        "history: thread line, run next: is pending, but no event tells of it",
        "counter: thread line: last_sequence is 5, but 4 admissions are told of",
        "counter: thread line, run ",
    ),
    "an output that cannot be read": planted(
        "UPDATE events SET body = '[\"tokens\"' WHERE thread_id = 'talk' AND sequence = 10",
        "event: thread talk, run first: event 10 has an output that cannot be read",
    ),
    "an event of an unknown kind": planted(
        "UPDATE events SET kind = 'noted' WHERE thread_id = 'talk' AND sequence = 10",
        "reference: 1 row of events refers to kind noted, which is not in event_kinds",
        "event: thread talk, run first: event 10 is of the unknown kind 'noted'",
    ),
    "a step told with another number": planted(
        "UPDATE events SET step = 7 WHERE thread_id = 'work' AND sequence = 30",
        "event: thread work, run running: event 30 tells of step 7 after step 7",
        "step: thread work: steps 7 to 8 of run running are there, but the events tell of steps 7 to 7 of run running",
    ),
    # Histories
    "a life that was not lived": planted(
        "UPDATE events SET body = '[\"running\", \"pending\", null, null]' WHERE thread_id = 'line' AND sequence = 9",
        "history: thread line, run two: is success, but by its events it is pending",
        "order: thread line, run back: event 12 starts it before run two, which was handed back",
    ),
    "an ended run that ends again": planted(
        "UPDATE events SET run_id = 'one' WHERE thread_id = 'line' AND sequence = 9",
        "history: thread line, run one: event 9 moves it from running, but it was success",
        "history: thread line, run two: is success, but by its events it is running",
        "running: thread line, run back: event 12 starts it while run two is running",
    ),
    "a move that is none": planted(
        "UPDATE events SET body = '[\"pending\", \"success\", null, null]', run_id = 'next' "
        "WHERE thread_id = 'line' AND sequence = 14",
        "history: thread line, run next: event 14 moves it from pending to success",
        "history: thread line, run next: is pending, but by its events it is success",
        "history: thread line, run back: is pending, but by its events it is running",
    ),
    "an outcome that is not the one told": planted(
        "UPDATE runs SET status = 'error', error_type = 'Oops' WHERE run_id = 'two'",
        "history: thread line, run two: is error, but by its events it is success",
        "list: thread line: is listed as idle, but its newest finished run left it error",
    ),
    "an end at another time": planted(
        "UPDATE runs SET end_time = 7 WHERE run_id = 'two'",
        "history: thread line, run two: its end is 7, by its events 1064000000",
    ),
    "an admission at another time": planted(
        "UPDATE runs SET create_time = 7 WHERE run_id = 'two'",
        "history: thread line, run two: create_time is 7, by its events 1064000000",
    ),
    "an epoch that was not reached": planted(
        "UPDATE runs SET epoch = 2 WHERE run_id = 'two'",
        "history: thread line, run two: epoch is 2, by its events 1",
    ),
    "a step of a run that was not running": planted(
        "UPDATE events SET run_id = 'two' WHERE thread_id = 'line' AND sequence = 5;"
        "UPDATE steps SET run_id = NULL WHERE thread_id = 'line' AND step = 1",
        "history: thread line, run two: event 5 tells of step 1 while it is pending",
        "step: thread line, run one: has made steps 1 to 1, but they are not all there",
        "step: thread line: steps 1 to 1 made by hand are there, but the events tell of steps 1 to 2 of run two",
    ),
    "an output after the end": planted(
        "UPDATE events SET run_id = 'hello' WHERE thread_id = 'talk' AND sequence = 10",
        "history: thread talk, run hello: event 10 tells of an output while it is success",
    ),
    "a record that is gone while its run is in flight": planted(
        "DELETE FROM runs WHERE run_id = 'next'",
        "history: thread line, run next: is pending by its events, but has no record",
    ),
    "a run of which no event tells": planted(
        "CREATE TEMP TABLE twins AS SELECT * FROM runs WHERE run_id = 'waiting';"
        "UPDATE twins SET run_id = 'twin', thread_id = 'long', sequence = 2, base_step = 4;"
        "INSERT INTO runs SELECT * FROM twins",
        "superseded: thread long, run twin: is superseded by second, which is of thread talk",
        "counter: thread long, run twin: has sequence 2, the thread's last is 1",
        "history: thread long, run twin: is interrupted, but no event tells of it",
    ),
    "an admission at another event": planted(
        "UPDATE runs SET first_event = 3 WHERE run_id = 'new'",
        "history: thread draining, run new: first_event is 3, which does not tell of its admission",
    ),
    "an admission that is not told": planted(
        "UPDATE events SET run_id = 'one' WHERE thread_id = 'line' AND sequence = 3",
        "history: thread line, run one: event 3 moves it from nothing, but it was pending",
        "history: thread line, run two: event 7 is the first to tell of it, and no admission",
        "history: thread line, run two: first_event is 3, which does not tell of its admission",
        "history: thread line, run one: first_event is 2, which does not tell of its admission",
        "counter: thread line, run one: has sequence 2, but was admitted as number 3",
    ),
    # The line
    "one that overtook": planted(
        "UPDATE runs SET due_time = create_time WHERE run_id = 'delayed'",
        "order: thread line, run one: event 4 starts it before run delayed, which was due and before it",
        "order: thread line, run two: event 7 starts it before run delayed, which was due and before it",
        "order: thread line, run back: event 12 starts it before run delayed, which was due and before it",
    ),
    "one that started before it was due": planted(
        "UPDATE runs SET due_time = due_time + 1 WHERE run_id = 'two'",
        "order: thread line, run two: event 7 starts it before it is due",
    ),
    # Who superseded whom
    "a successor of another thread": planted(
        "UPDATE runs SET superseded_by = 'new' WHERE run_id = 'waiting'",
        "superseded: thread talk, run waiting: is superseded by new, which is of thread draining",
        "history: thread talk, run waiting: superseded_by is new, by its events second",
    ),
    "a successor that came before": planted(
        "UPDATE runs SET superseded_by = 'hello' WHERE run_id = 'waiting'",
        "superseded: thread talk, run waiting: is superseded by hello, which was admitted before it",
        "history: thread talk, run waiting: superseded_by is hello, by its events second",
    ),
    "a successor that came before, by the events": planted(
        'UPDATE events SET body = \'["pending", "interrupted", "hello", "SUPERSEDED"]\' '
        "WHERE thread_id = 'talk' AND sequence = 14",
        "superseded: thread talk, run waiting: is superseded by hello, which was not admitted after it",
        "history: thread talk, run waiting: superseded_by is second, by its events hello",
    ),
    "a successor that never was": planted(
        'UPDATE events SET body = \'["pending", "interrupted", "ghost", "SUPERSEDED"]\' '
        "WHERE thread_id = 'talk' AND sequence = 14; UPDATE runs SET superseded_by = 'ghost' WHERE run_id = 'waiting'",
        "superseded: thread talk, run waiting: is superseded by ghost, which was not admitted before that",
    ),
    "a successor that did not come to interrupt": planted(
        "UPDATE runs SET strategy = 'enqueue' WHERE run_id = 'new'",
        "superseded: thread draining, run old: is interrupted by new, which came with enqueue",
    ),
    "no successor": planted(
        "UPDATE runs SET superseded_by = NULL WHERE run_id = 'waiting'",
        "superseded: thread talk, run waiting: is superseded by nobody",
        "history: thread talk, run waiting: superseded_by is None, by its events second",
    ),
    "a successor without the reason": planted(
        "UPDATE runs SET reason = 'CANCELLED' WHERE run_id = 'waiting'",
        "superseded: thread talk, run waiting: has the successor second, but the reason CANCELLED",
        "history: thread talk, run waiting: reason is CANCELLED, by its events SUPERSEDED",
    ),
    "successors in a circle": planted(
        "UPDATE tombstones SET superseded_by = 'alone' WHERE run_id = 'second';"
        "UPDATE tombstones SET superseded_by = 'second', reason = 'SUPERSEDED' WHERE run_id = 'alone'",
        "superseded: thread talk, run ",
        "rolled-back: thread talk, run second: its tombstone: superseded_by is alone, by its events third",
        "rolled-back: thread talk, run alone: its tombstone: superseded_by is second, by its events None",
        "rolled-back: thread talk, run alone: its tombstone: reason is SUPERSEDED, by its events CANCELLED",
    ),
    # What was rolled back
    "a rolled-back run's record": planted(
        "INSERT INTO tombstones (run_id, thread_id, superseded_by, reason, create_time, delete_time) "
        "VALUES ('waiting', 'talk', 'third', 'SUPERSEDED', 1, 2)",
        "rolled-back: thread talk, run waiting: was rolled back, but its record is there still",
        "history: thread talk, run waiting: has a tombstone, but no event tells of it",
    ),
    "a rolled-back run's record, by the events": planted(
        "DELETE FROM tombstones WHERE run_id = 'alone';"
        "UPDATE runs SET run_id = 'alone' WHERE run_id = 'hello';"
        "UPDATE steps SET run_id = 'alone' WHERE run_id = 'hello'",
        "history: thread talk, run alone: is success, but by its events it is deleted",
        "step: thread talk: steps 1 to 2 of run alone are there, but the events tell of steps 1 to 2 of run hello",
    ),
    "a tombstone of a run that is not deleted": planted(
        "INSERT INTO tombstones (run_id, thread_id, superseded_by, reason, create_time, delete_time) "
        "VALUES ('forgotten', 'talk', 'third', 'SUPERSEDED', 1, 2)",
        "history: thread talk, run forgotten: has a tombstone, but by its events it is success",
        "rolled-back: thread talk, run forgotten: was rolled back, but steps 8 to 9 of it are there still",
    ),
    "a tombstone that tells another cause": planted(
        "UPDATE tombstones SET reason = 'TIMEOUT' WHERE run_id = 'alone'",
        "rolled-back: thread talk, run alone: was rolled back with the reason 'TIMEOUT'",
        "rolled-back: thread talk, run alone: its tombstone: reason is TIMEOUT, by its events CANCELLED",
    ),
    "a tombstone without its successor": planted(
        "UPDATE tombstones SET superseded_by = NULL WHERE run_id = 'second'",
        "rolled-back: thread talk, run second: was rolled back with the reason SUPERSEDED and no successor",
        "rolled-back: thread talk, run second: its tombstone: superseded_by is None, by its events third",
    ),
    "a tombstone of a run that another thread's rolled back": planted(
        "UPDATE tombstones SET superseded_by = 'new' WHERE run_id = 'second'",
        "rolled-back: thread talk, run second: is superseded by new, which is of thread draining",
        "rolled-back: thread talk, run second: its tombstone: superseded_by is new, by its events third",
    ),
    "a successor that did not come to roll back": planted(
        "UPDATE runs SET strategy = 'interrupt' WHERE run_id = 'third'",
        "rolled-back: thread talk, run second: was rolled back by third, which came with interrupt",
    ),
    "a tombstone of another time": planted(
        "UPDATE tombstones SET delete_time = 5 WHERE run_id = 'alone'",
        "rolled-back: thread talk, run alone: its tombstone: its end is 5, by its events 1001000000",
    ),
    "a rolled-back run's step": planted(
        "INSERT INTO steps (thread_id, step, run_id, create_time, body) VALUES ('talk', 10, 'second', 1, '{}');"
        "UPDATE threads SET last_step = 10 WHERE thread_id = 'talk'",
        "rolled-back: thread talk, run second: was rolled back, but steps 10 to 10 of it are there still",
        "step: thread talk: steps 10 to 10 of run second are there, but the events tell of no more",
    ),
    "a rolled-back run's output": planted(
        "UPDATE events SET body = '[\"tokens\",\"{}\"]' WHERE thread_id = 'talk' AND sequence = 18",
        "rolled-back: thread talk, run second: was rolled back, but its output in event 18 is there still",
    ),
}
