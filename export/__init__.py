"""Writes bundles for engines: offline, heavy dependencies allowed, never imported to run.

A file without `_` is a target (`--to onnx` is `onnx.py`) with `Config`, `check` and `write`; what
targets share is in files and folders that start with `_`. Imports among them are relative.
"""
