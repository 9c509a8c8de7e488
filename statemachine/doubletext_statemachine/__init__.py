"""What may happen to a run, and who decides it. Pure: no I/O, no clock, no asyncio; time and ids are arguments."""
