"""What all suites share: turns, load, statistics, questions, reports."""
