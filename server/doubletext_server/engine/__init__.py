"""The engine: it decides on commands, commits the decisions, and acts on each commit."""
