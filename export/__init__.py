"""Writes bundles for other engines. Offline, heavy dependencies allowed; the runtime never imports it."""
