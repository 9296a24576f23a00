"""Writes bundles for other engines: offline, heavy dependencies allowed, never imported to run."""
