"""Which model, format, way of thinking and budget is best for a device: measured, not guessed.

    plan      settings, and which of them can be read off another's tokens
    traces    budgets, smaller votes and deadlines out of one run
    sweep     asks, in turns, and keeps a trial of each; goes on where it was killed
    statistics, frontier, dropping    what may be concluded, from how many questions
    points    from trials to one figure a setting, with intervals
    report    a page, a table, pictures

docs/pareto.md is the manual.
"""

from .job import Done, Job, report_of, run

__all__ = ["Done", "Job", "report_of", "run"]
