"""The systems that are compared."""

from benchmarks.sides.side import Service, Side

__all__ = ["Service", "Side"]
