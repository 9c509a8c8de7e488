"""What use cases need from the engine to change a thread."""

from typing import Protocol

from doubletext_statemachine.commands import Command
from doubletext_statemachine.decisions import Decision


class Changes(Protocol):
    async def change(self, command: Command) -> Decision:
        """Decide on the command and commit the decision.

        The decision is on disk when this returns. It goes on when the caller is cancelled. Raises the Refusal of the
        decision, and NotReady when nothing can be written at the moment.
        """
