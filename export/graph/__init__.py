"""Decoder graphs in ONNX, built node by node: the same architectures for each runtime's dialect."""
