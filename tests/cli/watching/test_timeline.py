"""`thread timeline`: the chart is well-formed, has every run with what became of it, and says nothing but that."""

import re
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest

from doubletext.cli.exit_codes import Exit
from tests.cli.command_line import ROOT, Server, Verbs, run, serving
from tests.cli.watching.conftest import calling

HOLD: Final = ("--input", '{"hold": true}')


class Chart:
    """What an SVG file says: its texts, and the ids of its elements."""

    def __init__(self, file: Path) -> None:
        root = ElementTree.parse(file).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        self.texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
        self.ids = {element.get("id", "") for element in root.iter()}

    def spans(self, run_id: str) -> list[str]:
        """The phases of a run, in order."""
        found = sorted((id.split("-")[1], id.split("-")[0]) for id in self.ids if re.match(rf"\w+-\d-{run_id}", id))
        return [phase for _, phase in found]


@pytest.fixture
def chart(verbs: Verbs, tmp_path: Path) -> Any:
    def drawn(thread_id: str, *options: str, runs: int) -> Chart:
        file = tmp_path / "chart.svg"
        assert verbs.json("thread", "timeline", thread_id, "--svg", str(file), *options) == {
            "svg": str(file),
            "runs": runs,
        }
        return Chart(file)

    return drawn


def create(verbs: Verbs, thread_id: str, strategy: str, *more: str) -> str:
    run_id: str = verbs.json("run", "create", thread_id, "talks", "--strategy", strategy, *more)["run_id"]
    return run_id


def test_the_chart_has_every_run_with_what_became_of_it(verbs: Verbs, thread_id: str, chart: Any) -> None:
    first = create(verbs, thread_id, "reject")
    verbs("run", "join", first)
    running = create(verbs, thread_id, "enqueue", *HOLD)
    while verbs.json("run", "get", running)["last_step"] < 4:
        pass
    interrupting = create(verbs, thread_id, "interrupt", *HOLD)
    while verbs.json("run", "get", interrupting)["last_step"] < 6:
        pass
    undone = create(verbs, thread_id, "enqueue")
    undoing = create(verbs, thread_id, "rollback", *HOLD)
    while verbs.json("run", "get", undoing)["last_step"] < 6:
        pass
    queued = create(verbs, thread_id, "enqueue")
    made = chart(thread_id, runs=6)
    assert made.spans(first) == ["queued", "running"]
    assert made.spans(running) == ["queued", "running", "draining"]
    assert made.spans(interrupting) == ["queued", "running", "draining"]
    assert made.spans(undone) == ["queued"]
    assert made.spans(undoing) == ["queued", "running"]
    assert made.spans(queued) == ["queued"]
    ends = {
        first: "success",
        running: "interrupted",
        interrupting: "deleted",
        undone: "deleted",
        undoing: "running",
        queued: "pending",
    }
    for run_id, status in ends.items():
        assert f"{status}-{run_id}" in made.ids
    verdicts = ["success", f"interrupted, superseded by {interrupting[-8:]}"]
    verdicts += [f"deleted, superseded by {undoing[-8:]}"] * 2 + ["running", "pending"]
    assert [text for text in made.texts if text in verdicts][:6] == verdicts  # then the legend
    arrows = {id for id in made.ids if id.startswith("superseded-")}
    assert arrows == {f"superseded-{run_id}" for run_id in (running, interrupting, undone)}
    names = set(made.texts)
    told = {first: "reject", running: "enqueue", undoing: "rollback", queued: "enqueue"}
    assert {f"{run_id[-8:]} {strategy}" for run_id, strategy in told.items()} <= names
    assert {interrupting[-8:], undone[-8:]} <= names  # gone, and their strategies with them
    assert {"draining: stopped, until the next run started", "queued", "a step", "still running"} <= names
    assert f"thread {thread_id}" in names


