"""Compiled plans: one way of answering with one model, as data that the C library reads.

    write_plan(Way("think"), "smollm2-135m", Path("think.json"))

`chain.py` turns a strategy into phases, `conversation.py` a chat template into pieces, `plan.py`
writes both.
"""
