"""Generated from protos/doubletext/v1 by scripts/gen_protos."""
