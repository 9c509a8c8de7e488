"""A Timeline as a Gantt chart in SVG. The one module that needs matplotlib, an extra: import it where it is used.

Text stays text in the file, and the same timeline gives the same bytes. What is written was written by others: no
character of it that XML or a reader's eye could trip over is left, and none of it is taken for a formula.
"""

import re
import warnings
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from doubletext.cli.render.events import BY_HAND, FINAL, short
from doubletext.cli.render.text import in_line
from doubletext.cli.render.timeline import Row, Timeline

STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "doubletext",
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
}
ENDS: Final = {
    #               marker  colour
    "success":     ("o", "#2a9d4a"),
    "interrupted": ("s", "#b0409f"),
    "error":       ("X", "#d1242f"),
    "timeout":     ("D", "#d1242f"),
    "deleted":     ("x", "#57606a"),
    "merged":      ("v", "#57606a"),
    "running":     (">", "#1f77b4"),
    "pending":     (">", "#9a7400"),
}  # fmt: skip
PHASES: Final = {
    #            colour     hatch  what the legend says
    "queued":   ("#f2d88f", "", "queued"),
    "running":  ("#7fb3e0", "", "running (an attempt)"),
    "draining": ("#e3e6ea", "////", "draining: stopped, until the next run started"),
}  # fmt: skip
UNDONE: Final = "#d0d4d9"
LONGEST: Final = 60

_NO_XML: Final = re.compile("[\ufffe\uffff]")


def write(path: Path, timeline: Timeline, now: float, last: int) -> None:
    """Write the newest `last` runs as SVG.

    Runs that have not ended are drawn up to `now`, in seconds since the epoch.
    """
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's fonts draw the text, not ours
        path.write_bytes(_draw(timeline, max(now, timeline.last), last))


def _draw(timeline: Timeline, now: float, last: int) -> bytes:
    rows = list(timeline.rows.values())[-last:]
    start = min((row.spans[0].start if row.spans else row.since for row in rows), default=timeline.start)
    by_hand = [time for time in timeline.by_hand if time >= start]
    names = [f"{short(row.run_id)} {row.strategy}".rstrip() for row in rows] + ([BY_HAND] if by_hand else [])
    figure = Figure(figsize=(12, 1.9 + 0.42 * max(len(names), 1)), layout="constrained")
    axes = figure.add_subplot()
    places = {row.run_id: place for place, row in enumerate(rows)}
    for place, row in enumerate(rows):
        _bar(axes, row, place, start, now)
    for row in rows:
        if row.superseded_by in places:
            _arrow(axes, row, places, start)
    if by_hand:
        _ticks(axes, by_hand, len(rows), start)
    _scale(axes, names)
    dropped = len(timeline.rows) - len(rows)
    begin = datetime.fromtimestamp(start, UTC).isoformat(" ", "milliseconds").removesuffix("+00:00")
    title = f"thread {text(timeline.thread_id)}" + (
        f", its newest {len(rows)} runs ({dropped} before)" if dropped else ""
    )
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel(f"seconds since {begin} UTC")
    _legend(figure, rows)
    file = BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": "doubletext", "Title": title})
    return file.getvalue()


def _bar(axes: Axes, row: Row, place: int, start: float, now: float) -> None:
    """Draw a run: its spans, its steps, and how it ended or what its status is."""
    undone, attempt = row.status == "deleted", 0
    for number, span in enumerate(row.spans):
        colour, hatch, _ = PHASES[span.phase]
        end = now if span.end is None else span.end
        (bar,) = axes.barh(
            place,
            end - span.start,
            left=span.start - start,
            height=0.5,
            color=UNDONE if undone and span.phase == "running" else colour,
            hatch=hatch,
            edgecolor="#8c959f",
            linewidth=0.5,
        )
        _name(bar, f"{span.phase}-{number}-{row.run_id}")
        attempt += span.phase == "running"
        if span.phase == "running" and attempt > 1:
            axes.annotate(f"attempt {attempt}", (span.start - start, place - 0.3), va="bottom", fontsize=7)
    _ticks(axes, row.steps, place, start)
    marker, colour = ENDS.get(row.status, ("|", "black"))
    at = (row.since if row.status in FINAL else now) - start
    _name(axes.plot(at, place, marker, color=colour, markersize=7)[0], f"{row.status}-{row.run_id}")
    beside = max([at, *(span.end - start for span in row.spans if span.end is not None)])
    axes.annotate(
        verdict(row), (beside, place), xytext=(9, 0), textcoords="offset points", va="center", color=colour, fontsize=8
    )


def _ticks(axes: Axes, times: list[float], place: int, start: float) -> None:
    axes.vlines([time - start for time in times], place - 0.25, place + 0.25, color="#24292f", linewidth=1.2)


def _arrow(axes: Axes, row: Row, places: dict[str, int], start: float) -> None:
    """Draw an arrow from the end of a run to the run that ended it."""
    at, there = row.since - start, places[row.superseded_by]
    arrow = axes.annotate(
        "",
        (at, there - 0.27),
        xytext=(at, places[row.run_id] + 0.27),
        arrowprops={"arrowstyle": "->", "color": ENDS["interrupted"][1], "linestyle": "--", "linewidth": 1},
    )
    assert arrow.arrow_patch is not None
    _name(arrow.arrow_patch, f"superseded-{row.run_id}")


def _scale(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names, family="monospace")
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)  # the first run at the top
    axes.xaxis.set_major_locator(MaxNLocator(12))
    axes.use_sticky_edges = False
    axes.margins(x=0.02)
    left, right = axes.get_xlim()
    axes.set_xlim(left, max(right + (right - left) * 0.25, left + 0.001))  # room for the text beside the bars
    axes.grid(axis="x", color="#d8dee4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _legend(figure: Figure, rows: list[Row]) -> None:
    handles: list[Artist] = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="#8c959f", label=label)
        for colour, hatch, label in PHASES.values()
    ]
    if any(row.status == "deleted" for row in rows):
        handles.append(Patch(facecolor=UNDONE, edgecolor="#8c959f", label="running, undone later"))
    handles.append(Line2D([], [], color="#24292f", marker="|", linestyle="", label="a step"))
    seen = {row.status for row in rows}
    handles += [
        Line2D([], [], color=colour, marker=marker, linestyle="", label=f"still {name}" if name not in FINAL else name)
        for name, (marker, colour) in ENDS.items()
        if name in seen
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=8)


def verdict(row: Row) -> str:
    """Return how a run ended, or its status, and the reason if its graph did not end it."""
    shown = row.status + (f", attempt {row.attempts}" if row.attempts > 1 else "")
    if row.superseded_by:
        return text(f"{shown}, superseded by {short(row.superseded_by)}")
    return text(f"{shown}: {row.error or row.reason}" if row.error or row.reason else shown)


def text(value: str) -> str:
    """Return the value as a short line without characters that XML forbids."""
    safe = _NO_XML.sub("\ufffd", in_line(value))
    return safe if len(safe) <= LONGEST else safe[: LONGEST - 1] + "…"


def _name(artist: Artist, name: str) -> None:
    """Return the id of the element in the file."""
    artist.set_gid(text(name))
