"""What others reported, and what a stranger can do, played on the real server by scripts/deep."""
