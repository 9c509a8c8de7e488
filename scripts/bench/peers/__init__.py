"""The same task on this service and on its peers, measured in the same way.

`python -m bench.peers` runs it alone. compare() returns JSON-able figures, section() says them in Markdown and
charts() draws them.
"""

from pathlib import Path
from typing import Any

from bench.peers.compare import compare
from bench.peers.page import section

__all__ = ["charts", "compare", "section"]


def charts(result: dict[str, Any], folder: Path) -> list[Path]:
    """Draw the result of compare() as SVG files in the folder; return their paths."""
    from bench.peers.drawing import draw  # the venvs of the peers import this package and have no matplotlib

    return draw(result, folder)
