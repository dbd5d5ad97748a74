"""What was measured at each size, as a table: a line for each quantity, a column for each size."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.progress import say
from benchmarks.scale.measured import Measured
from benchmarks.table import aligned, verdict


@dataclass
class Line:
    """A quantity.

    Attributes:
        goal: what it should be, in words.
        cells: what it is, for people to read, by size.
        reached: whether that is what it should be, by size, where there is a goal.
    """

    goal: str = ""
    cells: dict[int, str] = field(default_factory=dict)
    reached: dict[int, bool] = field(default_factory=dict)


@dataclass
class Report:
    """Everything that was measured.

    Attributes:
        sizes: numbers of subscriptions, in the order of the columns.
        lines: the quantities by title.
        samples: the times and statements behind them, by title and size.
        plans: how each question is answered, by title and size.
    """

    sizes: Sequence[int]
    lines: dict[str, Line] = field(default_factory=dict)
    samples: dict[str, dict[int, Any]] = field(default_factory=dict)
    plans: dict[str, dict[int, str]] = field(default_factory=dict)

    def add(self, title: str, size: int, cell: str, *, goal: str = "", reached: bool | None = None) -> None:
        """Fill a cell.

        Args:
            title: of the line; lines come in the order in which they were added first.
            size: the column.
            cell: what stands there.
            goal: what the quantity should be.
            reached: whether it is.
        """
        line = self.lines.setdefault(title, Line(goal))
        line.cells[size] = cell
        if reached is not None:
            line.reached[size] = reached
        say(f"   {title}: {cell}{'' if reached is None else ' - ' + verdict(reached)}")

    def add_times(
        self,
        title: str,
        size: int,
        measured: Measured,
        *,
        milliseconds: float | None = None,
        statements: int | None = None,
    ) -> None:
        """Fill the cells of a quantity of which there are many samples.

        Args:
            title: of the line.
            size: the column.
            measured: the samples.
            milliseconds: what the median should be below.
            statements: how many there should be at most.
        """
        self.samples.setdefault(title, {})[size] = {"seconds": measured.seconds, "statements": measured.statements}
        self.add(
            f"{title} (ms)",
            size,
            measured.in_milliseconds(),
            goal="" if milliseconds is None else f"p50 < {milliseconds:g}",
            reached=None if milliseconds is None else measured.median * 1000 < milliseconds,
        )
        self.add(
            f"   statements of {title}",
            size,
            str(measured.most_statements),
            goal="" if statements is None else f"<= {statements}",
            reached=None if statements is None else measured.most_statements <= statements,
        )

    def add_plan(self, title: str, size: int, plan: str, *, by_index: bool) -> None:
        """Note how a question is answered.

        Args:
            title: the question.
            size: the column.
            plan: the indexes that are read, and the tables that are read whole.
            by_index: whether no big table is read whole.
        """
        self.plans.setdefault(title, {})[size] = plan
        say(f"      {plan}{'' if by_index else ' - reads a table from end to end'}")

    def plans_at(self, size: int) -> str:
        """Return how each question is answered at a size, as text."""
        return aligned([["question", "plan"], *([title, plans.get(size, "")] for title, plans in self.plans.items())])

    def table(self) -> str:
        """Return everything as text."""
        header = ["subscriptions", *(f"{size:,}" for size in self.sizes), "goal", ""]
        return aligned([header, *(self._cells(title, line) for title, line in self.lines.items())])

    def _cells(self, title: str, line: Line) -> list[str]:
        reached = verdict(all(line.reached.values())) if line.reached else ""
        return [title, *(line.cells.get(size, "") for size in self.sizes), line.goal, reached]
