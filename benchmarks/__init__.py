"""Speed and size, measured by commands that anyone can run: ``scripts/bench``."""
