"""What says whether an answer is right: one file a kind of answer, its name is the checker's.

A checker offers `check(item, text) -> bool`, where `text` is all that the model answered, and, if
the question needs more than its text, `ask(item) -> str`, the whole question. It never raises on
what a model wrote: whatever cannot be read is wrong. Where a package that it needs is missing it
raises `UnsupportedError`, before anything is asked, from `ready()`.
"""
