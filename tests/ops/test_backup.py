"""`backup`: a file of its own, complete, while the server goes on; and nothing at all where it cannot be made."""

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from doubletext import jsontext
from doubletext_server.engine.changes import Changes
from doubletext_server.store.check import check
from doubletext_server.store.sqlite.backup import CannotBackUp, backup
from doubletext_server.store.sqlite.store import SqliteStore
from doubletext_server.store.sqlite.visit import visit
from doubletext_statemachine import commands
from tests.ops.conftest import ROOT
from tests.support.clock import SECOND, ManualClock
from tests.support.database_files import a_foreign_database, an_empty_file, beside, untouched

HEADER: Final = slice(18, 20)
"""Where a file says how it is journaled: 1 for the rollback journal, 2 for WAL."""


def rows(path: Path, table: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return sorted(connection.execute(f"SELECT * FROM {table}"), key=repr)


def test_a_backup_holds_the_same_rows_and_needs_no_other_file(played: Path, tmp_path: Path) -> None:
    target = tmp_path / "it's 100% #1?.db"
    size = backup(str(played), str(target))
    assert beside(target) == [target.name]
    assert target.stat().st_size == size
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert (played.read_bytes()[HEADER], target.read_bytes()[HEADER]) == (b"\2\2", b"\1\1")
    assert check(str(target)).ok
    assert beside(target) == [target.name]
    for table in ("assistants", "threads", "runs", "steps", "events", "tombstones", "requests", "snapshots"):
        assert rows(target, table) == rows(played, table) != []


async def test_a_store_opens_a_backup_and_goes_on(played: Path, tmp_path: Path) -> None:
    target = tmp_path / "restored.db"
    backup(str(played), str(target))
    store = await SqliteStore.open(str(target), ManualClock(2_000 * SECOND))
    try:
        assert jsontext.loads((await store.state("talk")).values)["messages"] == ["hi", "so far", "bye"]
        await Changes(store).change(commands.CreateThread("after"))
    finally:
        await store.close()
    report = check(str(target))
    assert (report.ok, report.threads) == (True, 7)


HOLD: Final = """
import sys
from doubletext_server.store.sqlite.visit import visit

with visit(sys.argv[1]) as connection:
    print("open", flush=True)
    sys.stdin.readline()
    print(connection.execute("SELECT count(*) FROM threads").fetchone()[0])
"""


def reading(path: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", HOLD, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


async def test_a_reading_from_another_process_holds_up_no_writer_and_sees_what_was_there_before(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await SqliteStore.open(str(path), ManualClock())
    try:
        await Changes(store).change(commands.CreateThread("before"))
        with reading(path) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "open\n"
            for number in range(100):
                await Changes(store).change(commands.CreateThread(f"meanwhile {number}"))
            out, _ = reader.communicate("\n", timeout=30)
    finally:
        await store.close()
    assert out == "1\n"


def test_a_reading_cannot_write(played: Path) -> None:
    with visit(str(played)) as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM threads")


KILLED: Final = """
import asyncio, os, sys
from doubletext_server.clock import system_clock
from doubletext_server.engine.changes import Changes
from doubletext_server.store.sqlite.store import SqliteStore
from doubletext_server.store.sqlite.visit import visit
from doubletext_statemachine import commands
from doubletext_statemachine.commands import CreateThread

async def main():
    store = await SqliteStore.open(sys.argv[1], system_clock)
    await Changes(store).change(CreateThread("zebra"))
    os._exit(0)

asyncio.run(main())
"""


def test_what_is_only_in_the_log_of_a_server_that_was_killed_is_backed_up_too(tmp_path: Path) -> None:
    db, target = tmp_path / "killed.db", tmp_path / "out" / "backup.db"
    target.parent.mkdir()
    subprocess.run([sys.executable, "-c", KILLED, str(db)], check=True, cwd=ROOT)
    assert b"zebra" not in db.read_bytes()
    backup(str(db), str(target))
    assert [row[0] for row in rows(target, "threads")] == ["zebra"]
    assert beside(target) == [target.name]


# Refused


def refusal(path: Path, target: Path) -> str:
    """What a backup is refused with; it leaves everything as it was."""
    with untouched(target if target.parent.is_dir() else path), pytest.raises(CannotBackUp) as refused:
        backup(str(path), str(target))
    return str(refused.value)


def test_a_file_that_is_there_already_is_not_overwritten(played: Path, tmp_path: Path) -> None:
    target = tmp_path / "there.db"
    target.write_text("dear diary")
    assert refusal(played, target) == f"{target} is there already; choose another name, or move it away"
    target.unlink()
    target.symlink_to("nowhere")
    assert "is there already" in refusal(played, target)


def a_text(path: Path) -> None:
    path.write_text("dear diary\n" * 100)


def nothing(path: Path) -> None:
    pass


STRANGE: Final[dict[str, tuple[Callable[[Path], None], str]]] = {
    "a foreign database": (a_foreign_database, "it is a database of another program; "),
    "a text": (a_text, "it is not a database; "),
    "an empty file": (an_empty_file, "it is empty; "),
    "a directory": (Path.mkdir, "Is a directory; "),
    "nothing": (nothing, "No such file or directory; "),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_a_file_that_is_none_of_ours_is_not_backed_up(tmp_path: Path, kind: str) -> None:
    make, says = STRANGE[kind]
    path, target = tmp_path / "strange", tmp_path / "out" / "backup.db"
    make(path)
    target.parent.mkdir()
    assert refusal(path, target).startswith(f"cannot read {path}: {says}")


def test_a_place_that_is_not_there_is_named(played: Path, tmp_path: Path) -> None:
    target = tmp_path / "nowhere" / "backup.db"
    assert refusal(played, target) == f"cannot write {target}: No such file or directory"


LIMITED: Final = """
import resource, sys
from doubletext.cli.main import main

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
main(["backup", "--db", sys.argv[1], sys.argv[2]])
"""


def test_where_there_is_no_room_nothing_is_left(played: Path, tmp_path: Path) -> None:
    assert played.stat().st_size > 200_000
    command = [sys.executable, "-c", LIMITED, str(played), str(tmp_path / "backup.db")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith(f"Error: cannot back up {played} to {tmp_path / 'backup.db'}: "), result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_a_disk_that_fails_at_the_end_leaves_nothing(
    played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    target = tmp_path / "backup.db"
    with monkeypatch.context() as broken:
        broken.setattr(os, failing, fail)
        assert refusal(played, target) == f"cannot write {target}: Input/output error"
    assert os.path.lexists(target) is False
