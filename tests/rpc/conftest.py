"""The server on which a good request of each RPC is good."""

from tests.support.requests import scene

__all__ = ["scene"]
