"""One engine a file; the file name is the engine's name. See base.py for the contract."""
