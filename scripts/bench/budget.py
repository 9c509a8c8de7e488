"""The budget: what the service is to keep, as ratios to a bare echo server where that is what time is told by."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Line:
    """bound  the least, or else the most, that keeps the line
    unit   what the bound is counted in; `×` something for a ratio
    """

    what: str
    bound: float
    at_least: bool
    unit: str

    @property
    def budget(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g} {self.unit}"

    @property
    def is_ratio(self) -> bool:
        return self.unit.startswith("×")

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


LINES: Final = {
    "create": Line("CreateRun on distinct threads, 64 callers", 0.5, True, "× echo calls/s"),
    "create alone": Line("CreateRun, one caller, p50", 2.5, False, "× echo p50"),
    "get": Line("GetRun, 64 callers", 0.6, True, "× echo calls/s"),
    "refused": Line("CreateRun refused by REJECT, 64 callers", 0.6, True, "× echo calls/s"),
    "turn": Line(
        "CreateRun + JoinRun to SUCCESS, one-step graph in the server, 64 callers", 0.15, True, "× echo calls/s"
    ),
    "next": Line("a run finishes → the next queued one starts, p50", 5, False, "ms"),
    "interrupt": Line("superseded by INTERRUPT → the successor starts, p50", 5, False, "ms"),
    "rollback": Line("superseded by ROLLBACK → the successor starts, p50", 5, False, "ms"),
    "joined": Line("a run ends → its joiner is answered, p50", 5, False, "ms"),
    "finished": Line(
        "CreateRun, one caller, p50, with 1 000 000 finished runs on 100 000 threads in the file", 1.3, False, "× empty"
    ),
    "messages": Line(
        "a turn (create, three steps, wait) on a thread of 10 000 messages, p50", 1.5, False, "× a thread of 10"
    ),
    "growth": Line("growth of the file per turn, at turn 1 000", 1.2, False, "× at turn 10"),
    "joiners": Line("10 000 joiners waiting: memory each", 40, False, "KiB"),
    "beside joiners": Line("CreateRun, one caller, p50, beside 10 000 joiners", 2, False, "× without them"),
}
