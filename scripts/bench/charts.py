"""The page's charts, as SVG: the same figures give the same bytes, and text stays text."""

from io import BytesIO
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.bench import ECHO
from bench.measured import Curve, Result
from bench.report import Report
from bench.text import counted, figure, times
from bench.workloads import WORKLOADS
from doubletext.cli.render.chart import STYLE

COLOURS = ("#1f77b4", "#d98c00", "#2a9d4a", "#b0409f")
BARE = "#b8bec5"
STEEP = 20
"""Values that lie further apart than so many times are drawn on a logarithmic scale."""


def draw(report: Report, folder: Path) -> None:
    """Write the charts of what was run, and remove those of an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "doubletext-bench"}):
        beside_echo = {
            workload.title: report.results[workload.name]
            for workload in WORKLOADS
            if workload.name in report.results and _is_beside_echo(report.results[workload.name])
        }
        if beside_echo:
            _write(_rates(beside_echo), folder / "rates.svg", "Calls per second beside a bare echo server")
        for result in report.results.values():
            for curve in result.curves:
                _write(_curve(curve), folder / f"{curve.name}.svg", curve.title)


def _is_beside_echo(result: Result) -> bool:
    return bool(result.sides) and result.sides[0].name == ECHO


def _rates(results: dict[str, Result]) -> Figure:
    made = Figure(figsize=(9, 0.9 + 0.62 * len(results)), layout="constrained")
    axes = made.add_subplot()
    for place, result in enumerate(results.values()):
        echo, ours = result.sides[:2]
        axes.barh(place - 0.2, echo.rate, 0.36, color=BARE, label=None if place else ECHO)
        axes.barh(place + 0.2, ours.rate, 0.36, color=COLOURS[0], label=None if place else "doubletext")
        told = f" {figure(ours.rate)} ({times(result.ratios[0].median)})"
        axes.annotate(told, (ours.rate, place + 0.2), va="center", fontsize=8)
        axes.annotate(f" {figure(echo.rate)}", (echo.rate, place - 0.2), va="center", fontsize=8)
    axes.set_yticks(range(len(results)), list(results))
    axes.set_ylim(len(results) - 0.4, -0.6)
    axes.margins(x=0.15)
    axes.set_xlabel("calls per second, median of the rounds (in brackets: median of the ratios)")
    axes.legend(frameon=False, loc="lower right")
    _plain(axes, "x")
    return made


def _curve(curve: Curve) -> Figure:
    made = Figure(figsize=(4.6 * len(curve.panels) + 1, 3.6), layout="constrained")
    made.suptitle(curve.title, fontweight="bold", x=0.02, ha="left")
    for place, (what, series) in enumerate(curve.panels.items(), 1):
        axes = made.add_subplot(1, len(curve.panels), place)
        colours = iter(COLOURS)
        for name, values in series.items():
            colour = BARE if name == ECHO else next(colours)
            axes.plot(curve.xs, values, "o-", color=colour, label=name, markersize=4)
        if 0 in curve.xs:
            axes.set_xscale("symlog", linthresh=min(x for x in curve.xs if x))
        else:
            axes.set_xscale("log")
        axes.set_xticks(curve.xs, [counted(x) for x in curve.xs])
        axes.minorticks_off()
        known = [value for values in series.values() for value in values]
        if max(known) > STEEP * min(known) > 0:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0, top=1.15 * max(known))
        axes.yaxis.set_major_formatter(lambda value, _: figure(value))
        axes.set_xlabel(curve.x)
        axes.set_ylabel(what)
        axes.legend(frameon=False, fontsize=8)
        _plain(axes, "y")
    return made


def _plain(axes: Axes, grid: str) -> None:
    axes.grid(axis=grid, color="#d8dee4", linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _write(made: Figure, path: Path, title: str) -> None:
    content = BytesIO()
    made.savefig(content, format="svg", metadata={"Date": None, "Creator": "doubletext", "Title": title})
    path.write_bytes(content.getvalue())
