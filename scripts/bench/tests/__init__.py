"""The benchmark's arithmetic, and that it tells nothing that it did not measure."""
