"""JSON objects as text, in the one form that is stored, compared and digested."""

import json
from collections.abc import Callable
from typing import Any, Final

from doubletext_statemachine.model import Json

dump: Final[Callable[[Any], Json]] = json.JSONEncoder(separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode
"""A JSON object as text. Keys are sorted, since an object has no order: the same object gives the same text."""
