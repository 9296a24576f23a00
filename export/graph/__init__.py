"""Decoder graphs in ONNX, the writing side: one walk over the layers, a dialect for each runtime.

`edgereason/engines/graph/` is the running side.
"""
