"""What a use case asks of the engine to change a thread."""

from typing import Protocol

from doubletext_statemachine.commands import Command
from doubletext_statemachine.decisions import Decision


class Changes(Protocol):
    async def change(self, command: Command) -> Decision:
        """Decide on the command and commit the decision. It is on disk when this returns, and goes on when the caller
        is cancelled. Raises the decision's Refusal, and NotReady when nothing can be written just now."""
