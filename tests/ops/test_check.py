"""`check`: a healthy file passes, and what is wrong with one is found and named."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from doubletext_server.store.check import Kind, Report, check
from doubletext_server.store.check.report import SHOWN
from doubletext_statemachine.words import RunStatus
from tests.ops.conftest import ROOT, spoil
from tests.ops.corrupt_histories import HISTORIES
from tests.ops.corrupt_rows import ROWS

CORRUPTIONS: Final = {**ROWS, **HISTORIES}


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def findings(path: Path) -> list[str]:
    return list(check(str(path)).lines())


def test_a_healthy_file_passes(played: Path) -> None:
    report = check(str(played))
    assert list(report.lines()) == []
    assert report.ok
    assert report.summary() == "6 threads, 24 runs, 29 steps, 117 events"


def test_a_single_thing_is_counted_in_the_singular() -> None:
    assert Report(threads=1, runs=2, steps=0, events=1).summary() == "1 thread, 2 runs, 0 steps, 1 event"


def test_the_healthy_file_has_runs_of_every_status(played: Path) -> None:
    statuses = {str(status) for (status,) in query(played, "SELECT status FROM runs")}
    assert statuses | {"deleted"} == {status.value for status in RunStatus}
    for table in ("tombstones", "requests", "snapshots"):
        assert len(query(played, f"SELECT * FROM {table}")) >= 2


def test_a_healthy_file_passes_wherever_its_events_were_trimmed(copy: Path) -> None:
    ((longest,),) = query(copy, "SELECT max(last_event) FROM threads")
    assert isinstance(longest, int)
    for oldest in range(2, longest + 2):
        spoil(
            copy,
            f"UPDATE threads SET first_event = {oldest} WHERE last_event >= {oldest} - 1;"
            f"DELETE FROM events WHERE sequence < {oldest};",
        )
        assert findings(copy) == [], oldest


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_planted_corruption_is_found_and_named(copy: Path, name: str) -> None:
    script, says = CORRUPTIONS[name]
    spoil(copy, script)
    found = findings(copy)
    for line in says:
        assert any(each.startswith(line) for each in found), (line, found)
    for each in found:
        assert each.startswith(says), each


TRIMMED: Final = {
    "an outcome that is not the one told",
    "an event that is gone",
    "a rolled-back run's output",
    "a rolled-back run's step",
    "a last step that is gone",
    "a counter of steps that is ahead",
    "sequences that changed places",
}


@pytest.mark.parametrize("name", sorted(TRIMMED))
def test_a_corruption_is_found_where_older_events_were_trimmed(copy: Path, name: str) -> None:
    spoil(copy, "UPDATE threads SET first_event = 3; DELETE FROM events WHERE sequence < 3;")
    assert findings(copy) == []
    script, says = CORRUPTIONS[name]
    spoil(copy, script)
    assert any(each.startswith(says) for each in findings(copy))


def test_every_kind_is_planted_and_stands_in_the_docs() -> None:
    planted = {line.partition(":")[0] for corruption in CORRUPTIONS.values() for line in corruption.says}
    assert {*planted, "file"} == {kind.value for kind in Kind}
    section = (ROOT / "docs" / "operations.md").read_text().split("\n## Checking a file\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE) == [kind.value for kind in Kind]


# The file itself


def page_of(path: Path, name: str) -> tuple[int, int]:
    """Where the root page of a table or index begins, and its size."""
    ((number,),) = query(path, f"SELECT rootpage FROM sqlite_schema WHERE name = '{name}'")
    ((size,),) = query(path, "PRAGMA page_size")
    assert isinstance(number, int)
    assert isinstance(size, int)
    return (number - 1) * size, size


def test_a_page_that_was_overwritten_is_found_and_the_rest_checked_all_the_same(copy: Path) -> None:
    elsewhere = "a request id of another thread's run"
    spoil(copy, CORRUPTIONS[elsewhere].script)
    at, size = page_of(copy, "steps")
    content = bytearray(copy.read_bytes())
    content[at : at + size] = b"\xff" * size
    copy.write_bytes(content)
    found = findings(copy)
    assert any(line.startswith("file: ") and "btreeInitPage() returns error" in line for line in found)
    assert "file: cannot check thread work: database disk image is malformed" in found
    assert CORRUPTIONS[elsewhere].says[0] in found


def test_an_index_that_lacks_a_row_is_found(copy: Path) -> None:
    at, size = page_of(copy, "runs_by_sequence")
    content = bytearray(copy.read_bytes())
    name = content.index(b"talk", at, at + size)
    content[name : name + 4] = b"tall"
    copy.write_bytes(content)
    assert any(re.match(r"file: row \d+ missing from index runs_by_sequence", line) for line in findings(copy))


def test_a_text_that_is_none_does_not_end_the_check(copy: Path) -> None:
    spoil(copy, "UPDATE runs SET superseded_by = CAST(x'ff' AS TEXT) WHERE run_id = 'waiting';")
    spoil(copy, CORRUPTIONS["a snapshot that is not the fold"].script)
    found = findings(copy)
    assert any(line.startswith("file: ") and "decode" in line for line in found)
    assert any(line.startswith("snapshot: ") for line in found)


def test_of_many_violations_of_a_kind_the_first_are_shown_and_the_rest_counted(copy: Path) -> None:
    spoil(copy, "UPDATE steps SET body = 'x'; UPDATE runs SET metadata = 'x';")
    report = check(str(copy))
    (*shown, more) = [line for line in report.lines() if line.startswith("json: ")]
    assert (len(shown), more) == (SHOWN, f"json: and {29 + 24 - SHOWN} more")
    assert report.count[Kind.JSON] == 29 + 24


def test_a_check_changes_nothing(copy: Path) -> None:
    spoil(copy, CORRUPTIONS["a step in the middle that is gone"].script)
    before = copy.read_bytes()
    assert findings(copy)
    assert copy.read_bytes() == before
