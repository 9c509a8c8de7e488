"""The real service against a small model of its contract, in sequences of calls that hypothesis draws and shrinks."""
