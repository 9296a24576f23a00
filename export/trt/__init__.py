"""Builds TensorRT engines, in a process of its own. `edgereason/engines/tensorrt.py` runs them."""
