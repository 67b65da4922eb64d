"""One optimizer step as a training loop takes it; the contract suite's own."""

from sofim.contract import advance

__all__ = ["advance"]
