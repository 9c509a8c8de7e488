"""One module for each system, run in its own venv, beside what it serves and the versions that it is pinned to."""
