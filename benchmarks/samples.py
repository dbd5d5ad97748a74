"""What was measured: samples of a quantity, of a side."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Samples:
    """All samples of a run of the benchmarks, by quantity and side."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, quantity: str, side: str, samples: Sequence[float]) -> None:
        """Add samples of a quantity.

        Args:
            quantity: what was measured, as `quantities.py` knows it.
            side: key of the system that it was measured of.
            samples: in the quantity's unit.
        """
        self.values.setdefault(quantity, {}).setdefault(side, []).extend(samples)

    def of(self, quantity: str, side: str) -> list[float]:
        """Return all samples of a quantity of a side."""
        return self.values.get(quantity, {}).get(side, [])


def percentile(samples: Sequence[float], percent: int) -> float:
    """Return the sample that so many percent of them do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def spread(samples: Sequence[float]) -> str:
    """Return the range of the samples' middle half; of a few samples that of all."""
    if len(samples) < 2:
        return ""
    low, high = min(samples), max(samples)
    if len(samples) >= 8:
        low, _, high = statistics.quantiles(samples, n=4)
    return f"{short(low)}-{short(high)}"


def short(value: float) -> str:
    """Return a number with three digits that count."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
