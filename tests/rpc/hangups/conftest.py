"""That a client is gone is no failure of the server's."""

from tests.support.no_errors import nothing_failed

__all__ = ["nothing_failed"]
