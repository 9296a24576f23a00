"""One suite a file, one question each: `python -m edgereason.bench NAME`."""
