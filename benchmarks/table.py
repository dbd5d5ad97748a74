"""The one table that is printed at the end."""

from collections.abc import Sequence

from benchmarks.quantities import OURS, QUANTITIES, Quantity
from benchmarks.samples import Samples, short, spread
from benchmarks.sides import Side


def table(samples: Samples, sides: Sequence[Side]) -> str:
    """Return what was measured: a line for each quantity, a column for each side.

    Args:
        samples: everything that was measured.
        sides: the systems, in the order of the columns.
    """
    header = ["", *(side.title for side in sides), "goal", ""]
    lines = [header]
    for quantity in QUANTITIES:
        if any(samples.of(quantity.key, side.key) for side in sides):
            lines.append(_line(quantity, samples, sides))
            lines += _ratio_lines(quantity, samples, sides)
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells as text, in columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    padded = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [lines[0], rule, *lines[1:]]
    ]
    return "\n".join(padded)


def verdict(reached: bool) -> str:
    """Return what the last column says of a goal."""
    return "reached" if reached else "MISSED"


def _line(quantity: Quantity, samples: Samples, sides: Sequence[Side]) -> list[str]:
    ours = samples.of(quantity.key, OURS)
    reached = verdict(quantity.reached(quantity.summary(ours))) if ours and quantity.reached else ""
    return [quantity.title, *(_cell(quantity, samples, side) for side in sides), quantity.goal, reached]


def _cell(quantity: Quantity, samples: Samples, side: Side) -> str:
    found = samples.of(quantity.key, side.key)
    if not found:
        return ""
    around = spread(found)
    return short(quantity.summary(found)) + (f" ({around})" if around else "")


def _ratio_lines(quantity: Quantity, samples: Samples, sides: Sequence[Side]) -> list[list[str]]:
    """Return, below a quantity with such goals, how many times better ours is than each of the others."""
    ratios = {side.key: _ratio(quantity, samples, side) for side in sides}
    if not quantity.ratios or not any(ratios.values()):
        return []
    cells = ["" if ratio is None else f"x {short(ratio)}" for ratio in ratios.values()]
    goals = [(ratios.get(key), times) for key, times in quantity.ratios]
    known = [ratio >= times for ratio, times in goals if ratio is not None]
    goal = ", ".join(f"{key} x {short(times)}" for key, times in quantity.ratios)
    return [["   ours is better by", *cells, goal, verdict(all(known)) if known else ""]]


def _ratio(quantity: Quantity, samples: Samples, side: Side) -> float | None:
    ours, theirs = samples.of(quantity.key, OURS), samples.of(quantity.key, side.key)
    if side.key == OURS or not ours or not theirs:
        return None
    better, worse = quantity.summary(ours), quantity.summary(theirs)
    return better / worse if quantity.more_is_better else worse / better
