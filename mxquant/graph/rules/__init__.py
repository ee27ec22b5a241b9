"""Rewrite rules of the canonical graph, one per file."""
