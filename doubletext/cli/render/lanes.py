"""The lanes of `watch`: a thread's runs as rows of a table, built from its events, the newest at the bottom."""

from dataclasses import dataclass, field
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from doubletext import types
from doubletext.cli.render.events import BY_HAND, FINAL, piece, saying, short, shown
from doubletext.cli.render.text import in_line

# How many lanes of runs that ended are kept, and how much of what a run shows: no terminal has room for more.
KEPT: Final = 500
KEPT_TEXT: Final = 1000
BAR: Final = 12
STYLE: Final = {
    "pending": "yellow",
    "running": "bold cyan",
    "success": "green",
    "interrupted": "magenta",
    "error": "bold red",
    "timeout": "red",
    "deleted": "dim",
    "merged": "dim",
}


@dataclass
class Lane:
    """One run, or steps of UpdateState that follow each other."""

    run_id: str
    strategy: str | None = None  # None: not asked for yet
    status: str = ""
    attempt: int = 0
    steps: int = 0
    last_step: int = 0
    superseded_by: str = ""
    reason: str = ""
    shown: str = ""
    in_text: bool = field(default=False, repr=False)  # `shown` ends in a text that goes on

    def on_event(self, event: types.Event) -> None:
        if "run_changed" in event:
            changed = event["run_changed"]
            self.status, self.reason, self.superseded_by = changed["to"], changed["reason"], changed["superseded_by"]
            self.attempt += changed["to"] == "running"
            return
        if "step_committed" in event:
            step = event["step_committed"]
            self.steps, self.last_step = self.steps + 1, step["step"]
            self._show(saying(step["update"]))
        elif (text := piece(event)) is not None:
            self._show(in_line(text), goes_on=True)
        elif "output" in event:
            output = event["output"]
            self._show(f"{in_line(output['channel'])}: {shown(output)}")

    def _show(self, text: str, *, goes_on: bool = False) -> None:
        before = self.shown if goes_on and self.in_text else ""
        self.shown, self.in_text = (before + text)[-KEPT_TEXT:], goes_on

    @property
    def in_flight(self) -> bool:
        return bool(self.status) and self.status not in FINAL


class Lanes:
    def __init__(self, thread_id: str) -> None:
        self._thread_id = thread_id
        self._lanes: dict[str, Lane] = {}
        self.last_event = 0

    def on_event(self, event: types.Event) -> None:
        self.last_event = event["sequence"]
        self._lane(event["run_id"]).on_event(event)

    def _lane(self, run_id: str) -> Lane:
        newest = next(reversed(self._lanes), "")
        # Steps by hand that follow each other are one lane; after a run they are another.
        key = run_id or (newest if newest.startswith(BY_HAND) else f"{BY_HAND} {self.last_event}")
        if key not in self._lanes:
            ended = [key for key, lane in self._lanes.items() if not lane.in_flight]
            for old in ended[: len(ended) - KEPT]:
                del self._lanes[old]
            self._lanes[key] = Lane(run_id, strategy=None if run_id else "")
        return self._lanes[key]

    def visible(self, height: int) -> list[Lane]:
        """Return the lanes that fit on a terminal of so many lines: the running run, and the newest of the others."""
        room = max(height - 3, 1)  # the title, the heading, and the line below
        lanes = list(self._lanes.values())
        if len(lanes) <= room:
            return lanes
        newest = lanes[-room:]
        running = [lane for lane in lanes[:-room] if lane.status == "running"][:room]
        return [*running, *newest[len(running) :]]

    def table(self, height: int) -> Table:
        visible = self.visible(height)
        hidden = len(self._lanes) - len(visible)
        title = f"thread {in_line(self._thread_id)}, event {self.last_event}"
        table = Table(
            box=None,
            pad_edge=False,
            header_style="dim",
            title=Text((f"{hidden} more above; " if hidden else "") + title, no_wrap=True, overflow="ellipsis"),
            title_justify="left",
            expand=True,
        )
        for name in ("run", "strategy", "status", "steps"):
            table.add_column(name, no_wrap=True, overflow="ellipsis")
        table.add_column("latest", ratio=1)
        for lane in visible:
            style = STYLE.get(lane.status, "")
            run = Text(short(lane.run_id) or BY_HAND, style="dim" if lane.status == "deleted" else "bold")
            table.add_row(
                run, in_line(lane.strategy), Text(status(lane), style), Text(bar(lane), style), Tail(lane.shown)
            )
        return table


def status(lane: Lane) -> str:
    """Return the lane's status, its attempt if it is not the first, and why it ended or is pending again."""
    shown = in_line(lane.status) + (f" (attempt {lane.attempt})" if lane.attempt > 1 else "")
    if lane.superseded_by:
        return f"{shown} → {short(lane.superseded_by)}"
    return f"{shown} {in_line(lane.reason).lower()}" if lane.reason else shown


def bar(lane: Lane) -> str:
    """Return one mark for each step, hollow once the steps are undone, and the number of the newest step."""
    if not lane.steps:
        return ""
    if lane.status == "deleted":
        return "□" * min(lane.steps, BAR)
    return ("■" if lane.steps <= BAR else "…") + "■" * (min(lane.steps, BAR) - 1) + f" {lane.last_step}"


class Tail:
    """Return the end of a text, as much as fits in one line."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, max(cell_len(self._text), 1)).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room, text = options.max_width, self._text
        if cell_len(text) > room:
            # From the right: cut what would not fit, then whatever half of a wide character is left.
            text = "…" + set_cell_size(text[::-1], max(room - 1, 0)).rstrip()[::-1]
        yield Text(text, no_wrap=True, overflow="crop", end="")
