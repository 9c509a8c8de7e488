"""JSON objects as text, in the form in which they are stored, compared and digested."""

import json
from collections.abc import Callable
from typing import Any, Final

from doubletext_statemachine.model import Json

dump: Final[Callable[[Any], Json]] = json.JSONEncoder(separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode
"""Write a JSON object as text. Keys are sorted, so that equal objects have equal texts."""
