"""What the journal's arithmetic finds: every planted fault, and nothing in a clean journal. No peer is needed."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bench.peers import charts, journal, section
from bench.peers.journal import Journal, Mark, gaps, inversions, lost, overlaps, parse

MS = 1_000_000


def marks(*lines: str) -> list[Mark]:
    """From "NUMBER MARK MILLISECONDS [PID]"."""
    found = (line.split() for line in lines)
    return list(parse(f"t {n} 0 {what} {int(at) * MS} {pid[0] if pid else 1}" for n, what, at, *pid in found))


CLEAN = ("1 start 0", "1 end 50", "2 start 53", "2 stopped 70", "3 start 71", "3 end 121")


def test_a_clean_journal_has_no_fault() -> None:
    assert overlaps(marks(*CLEAN)) == 0
    assert inversions(marks(*CLEAN)) == 0
    assert gaps(marks(*CLEAN)) == [3, 1]


def test_a_start_before_the_end_of_another_is_an_overlap_and_no_gap() -> None:
    planted = marks("1 start 0", "2 start 49", "1 end 50", "2 end 99")
    assert overlaps(planted) == 1
    assert gaps(planted) == []


def test_a_run_that_goes_on_after_it_was_superseded_is_an_overlap() -> None:
    assert overlaps(marks("1 start 0", "1 end 50", "1 start 51", "2 start 60", "1 end 101", "2 end 110")) == 1


def test_a_run_inside_another_does_not_hide_the_next_overlap() -> None:
    assert overlaps(marks("1 start 0", "2 start 10", "2 end 20", "3 start 30", "3 end 40", "1 end 50")) == 2


def test_a_run_that_a_new_process_begins_again_overlaps_nothing() -> None:
    assert overlaps(marks("1 start 0 7", "2 start 40 8", "2 end 45 8", "1 start 46 8", "1 end 99 8")) == 0


def test_a_run_that_a_new_process_begins_while_the_old_one_works_is_an_overlap() -> None:
    assert overlaps(marks("1 start 0 7", "1 start 40 8", "1 end 50 7", "1 end 90 8")) == 1


def test_each_run_that_starts_after_a_later_one_is_an_inversion() -> None:
    assert inversions(marks("1 start 0", "3 start 10", "2 start 20", "4 start 30")) == 1
    assert inversions(marks("3 start 0", "1 start 10", "2 start 20")) == 2


def test_a_run_that_is_begun_again_counts_from_its_first_start() -> None:
    assert inversions(marks("1 start 0 7", "2 start 10 8", "1 start 20 8")) == 0


async def test_what_was_accepted_and_never_ended_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    monkeypatch.setenv(journal.VARIABLE, str(path))
    await journal.work("a", 1, 0, 0)
    stopped = asyncio.create_task(journal.work("a", 2, 0, 60))
    read = Journal(path)
    while read.started("a", 2) is None:
        await asyncio.sleep(0)
        read.look()
    stopped.cancel()
    await asyncio.gather(stopped, return_exceptions=True)
    read.look()
    assert [mark.what for mark in read.marks["a"]] == ["start", "end", "start", "stopped"]
    assert lost(read, [("a", 1)]) == 0
    assert lost(read, [("a", 1), ("a", 2), ("b", 1)]) == 2


def test_a_line_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text("a 1 0 start 5 1\na 1 0 e")
    read = Journal(path)
    read.look()
    assert not read.done("a", 1)
    with path.open("a") as file:
        file.write("nd 9 1\n")
    read.look()
    assert read.done("a", 1)


def system(title: str, **scenarios: Any) -> dict[str, Any]:
    told = {"title": title, "configured": "As it comes.", "page": "a page", "composed": [], "versions": {"x": "1"}}
    return {**told, "not_run": "", "rounds": [scenarios, scenarios]}


IDLE = {"create_start": [10.0] * 99 + [30.0], "create_join": [20.0]}
OURS = system(
    "doubletext",
    idle=IDLE,
    busy={"runs_per_second": 200.0},
    queue={"finish_start": [4.0], "overlaps": 0, "inversions": 0, "runs": 40, "unfinished": 0},
    interrupt={"start": [5.0], "overlaps": 0, "runs": 16},
    rollback={"start": [6.0], "overlaps": 0, "runs": 16, "left": 0, "rolled_back": 15},
    reject={"refused": True},
    kill={"accepted": 200, "open_at_kill": 90, "lost": 0, "overlaps": 0, "inversions": 0},
)
PEER = system(
    "Peer",
    idle={"create_start": [25.0], "create_join": [10.0]},
    busy={"runs_per_second": 50.0},
    queue={"finish_start": [40.0], "overlaps": 3, "inversions": 2, "runs": 40, "unfinished": 1},
    interrupt=None,
    rollback=None,
    reject=None,
)
AWAY = {**system("Away"), "rounds": [], "not_run": "go is not there"}
RESULT = {"rounds": 2, "systems": {"doubletext": OURS, "peer": PEER, "away": AWAY}}


def cells(page: str, row: str) -> list[str]:
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {row} |")]
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_the_page_has_numbers_for_what_was_measured_and_none_for_what_a_peer_lacks() -> None:
    page, away = section(RESULT), "not run: go is not there"
    assert cells(page, "create → start, ms") == ["10 / 10", "25 / 25 (2.5×)", away]
    assert cells(page, "runs/s, 64 callers") == ["200", "50 (0.25×)", away]
    assert cells(page, "interrupt → successor starts, ms") == ["5.0 / 5.0", "none", away]
    assert cells(page, "rollback") == ["yes", "none", away]
    assert cells(page, "overlaps while queued") == ["0 of 80", "6 of 80", away]
    assert cells(page, "inputs lost by kill -9") == ["0 of 400", "none", away]


def test_a_rollback_that_left_an_input_in_the_state_is_no_rollback() -> None:
    kept = {"start": [6.0], "overlaps": 0, "runs": 16, "left": 2, "rolled_back": 15}
    page = section({**RESULT, "systems": {"peer": {**PEER, "rounds": [{"rollback": kept}]}}})
    assert cells(page, "rollback") == ["not always: see below"]
    assert cells(page, "rolled-back inputs left in the state") == ["2 of 15"]


def test_the_charts_leave_out_what_is_not_there(tmp_path: Path) -> None:
    times, rates = charts(RESULT, tmp_path)
    assert "Peer" in times.read_text()
    assert "Away" not in times.read_text() + rates.read_text()
