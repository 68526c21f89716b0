"""What the machines of a cluster have and use."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MagnumClusterNodesUsageInfo", "NodeUsage"]

_MEBI, _GIBI = 1024**2, 1024**3
_HEADER = ["NAME", "CPU USAGE", "CPU TOTAL", "CPU USAGE %", "MEMORY USAGE", "MEMORY TOTAL", "MEMORY USAGE %"]


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else 0.0


def _memory(size: int) -> str:
    return f"{size / _GIBI:.2f}G" if size >= _GIBI else f"{size / _MEBI:.2f}M"


class NodeUsage:
    """A machine.

    Attributes
    ----------
    name : str
        Its name.
    cpu_usage : float
        Cores in use, as an average of a moment.
    cpu_total : float
        Cores.
    cpu_usage_percent : float
        Their quotient in percent.
    memory_usage : int
        Bytes in use.
    memory_total : int
        Bytes.
    memory_usage_percent : float
        Their quotient in percent.
    """

    __slots__ = ("cpu_total", "cpu_usage", "memory_total", "memory_usage", "name")

    def __init__(self, name: str, cpu_usage: float, cpu_total: float, memory_usage: int, memory_total: int) -> None:
        self.name = name
        self.cpu_usage = cpu_usage
        self.cpu_total = cpu_total
        self.memory_usage = memory_usage
        self.memory_total = memory_total

    @property
    def cpu_usage_percent(self) -> float:
        """Cores in use in percent."""
        return _percent(self.cpu_usage, self.cpu_total)

    @property
    def memory_usage_percent(self) -> float:
        """Memory in use in percent."""
        return _percent(self.memory_usage, self.memory_total)

    def to_dict(self) -> dict[str, object]:
        """The attributes as a new ``dict``."""
        fields = ("name", "cpu_usage", "cpu_total", "cpu_usage_percent", "memory_usage", "memory_total")
        return {field: getattr(self, field) for field in (*fields, "memory_usage_percent")}

    def _cells(self) -> list[str]:
        total = f"{self.cpu_total:.2f}".rstrip("0").rstrip(".")
        return [
            self.name,
            f"{self.cpu_usage * 1000:.2f}m",
            total,
            f"{self.cpu_usage_percent:.1f}%",
            _memory(self.memory_usage),
            _memory(self.memory_total),
            f"{self.memory_usage_percent:.1f}%",
        ]

    def __repr__(self) -> str:
        return f"NodeUsage({', '.join(f'{field}={value!r}' for field, value in self.to_dict().items())})"


class MagnumClusterNodesUsageInfo:
    """The machines of a cluster. Printed, and in a notebook, it is a table.

    Attributes
    ----------
    nodes_usage : list of NodeUsage
        The machines.
    """

    def __init__(self, nodes_usage: Sequence[NodeUsage]) -> None:
        self.nodes_usage = [*nodes_usage]

    @classmethod
    def _of(cls, rows: Sequence[tuple[str, float, float, int, int]]) -> MagnumClusterNodesUsageInfo:
        return cls([NodeUsage(*row) for row in rows])

    def __str__(self) -> str:
        rows = [_HEADER, *(node._cells() for node in self.nodes_usage)]
        widths = [max(len(_HEADER[at]) + 2, *(len(row[at]) for row in rows)) for at in range(len(_HEADER))]

        def rule(left: str, middle: str, right: str) -> str:
            return left + middle.join("─" * (width + 2) for width in widths) + right

        def line(row: Sequence[str]) -> str:
            return "│" + "│".join(f" {cell:<{width}} " for cell, width in zip(row, widths)) + "│"

        title = ["", "---------------", "MagnumClusterNodesUsageInfo:", "---------------"]
        table = [rule("╭", "┬", "╮"), line(rows[0]), rule("├", "┼", "┤"), *map(line, rows[1:]), rule("╰", "┴", "╯")]
        return "\n".join([*title, *table])

    def __repr__(self) -> str:
        return f"MagnumClusterNodesUsageInfo({self.nodes_usage!r})"

    def _repr_html_(self) -> str:
        from html import escape

        def row(tag: str, cells: Sequence[str]) -> str:
            inner = "".join(f'<{tag} style="text-align:left">{escape(cell)}</{tag}>' for cell in cells)
            return f"<tr>{inner}</tr>"

        body = "".join(row("td", node._cells()) for node in self.nodes_usage)
        return f"<table><thead>{row('th', _HEADER)}</thead><tbody>{body}</tbody></table>"
