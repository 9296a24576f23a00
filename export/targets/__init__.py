"""One export target a file; the file name is its name. See export/target.py for the contract."""
