"""The lanes themselves: what events make of them, and which of them are seen."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from doubletext import types
from doubletext.cli.render.lanes import KEPT, KEPT_TEXT, Lanes


class Thread:
    """A thread's events, made up one by one, and its lanes."""

    def __init__(self) -> None:
        self.lanes = Lanes("t")

    def __call__(self, run_id: str, **kind: Any) -> None:
        event: Any = {"sequence": self.lanes.last_event + 1, "thread_id": "t", "run_id": run_id, "time": None, **kind}
        made: types.Event = event
        self.lanes.on_event(made)

    def move(self, run_id: str, to: str, superseded_by: str = "", reason: str = "") -> None:
        changed = {"from": None, "to": to, "superseded_by": superseded_by, "reason": reason}
        self(run_id, run_changed=changed)

    def step(self, run_id: str, number: int) -> None:
        self(run_id, step_committed={"step": number, "update": {"n": number}})

    def says(self, run_id: str, text: str, channel: str = "tokens") -> None:
        self(run_id, output={"channel": channel, "data": {"text": text}})

    def drawn(self, height: int = 30, width: int = 100) -> list[str]:
        console = Console(file=StringIO(), width=width, height=height)
        with console.capture() as capture:
            console.print(self.lanes.table(height))
        return [line.rstrip() for line in capture.get().splitlines()]


@pytest.fixture
def thread() -> Thread:
    return Thread()


def test_pieces_of_text_are_joined_and_everything_else_begins_anew(thread: Thread) -> None:
    for text in ("It ", "is", "\nsun\x1b[31mny"):
        thread.says("a", text)
    assert thread.drawn()[-1].endswith("  It is\\nsun\\x1b[31mny")
    thread.says("a", "looking", channel="progress")
    assert thread.drawn()[-1].endswith('  progress: {"text": "looking"}')
    thread.says("a", "And")
    assert thread.drawn()[-1].endswith("  And")


def test_of_a_long_text_the_end_is_seen(thread: Thread) -> None:
    for _ in range(1000):
        thread.says("a", "weather 天気 ")
    thread.says("a", "the end")
    (line,) = [line for line in thread.drawn(width=60) if line.endswith("the end")]
    assert "…" in line
    assert "天気" in line
    (lane,) = thread.lanes.visible(30)
    assert len(lane.shown) <= KEPT_TEXT


def test_a_second_attempt_is_counted_and_says_why(thread: Thread) -> None:
    thread.move("a", "pending")
    thread.move("a", "running")
    thread.move("a", "pending", reason="LEASE_LOST")
    assert "pending lease_lost" in thread.drawn()[-1]
    thread.move("a", "running")
    assert "running (attempt 2)" in thread.drawn()[-1]


def test_steps_by_hand_have_a_lane_between_the_runs(thread: Thread) -> None:
    thread.move("a", "success")
    thread.step("", 1)
    thread.step("", 2)
    thread.move("b", "success")
    thread.step("", 3)
    assert [line.split()[0] for line in thread.drawn()[2:]] == ["a", "by", "b", "by"]
    assert "■■ 2" in thread.drawn()[3]


def test_a_run_of_many_steps_has_a_short_bar(thread: Thread) -> None:
    for number in range(1, 101):
        thread.step("a", number)
    assert thread.drawn()[-1].split()[1] == "…" + "■" * 11
    assert " 100 " in thread.drawn()[-1]


def test_what_others_wrote_is_no_markup(thread: Thread) -> None:
    thread.says("a", "[bold]not bold[/bold] [/]")
    assert thread.drawn()[-1].endswith("[bold]not bold[/bold] [/]")


@pytest.mark.parametrize("height", [1, 4, 10, 25])
def test_the_table_is_no_higher_than_the_terminal(thread: Thread, height: int) -> None:
    for number in range(30):
        thread.move(f"run {number}", "running" if number == 0 else "pending")
    drawn = thread.drawn(height)
    assert len(drawn) <= max(height, 3)
    assert drawn[2].startswith("run 0")  # what runs is always seen
    assert height < 5 or drawn[-1].startswith("run 29")


def test_lanes_of_runs_that_ended_are_forgotten_in_the_end(thread: Thread) -> None:
    thread.move("waits", "pending")
    for number in range(2 * KEPT):
        thread.move(f"run {number}", "success")
    assert len(thread.lanes.visible(10_000)) <= KEPT + 2
    assert thread.lanes.visible(10_000)[0].run_id == "waits"
