"""That a client is gone is no failure of the server's, and leaves a file that is sound."""

from tests.support.no_errors import nothing_failed
from tests.support.sound_files import files_are_sound

__all__ = ["files_are_sound", "nothing_failed"]
