"""Models that other programs have fetched: found where they lie, opened in place, never written.

One store a file; the contract is in `base.py`.
"""

from edgereason.models.stores.base import Found, find_all, locate

__all__ = ["Found", "find_all", "locate"]
