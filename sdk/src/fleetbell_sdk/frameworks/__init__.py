"""Receivers inside web servers: one module per framework, and ``standalone`` for none."""
