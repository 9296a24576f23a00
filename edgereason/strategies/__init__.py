"""One way of thinking a file; the file name is the strategy's name. The contract is in base.py."""
