"""Makes bundles of models: offline, heavy dependencies allowed, never imported to run.

    from edgereason.export.job import Job, export
    export("model", Job("onnx", Path("out"), {"quant": "int8"}))

`targets/` has one target a file (`--to onnx` is `onnx.py`). Which part may import which is a table
in docs/adding-a-target.md. Imports among them are relative.
"""
