"""How a terminal shows what the service says."""
