"""The service: everything with I/O."""
