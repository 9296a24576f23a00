"""Tasks with a known way to the answer, drawn without end; one file each, its name is the task's.

A task offers `generate(rng, split=..., ...) -> Problem` and `check(problem, text) -> bool`.
"""
