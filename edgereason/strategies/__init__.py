"""One way of thinking a file; the file name is the strategy's name. See base.py for the contract."""
