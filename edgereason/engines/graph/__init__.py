"""Decoder graphs, the running side: their KV, their executors. What engines over such graphs share.

`export/graph/` is the writing side.
"""