def test_the_chart_has_each_attempt(tmp_path: Path, options: list[str]) -> None:
    file = tmp_path / "chart.svg"
    with serving(tmp_path / "twice.db", *options) as server:
        verbs = Verbs(server.address)
        run_id = verbs.json("run", "create", "t", "talks", "--create-thread", *HOLD)["run_id"]
        while verbs.json("run", "get", run_id)["status"] != "running":
            pass
        server.process.kill()
    with serving(tmp_path / "twice.db", *options) as server:
        verbs = Verbs(server.address)
        while verbs.json("run", "get", run_id)["attempt"] != 2:
            pass
        verbs("run", "cancel", run_id)
        verbs("thread", "timeline", "t", "--svg", str(file))
    made = Chart(file)
    assert made.spans(run_id) == ["queued", "running", "queued", "running"]
    assert "interrupted, attempt 2: CANCELLED" in made.texts
    assert made.texts.count("attempt 2") == 1


def test_steps_by_hand_have_a_row(server: Server, thread_id: str, chart: Any) -> None:
    calling(server.address, lambda client: client.threads.update_state(thread_id, {"by": "hand"}))
    assert "by hand" in chart(thread_id, runs=0).texts


def test_an_empty_thread_is_drawn(thread_id: str, chart: Any) -> None:
    assert f"thread {thread_id}" in chart(thread_id, runs=0).texts


def test_a_thread_where_all_is_gone_is_drawn(
    server: Server, verbs: Verbs, thread_id: str, held: str, chart: Any
) -> None:
    verbs("run", "cancel", held, "--rollback", "--wait", "5")
    assert f"deleted-{held}" in chart(thread_id, runs=1).ids
    # A setting changed afterwards says nothing of events: whether there are more is only known by waiting.
    calling(server.address, lambda client: client.threads.update(thread_id, metadata={"a": 1}))
    assert f"deleted-{held}" in chart(thread_id, runs=1).ids


def test_only_the_newest_runs_are_drawn(verbs: Verbs, thread_id: str, chart: Any) -> None:
    first, second, third = (create(verbs, thread_id, "enqueue") for _ in range(3))
    verbs("run", "join", third)
    made = chart(thread_id, "--last", "2", runs=2)
    assert (made.spans(first), made.spans(second)) == ([], ["queued", "running"])
    assert f"thread {thread_id}, its newest 2 runs (1 before)" in made.texts


def test_what_others_wrote_is_text_and_no_formula(verbs: Verbs, thread_id: str, chart: Any) -> None:
    verbs("run", "create", thread_id, "fails", "--join", code=Exit.RUN_FAILED)
    assert "error: No$such$<weather>\\x1b[31m\ufffd" in chart(thread_id, runs=1).texts


def test_the_same_thread_gives_the_same_file(verbs: Verbs, thread_id: str, tmp_path: Path) -> None:
    verbs("run", "create", thread_id, "talks", "--join")
    files = [tmp_path / "once.svg", tmp_path / "twice.svg"]
    for file in files:
        done = run("thread", "timeline", thread_id, "--svg", str(file), "--server", verbs.address)
        assert (done.returncode, done.stderr) == (Exit.DONE, "")
    assert files[0].read_bytes() == files[1].read_bytes()


def test_without_matplotlib_it_says_what_to_install(verbs: Verbs, thread_id: str, tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ModuleNotFoundError('none here', name='matplotlib')")
    file = tmp_path / "chart.svg"
    path = f"{tmp_path}:{ROOT}"
    done = run("thread", "timeline", thread_id, "--svg", str(file), "--server", verbs.address, PYTHONPATH=path)
    assert done.returncode == Exit.INVALID
    assert "matplotlib is not installed: pip install 'doubletext[timeline]'" in done.stderr
    assert not file.exists()


def test_a_file_that_cannot_be_written_is_exit_2(verbs: Verbs, thread_id: str, tmp_path: Path) -> None:
    told = verbs("thread", "timeline", thread_id, "--svg", str(tmp_path / "no" / "such.svg"), code=Exit.INVALID).stderr
    assert "cannot write" in told
    assert "No such file or directory" in told


def test_a_thread_that_is_not_there_is_exit_3(verbs: Verbs, tmp_path: Path) -> None:
    error = verbs.error("thread", "timeline", "nowhere", "--svg", str(tmp_path / "chart.svg"), code=Exit.NOT_FOUND)
    assert error["reason"] == "THREAD_NOT_FOUND"
