"""`doubletext check`: what it says, and its exit code."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.cli.command_line import invoke
from tests.cli.processes import execute


async def test_the_exit_code_says_whether_a_file_is_sound_unsound_or_unreadable(played: Path, copy: Path) -> None:
    assert await execute("-m", "doubletext", "check", str(played)) == (
        0,
        "ok: 6 threads, 24 runs, 29 steps, 117 events\n",
    )
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE threads SET last_step = 10 WHERE thread_id = 'talk'")
    assert await execute("-m", "doubletext", "check", str(copy)) == (
        1,
        "counter: thread talk: last_step is 10, but the newest step there is 9\n"
        "wrong: 1 violation in 6 threads, 24 runs, 29 steps, 117 events\n",
    )


def unreadable(path: Path) -> str:
    result = invoke("check", str(path))
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert result.output.startswith("Error: ")
    assert str(path) in result.output
    return result.output


async def test_a_file_that_cannot_be_checked_is_named_with_the_reason(copy: Path, tmp_path: Path) -> None:
    assert "No such file or directory" in unreadable(tmp_path / "missing.db")
    assert "Is a directory" in unreadable(tmp_path)
    text = tmp_path / "text.db"
    text.write_text("dear diary")
    assert "it is not a database" in unreadable(text)
    for version, says in ((99, "use a newer check"), (1, "serve it, or a copy of it, once")):
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        assert says in unreadable(copy)
    with copy.open("r+b") as file:
        file.truncate(5_000)
    code, said = await execute("-m", "doubletext", "check", str(copy))
    assert (code, said.count("\n")) == (2, 1)
    assert "malformed" in said
