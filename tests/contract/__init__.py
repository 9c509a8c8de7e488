"""What doubletext_server.store.protocol asks of every store, and what is asked of the one on SQLite besides."""
