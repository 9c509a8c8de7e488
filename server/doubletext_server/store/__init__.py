"""Where threads, runs and steps are kept. Knows no wire, and decides nothing: it writes what the arbiter decided."""
