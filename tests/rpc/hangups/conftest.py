"""That a client is gone is no failure of the server's."""

from tests.quiet import nothing_failed

__all__ = ["nothing_failed"]
