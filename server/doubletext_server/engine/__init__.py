"""What happens around a decision: making it, telling of it, executing, waiting, keeping."""
