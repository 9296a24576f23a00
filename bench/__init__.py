"""Measures edgereason: one module a question, a table for people and one JSON line at the end."""
