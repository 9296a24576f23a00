"""Decoder graphs that were exported:
their KV, their executors. What engines over such graphs share.
"""
