"""The result of compare() as bar charts in SVG. Needs matplotlib: import it where it is used."""

from io import BytesIO
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.peers.figures import NONE, TIMES, percentile, pooled, rate, short
from doubletext.cli.render.chart import STYLE

GREY: Final = "#57606a"
COLOURS: Final = ("#1f77b4", "#9a7400", "#2a9d4a", "#7cc58f", "#b0409f", "#d1242f")


def draw(result: dict[str, Any], folder: Path) -> list[Path]:
    """Write peers-times.svg and peers-rates.svg; a system that lacks a thing, or was not run, has no bar for it."""
    systems = [system for system in result["systems"].values() if not system["not_run"]]
    with matplotlib.rc_context(STYLE):
        written = {"peers-times.svg": _times(systems), "peers-rates.svg": _rates(systems)}
    for name, content in written.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in written]


def _times(systems: list[dict[str, Any]]) -> bytes:
    figure = Figure(figsize=(10, 1.4 + 0.19 * len(systems) * len(TIMES)), layout="constrained")
    axes = figure.add_subplot()
    height = 0.84 / max(len(systems), 1)
    least: list[float] = []
    for nth, system in enumerate(systems):
        places, middles, late = [], [], []
        for row, time in enumerate(TIMES):
            place = row - 0.42 + (nth + 0.5) * height
            if samples := pooled(system, time):
                places.append(place)
                middles.append(percentile(samples, 0.5))
                late.append(percentile(samples, 0.99) - middles[-1])
            else:
                axes.text(0.004, place, NONE, transform=axes.get_yaxis_transform(), va="center", fontsize=7, color=GREY)
        axes.barh(places, middles, height, color=COLOURS[nth % len(COLOURS)], label=system["title"])
        axes.errorbar(middles, places, xerr=([0] * len(late), late), fmt="none", ecolor=GREY, elinewidth=0.8)
        least += middles
        for place, middle, more in zip(places, middles, late, strict=True):
            _label(axes, middle + more, place, short(middle))
    axes.set_xscale("log")
    axes.set_xlim(left=min([1, *least]))  # else the shortest bar has no length
    axes.xaxis.set_major_formatter(lambda x, _: short(x))
    axes.set_yticks(range(len(TIMES)), [time.title for time in TIMES])
    axes.set_ylim(len(TIMES) - 0.5, -0.5)
    axes.set_title("milliseconds, less is better: p50, and to p99 a line", loc="left", fontweight="bold")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return _svg(figure, axes)


def _rates(systems: list[dict[str, Any]]) -> bytes:
    figure = Figure(figsize=(10, 1 + 0.35 * len(systems)), layout="constrained")
    axes = figure.add_subplot()
    for nth, system in enumerate(systems):
        if (found := rate(system)) is not None:
            axes.barh(nth, found, 0.6, color=COLOURS[nth % len(COLOURS)])
            _label(axes, found, nth, short(found))
    axes.set_yticks(range(len(systems)), [system["title"] for system in systems])
    axes.set_ylim(max(len(systems), 1) - 0.5, -0.5)
    axes.set_title("runs per second, 64 callers, more is better: median of the rounds", loc="left", fontweight="bold")
    return _svg(figure, axes)


def _label(axes: Axes, x: float, y: float, label: str) -> None:
    axes.annotate(label, (x, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7)


def _svg(figure: Figure, axes: Axes) -> bytes:
    axes.grid(axis="x", color="#d8dee4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    made = BytesIO()
    figure.savefig(made, format="svg", metadata={"Date": None, "Creator": "doubletext"})
    return made.getvalue()
