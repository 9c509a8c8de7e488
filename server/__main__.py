"""`python -m server` is `doubletext`."""

from server.cli import main

main(prog_name="doubletext")
