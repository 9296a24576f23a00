"""Weights in fewer bits: blocks, importance matrices, calibration."""
