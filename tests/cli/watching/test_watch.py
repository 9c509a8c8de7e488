"""`watch`: a thread's events as lanes on a terminal, as lines in a pipe, as JSON."""

import json
import re
from typing import Final

import pytest

from doubletext import types
from doubletext.cli.exit_codes import Exit
from doubletext.cli.render.events import events_of, line
from tests.cli.command_line import ANSI, Server, Verbs
from tests.cli.watching.conftest import LogOf, ends
from tests.cli.watching.terminal import CTRL_C, SEQUENCE, pipe, terminal
from tests.support.server import Service

HOLD: Final = ("--input", '{"hold": true}')


@pytest.fixture
def log(verbs: Verbs, thread_id: str, held: str, log_of: LogOf) -> list[types.Event]:
    """What happened on a thread where a second message interrupted the first."""
    second = verbs.json("run", "create", thread_id, "talks", "--message", "and now?", "--strategy", "interrupt")
    return log_of(thread_id, ends(second["run_id"]))


def parsed(lines: list[str]) -> list[types.Event]:
    return [json.loads(line) for line in lines]


# In a pipe


def test_json_lines_are_the_log_what_is_there_and_what_comes(
    server: Server, verbs: Verbs, thread_id: str, log: list[types.Event], log_of: LogOf
) -> None:
    with pipe("watch", thread_id, "--json", "--server", server.address) as watching:
        assert parsed(watching.lines(len(log))) == log
        third = verbs.json("run", "create", thread_id, "talks", "--message", "more", "--join")["run"]["run_id"]
        whole = log_of(thread_id, ends(third))
        assert len(whole) > len(log)
        assert parsed(watching.lines(len(whole) - len(log))) == whole[len(log) :]
        verbs("thread", "delete", thread_id)
        assert watching.end() == (Exit.DONE, [], f"thread {thread_id} was deleted\n")


@pytest.mark.parametrize("split", [1, 7, -1])
def test_a_watch_goes_on_after_the_event_that_was_the_last(
    server: Server, thread_id: str, log: list[types.Event], split: int
) -> None:
    after = log[:split][-1]["sequence"]
    with pipe("watch", thread_id, "--json", "--after", str(after), "--server", server.address) as watching:
        assert parsed(watching.lines(len(log) - after)) == log[after:]


def test_a_pipe_gets_a_line_an_event_and_nothing_that_a_terminal_obeys(
    server: Server, thread_id: str, log: list[types.Event]
) -> None:
    with pipe("watch", thread_id, "--server", server.address) as watching:
        lines = watching.lines(len(log))
        watching.interrupt()
        assert watching.end() == (Exit.STOPPED, [], "")
    assert lines == [line(event) for event in log]
    for told, event in zip(lines, log, strict=True):
        assert told.startswith(f"{event['sequence']}  {event['time']}  {event['run_id']}  ")
        assert not ANSI.search(told)
    held, second = log[0]["run_id"], log[-1]["run_id"]
    assert any(told.endswith(f"{held}  interrupted  SUPERSEDED by {second}") for told in lines)
    assert any(told.endswith(f'{held}  tokens  {{"text": "\\u001b[31msunny"}}') for told in lines)
    assert any("step 2  " in told and "It is sunny." in told for told in lines)


def test_a_thread_that_is_not_there_is_exit_3(verbs: Verbs) -> None:
    assert verbs.error("watch", "nowhere", code=Exit.NOT_FOUND)["reason"] == "THREAD_NOT_FOUND"


async def test_a_watch_begins_with_the_oldest_event_that_is_kept(service: Service) -> None:
    thread_id = await service.thread()
    for number in range(5):
        await service.client.threads.update_state(thread_id, {"n": number})

    def trim(connection: object) -> None:
        connection.execute("DELETE FROM events WHERE thread_id = ? AND sequence < 3", (thread_id,))  # type: ignore[attr-defined]
        connection.execute("UPDATE threads SET first_event = 3 WHERE thread_id = ?", (thread_id,))  # type: ignore[attr-defined]

    await service.sqlite.writer.run(trim)
    found = []
    async for event in events_of(service.client, thread_id, None):
        found.append(event)
        if len(found) == 3:
            break
    assert [event["sequence"] for event in found] == [3, 4, 5]
    assert line(found[0]).endswith('Z  by hand  step 3  {"n": 2}')


# On a terminal


def row(drawing: str, run_id: str) -> str:
    (found,) = [line for line in drawing.splitlines() if line.startswith(run_id[-8:])]
    return found


