"""The benchmark's arithmetic, and that it tells nothing that it did not measure."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bench.bench import FULL, QUICK, Bench, Plan
from bench.budget import LINES
from bench.load import Callers
from bench.measured import LATENCY, Curve, Ratio, Result, Verdict, Window, interleave, percentile, ratio, summed
from bench.page import NOT_RUN, page
from bench.planted import Group, plant
from bench.processes import LoadFailed
from bench.report import Report
from bench.workloads import WORKLOADS
from doubletext_server.store.check import check


def window(seconds: float, *latencies: float, cpu: float = 0.0) -> Window:
    return Window(seconds, {LATENCY: latencies}, cpu)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.5, 2.0), (0.51, 3.0), (0.75, 3.0), (0.99, 4.0), (1.0, 4.0)]
)
def test_a_percentile_is_a_sample_that_so_many_are_not_above(share: float, expected: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == expected


def test_no_samples_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 0.5)


def test_a_ratio_is_taken_within_each_round_and_their_median_told() -> None:
    """The machine is ten times slower in the second round; medians of the rates would say 10 ÷ 50."""
    ours = [window(1, *[0.1] * 10), window(10, *[0.1] * 10), window(1, *[0.1] * 20)]
    theirs = [window(1, *[0.1] * 50), window(10, *[0.1] * 20), window(1, *[0.1] * 50)]
    made = ratio("calls per second", ours, theirs, lambda each: each.rate)
    assert made.each == [0.2, 0.5, 0.4]
    assert made.median == 0.4


def test_percentiles_are_of_the_samples_of_all_rounds_and_rates_of_each() -> None:
    side = summed("x", [window(1, 0.001, cpu=0.5), window(2, 0.003, 0.003, 0.009, cpu=0.3)], 7.0)
    assert (side.samples, side.rates, side.rate) == (4, [1.0, 1.5], 1.25)
    assert (side.p50_ms, side.max_ms, side.cpu_us, side.peak_mib) == (3.0, 9.0, 200_000, 7.0)


async def test_the_sides_take_turns_after_a_warm_up_that_is_not_counted() -> None:
    order = []

    def measure(name: str) -> Callable[[], Awaitable[str]]:
        async def measured() -> str:
            order.append(name)
            return name

        return measured

    async def warm(name: str) -> None:
        order.append(f"warm {name}")

    assert await interleave(2, {"a": measure("a"), "b": measure("b")}, warm) == {"a": ["a", "a"], "b": ["b", "b"]}
    assert order == ["warm a", "warm b", "a", "b", "a", "b"]


async def test_a_call_that_fails_ends_the_window_and_is_told() -> None:
    callers, calls = Callers(), 0

    async def call() -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        if calls == 5:
            raise LookupError("no such run")

    await callers.window(call, 2, 60, 1_000_000)
    assert callers.error == "a call failed: LookupError('no such run')"
    assert len(callers.series[LATENCY]) < calls < 10


async def test_a_load_with_a_failed_call_is_no_measurement(tmp_path: Path) -> None:
    async with Bench(QUICK, tmp_path, print) as bench:
        load = await bench.load(await bench.echo(), "echo")
        measured = await load.window(2, calls=20)
        assert len(measured.series[LATENCY]) == 20
        assert measured.seconds > 0
        load.server.children[0].process.kill()
        await load.server.children[0].process.wait()
        with pytest.raises(LoadFailed, match=r"(?s)a call failed: .*UNAVAILABLE"):
            await load.answer(2, calls=20)


def report(plan: Plan, **results: Result) -> Report:
    return Report(plan, "2026-01-02 03:04 UTC", {"disk": "a slow one"}, dict(results))


def test_what_was_not_run_has_no_number_on_the_page() -> None:
    told = page(report(FULL))
    assert told.count(f"| {NOT_RUN} | – | {NOT_RUN} |") == len(LINES)
    assert told.count("\nNot run.\n") == len(WORKLOADS) + 1  # the last are the others
    assert "quick run" not in told
    assert "svg" not in told


def test_a_line_says_what_was_measured_and_whether_it_is_kept() -> None:
    missed = Result(verdicts=[Verdict("create", 0.4, "4 calls/s; bare echo 10 calls/s")])
    told = page(report(QUICK, create=missed))
    assert "≥ 0.5 × echo calls/s | 4 calls/s; bare echo 10 calls/s | 0.40 × | **missed** |" in told
    kept = Result(verdicts=[Verdict("next", 5.0, "5.00 ms; p99 9.00 ms")])
    assert "≤ 5 ms | 5.00 ms; p99 9.00 ms | – | met |" in page(report(QUICK, waits=kept))
    assert "quick run" in told


def test_the_lines_of_the_budget_are_each_judged_by_one_workload() -> None:
    judged = [line for workload in WORKLOADS for line in workload.lines]
    assert sorted(judged) == sorted(LINES)


def test_the_same_figures_make_the_same_charts(tmp_path: Path) -> None:
    from bench import charts  # imports matplotlib, which takes a second; every process collects this file

    sides = [summed(name, [window(1, 0.001, 0.002)], 1.0) for name in ("bare echo", "CreateRun")]
    curve = Curve("finished", "Files", "runs", [0, 10, 1000], {"p50, ms": {"CreateRun": [1.0, 2.0, 90.0]}})
    made = report(FULL, create=Result(sides, [Ratio("calls per second", [1.0])]), finished=Result(curves=[curve]))
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "old.svg").touch()
    charts.draw(made, tmp_path / "one")
    charts.draw(made, tmp_path / "two")
    first, second = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert first == second
    assert first.keys() == {"rates.svg", "finished.svg"}
    assert json.loads(json.dumps(made.as_json()))["results"]["finished"]["curves"][0]["xs"] == [0, 10, 1000]


def test_what_is_planted_is_as_the_service_would_have_written_it(tmp_path: Path) -> None:
    db = plant(tmp_path / "planted.db", Group("old", 1, 5, 3), Group("line", 2, 1, 2, 4, assistant="nobodys"))
    found = check(str(db))
    assert found.ok, list(found.lines())
    assert (found.threads, found.runs, found.steps, found.events) == (6, 21, 34, 89)
