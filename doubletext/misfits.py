"""What is wrong with a value that is to become JSON, and where the value is."""

from typing import Final

DEEPEST: Final = 30
"""How deep objects and lists may be nested. protobuf reads at most 100 levels of messages, and an object takes three of
them. If the server accepted more, no client could read its answers."""
TOO_DEEP: Final = f"is nested deeper than {DEEPEST} levels"


class Misfit(Exception):
    """A value that cannot be converted: the class of the error, what is wrong, and the keys to it, innermost first."""

    def __init__(self, kind: type[TypeError | ValueError], problem: str) -> None:
        self.kind = kind
        self.problem = problem
        self.keys: list[str | int] = []

    def place(self, path: str) -> str:
        """Return the value's place, in an object whose place is `path`."""
        for key in reversed(self.keys):
            path = _at(path, key)
        return path

    def error(self, path: str) -> TypeError | ValueError:
        return self.kind(f"{self.place(path) or 'the object'} {self.problem}")


def _at(path: str, key: str | int) -> str:
    """Return the place of a key, for people: long keys and long paths are shortened."""
    path = path if len(path) <= 100 else "…" + path[-100:]
    if isinstance(key, int):
        return f"{path}[{key}]"
    key = key if len(key) <= 40 else key[:40] + "…"
    key = key.encode(errors="backslashreplace").decode()  # half a surrogate pair cannot be sent
    return f"{path}.{key}" if path else key
