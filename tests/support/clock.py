"""The clock of tests: it stands still until a test moves it."""

from dataclasses import dataclass
from typing import Final

SECOND: Final = 1_000_000


@dataclass
class ManualClock:
    """`now` is in microseconds, as the server's own clock."""

    now: int = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)