def test_lanes_show_each_run_with_its_strategy_status_steps_and_outputs(
    server: Server, verbs: Verbs, thread_id: str, held: str
) -> None:
    with terminal("watch", thread_id, "--server", server.address) as watching:
        watching.until(held[-8:], "running", "■■ 2", '{"holding": "on"}')
        second = verbs.json("run", "create", thread_id, "talks", *HOLD, "--strategy", "interrupt")["run_id"]
        watching.until(f"interrupted → {second[-8:]}", "■■ 4", "interrupt ", '{"holding": "on"}')
        queued = verbs.json("run", "create", thread_id, "talks", "--strategy", "enqueue")["run_id"]
        watching.until(f"{queued[-8:]}  enqueue    pending")
        third = verbs.json("run", "create", thread_id, "talks", *HOLD, "--strategy", "rollback")["run_id"]
        watching.until(f"deleted → {third[-8:]}", "running", "rollback ", "■■ 4", '{"holding": "on"}')
        watching.type(CTRL_C)
        assert watching.end() == Exit.STOPPED
    last = left_behind(watching.written)
    assert re.search(r"thread \S+, event \d+ *\n", last)
    order = [last.index(run_id[-8:]) for run_id in (held, second, queued)]
    assert order == sorted(order)
    assert row(last, held).split()[1:5] == ["enqueue", "interrupted", "→", second[-8:]]
    assert row(last, second).split()[2:6] == ["deleted", "→", third[-8:], "□□"]
    assert row(last, queued).split()[2:] == ["deleted", "→", third[-8:]]
    assert row(last, third).split()[1:5] == ["rollback", "running", "■■", "4"]
    assert re.search(r"to go on from here: --after \d+\n", last)
    assert "Traceback" not in watching.written
    assert "\x1b[1;36mrunning" in watching.written


def left_behind(written: str) -> str:
    """What stands on the terminal once it is back on its own screen."""
    _, there, after = written.partition("\x1b[?1049l")
    assert there
    return SEQUENCE.sub("", after).replace("\r\n", "\n")


def test_pieces_of_text_are_joined_and_colour_nothing(server: Server, verbs: Verbs, thread_id: str) -> None:
    given = json.dumps({"hold": True, "then": ["On", " and", " \x1b[31mon"]})
    run_id = verbs.json("run", "create", thread_id, "talks", "--input", given)["run_id"]
    with terminal("watch", thread_id, "--server", server.address) as watching:
        watching.until("running", "enqueue", "  On and \\x1b[31mon")
        watching.type(CTRL_C)
        watching.end()
    assert row(left_behind(watching.written), run_id).rstrip().endswith("  On and \\x1b[31mon")
    assert "\x1b[31m" not in watching.written


def test_lanes_have_room_in_the_terminal_and_what_runs_is_among_them(
    server: Server, verbs: Verbs, thread_id: str, held: str
) -> None:
    queued = [verbs.json("run", "create", thread_id, "talks", "--strategy", "enqueue")["run_id"] for _ in range(15)]
    with terminal("watch", thread_id, "--server", server.address, lines=10, columns=60) as watching:
        watching.until(held[-8:], "running", queued[-1][-8:], "9 more above", "enqueue   pending")
        watching.resize(20, 60)
        watching.until(held[-8:], "running", queued[0][-8:], queued[-1][-8:])
        watching.type(CTRL_C)
        watching.end()
    small = [drawing for drawing in watching.drawings[1:] if "more above" in drawing]
    assert small
    for drawing in small:
        lines = drawing.split("\x1b")[0].split("\n")
        assert len(lines) <= 10
        assert all(len(line) <= 60 for line in lines)


def test_a_thread_that_is_deleted_ends_the_lanes(server: Server, verbs: Verbs, thread_id: str, held: str) -> None:
    with terminal("watch", thread_id, "--server", server.address) as watching:
        watching.until(held[-8:], "enqueue", "running")
        verbs("thread", "delete", thread_id)
        assert watching.end() == Exit.DONE
    last = left_behind(watching.written)
    assert row(last, held).split()[2:4] == ["deleted", "thread_deleted"]
    assert f"thread {thread_id} was deleted\n" in last


def test_a_terminal_that_cannot_draw_gets_lines(server: Server, thread_id: str, log: list[types.Event]) -> None:
    with terminal("watch", thread_id, "--server", server.address, term="dumb", columns=500) as watching:
        watching.until(line(log[-1]))
        watching.type(CTRL_C)
        assert watching.end() == Exit.STOPPED
    assert watching.written.startswith(line(log[0]))
