"""One way of changing a model a file; the file name is the variant's kind. The contract is in
base.py."""

from edgereason.models.variants.base import GGUF_KEY, Variant, from_text, read_variant, to_text

__all__ = ["GGUF_KEY", "Variant", "from_text", "read_variant", "to_text"]
