"""The benchmark: what this service does on this machine, and what others do there."""
