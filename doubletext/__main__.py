"""`python -m doubletext` is `doubletext`."""

from doubletext.cli.main import main

main(prog_name="doubletext")
