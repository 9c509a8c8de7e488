"""The server: everything with I/O."""
