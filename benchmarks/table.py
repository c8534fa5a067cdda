"""The comparison as a table: a row a strategy, for the terminal, for docs and for the report.

The layout is that of Table 1 of DiffCollage (Zhang et al. 2023, arXiv:2303.17076), with the
interval of every estimate and with what a canvas costs.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from rich import box, get_console
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from benchmarks.records import Cost, Estimate, Results, Row, Spread

__all__ = [
    "Column",
    "body",
    "columns",
    "comparison",
    "flattened",
    "markdown",
    "metric_name",
    "notes",
    "rounded",
    "with_interval",
]

ABSENT = "\N{EN DASH}"
SMALL = 500  # canvases; below it, intervals are wide and the bias of the Frechet distance is large
SHORT = 200  # characters of a failure's reason; the report has all of them

# What a narrow terminal does without, the least important first.
DROPPED_FIRST = (
    "Calls",
    "In network",
    "Memory",
    "Evaluations",
    "Drift",
    "px/px",
    "Parallel?",
    "Seams",
)


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of the table.

    Args:
        title: First line of its head.
        detail: Second line of its head: unit, or what stands in brackets; may be empty.
        cell: Renders a row's entry.
    """

    title: str
    detail: str
    cell: Callable[[Row], str]

    @property
    def is_text(self) -> bool:
        """Whether the entries are words, set flush left, and not figures."""
        return self.title in ("Strategy", "Parallel?")


def comparison(results: Results, *, width: int | None = None) -> Table:
    """Returns the table of a run, real images first, failures last.

    Args:
        results: The run; rows without cost or seams are fine.
        width: Columns of the terminal; the least important columns of the table are left out
            until it fits, and the caption says which. None asks the terminal.
    """
    width = get_console().width if width is None else width
    shown, dropped = columns(results), []
    table = _table(results, shown, dropped)
    for title in DROPPED_FIRST:
        if _width(table) <= width:
            break
        shown = [column for column in shown if column.title != title]
        dropped.append(title)
        table = _table(results, shown, dropped)
    return table


def markdown(results: Results) -> str:
    """Returns the same table with all its columns, in Markdown, padded so that they line up."""
    shown = columns(results)
    heads = [f"{column.title} {column.detail}".strip() for column in shown]
    lines = [[_escaped(cell) for cell in line] for line in (heads, *body(results, shown))]
    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    rules = [
        "-" * width if column.is_text else "-" * (width - 1) + ":"
        for column, width in zip(shown, widths, strict=True)
    ]
    padded = [
        [
            _padded(cell, width, left=column.is_text)
            for column, cell, width in zip(shown, line, widths, strict=True)
        ]
        for line in (lines[0], rules, *lines[1:])
    ]
    rows = ["| " + " | ".join(cells) + " |" for cells in padded]
    return "\n".join([*rows, "", *[f"- {_escaped(note)}" for note in notes(results)]]) + "\n"


def columns(results: Results) -> list[Column]:
    """Returns the columns that suit a run, from left to right."""
    return [
        Column("Strategy", "", lambda row: "real images" if row is results.real else row.strategy),
        Column("Parallel?", "", _parallel),
        Column("FID+ ↓", f"({results.features['name']})", lambda row: _fid_plus(row.fid_plus)),
        Column("Seams", "(real)", _seams),
        Column("Drift", "", _drift),
        _cost_column("s/canvas", "[quartiles]", lambda cost: _seconds(cost.latency)),
        _cost_column("Calls", "", _calls),
        _cost_column("Evaluations", "", lambda cost: f"{cost.patch_evaluations:,}"),
        _cost_column("px/px", "", lambda cost: rounded(cost.pixels_per_pixel)),
        _cost_column("Memory", "MiB", lambda cost: f"{cost.peak_memory_mib:,.0f}"),
        _cost_column("In network", "%", lambda cost: f"{100 * cost.network_share:.0f}"),
    ]


def body(results: Results, shown: list[Column]) -> list[list[str]]:
    """Returns the entries: real images, then the strategies, then those that failed."""
    rows = [*([results.real] if results.real else []), *results.rows]
    failed = [[_failed_entry(name, column) for column in shown] for name in results.failures]
    return [[column.cell(row) for column in shown] for row in rows] + failed


def notes(results: Results) -> list[str]:
    """Returns what must be read with the figures, a sentence or two each."""
    height, width = results.canvas
    found = [
        f"N = {results.num_samples:,} {_shape(results)} of {height} x {width} px for each "
        f"strategy; {results.num_reference:,} reference crops; {metric_name(results)}; "
        f"{_steps(results)}; "
        f"device: {results.environment.get('device', 'not recorded')}.",
        "In brackets: the 95 % interval of FID+, the seams of real crops at the same places, the "
        "quartiles of the seconds for one canvas alone.",
    ]
    if results.drift_distance is not None:
        found.append(f"Drift is over {results.drift_distance} px, black and white being 2 apart.")
    if any(row.cost and row.cost.gradient_passes for row in results.rows):
        found.append("∇ counts backward passes through the network.")
    if results.num_samples < SMALL:
        found.append(
            f"N = {results.num_samples:,} is small (below {SMALL}): intervals are wide, and "
            "strategies whose intervals overlap are not told apart."
        )
    if results.features["name"] != "inception":
        found.append(
            f"{metric_name(results)} is not comparable to FID+ (inception), nor to published "
            "figures."
        )
    return found + [f"Failed: {name}: {_shortened(why)}" for name, why in results.failures.items()]


def _shape(results: Results) -> str:
    """Returns what the canvases are called: loops where they wrap."""
    canvas = results.settings.get("canvas") or {}
    wraps = canvas.get("wrap_height", False), canvas.get("wrap_width", False)
    names = {
        (False, False): "canvases",
        (False, True): "loops",
        (True, False): "loops from top to bottom",
        (True, True): "tori",
    }
    return names[wraps]


def metric_name(results: Results) -> str:
    """Returns the metric's name, which always says whose features it rests on."""
    return f"FID+ ({results.features['name']})"


def rounded(value: float, digits: int = 3) -> str:
    """Rounds to `digits` significant digits, and never to less than a whole number.

    >>> rounded(0.01234), rounded(12.345), rounded(12345.6)
    ('0.0123', '12.3', '12,346')
    """
    return f"{value:,.{_decimals(value, digits)}f}"


def with_interval(value: float, low: float, high: float, *, most: int = 4) -> str:
    """Rounds all three alike: two digits of the interval's width, two to `most` of the value.

    >>> with_interval(23.412, 22.05, 24.93), with_interval(0.52, 0.519996, 0.520004)
    ('23.4 [22.1, 24.9]', '0.5200 [0.5200, 0.5200]')
    """
    least, finest = _decimals(value, 2), _decimals(value, most)
    decimals = min(max(_decimals(high - low, 2), least), finest) if high > low else least
    return f"{value:,.{decimals}f} [{low:,.{decimals}f}, {high:,.{decimals}f}]"


def flattened(settings: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Spells nested settings out, a line each.

    >>> flattened({"solver": {"num_steps": 18, "churn": None}, "canvas": [32, 192]})
    {'solver.num_steps': '18', 'solver.churn': 'none', 'canvas': '32, 192'}
    """
    lines = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            lines |= flattened(value, f"{prefix}{key}.")
        else:
            lines[f"{prefix}{key}"] = _spelt(value)
    return lines


def _table(results: Results, shown: list[Column], dropped: list[str]) -> Table:
    caption = notes(results)
    if dropped:
        caption.append(f"Left out, for the terminal is narrow: {', '.join(dropped)}.")
    table = Table(
        title=Text(results.name),
        caption=Text("\n".join(caption)),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for column in shown:
        head = Text(f"{column.title}\n{column.detail}".rstrip())
        justify = "left" if column.is_text else "right"
        table.add_column(head, justify=justify, overflow="fold")
    for number, cells in enumerate(body(results, shown)):
        dim = results.real is not None and number == 0
        table.add_row(*map(Text, [_short(cells[0]), *cells[1:]]), style="dim" if dim else None)
    return table


def _width(table: Table) -> int:
    """Returns the width at which no entry is wrapped."""
    console = get_console()
    return console.measure(table, options=console.options.update(width=10_000)).maximum


def _cost_column(title: str, detail: str, render: Callable[[Cost], str]) -> Column:
    return Column(title, detail, lambda row: ABSENT if row.cost is None else render(row.cost))


def _failed_entry(name: str, column: Column) -> str:
    return {"Strategy": name, "FID+ ↓": "failed"}.get(column.title, ABSENT)


def _parallel(row: Row) -> str:
    return {True: "yes", False: "no", None: ABSENT}[row.parallel]


def _fid_plus(estimate: Estimate) -> str:
    return with_interval(estimate.value, estimate.low, estimate.high)


def _seams(row: Row) -> str:
    if row.seam_ratio is None:
        return ABSENT
    real = ABSENT if row.seam_ratio_real is None else f"{row.seam_ratio_real:.2f}"
    return f"{row.seam_ratio:.2f} ({real})"


def _drift(row: Row) -> str:
    return ABSENT if row.colour_drift is None else f"{row.colour_drift:.3f}"


def _seconds(latency: Spread) -> str:
    return with_interval(latency.median, latency.lower, latency.upper, most=3)


def _calls(cost: Cost) -> str:
    gradients = f"+{cost.gradient_passes:,}∇" if cost.gradient_passes else ""
    return f"{cost.network_calls:,}{gradients}"


def _steps(results: Results) -> str:
    """Names the steps of the strategies; they may differ in a comparison at equal cost."""
    settings = [flattened(row.settings) for row in results.rows]
    found = {
        int(value)
        for lines in settings
        for key, value in lines.items()
        if key.split(".")[-1] == "num_steps" and value.isdecimal()
    }
    if not found:
        return "steps not recorded"
    least, most = min(found), max(found)
    return f"{least} steps" if least == most else f"{least} to {most} steps, by strategy"


def _decimals(value: float, digits: int) -> int:
    if value == 0 or not math.isfinite(value):
        return digits - 1
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))


def _short(name: str) -> str:
    """Keeps dotted paths from widening a terminal's table: the class is enough there."""
    module, _, last = name.rpartition(".")
    return f"…{last}" if module else name


def _spelt(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_spelt, value)) or "none"
    return "none" if value == {} else str(value)


def _shortened(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= SHORT else line[: SHORT - 1] + "…"


def _padded(text: str, width: int, *, left: bool) -> str:
    space = " " * (width - cell_len(text))
    return text + space if left else space + text


def _escaped(text: str) -> str:
    """Keeps names from being read as Markdown or HTML."""
    text = " ".join(text.split()).replace("\\", "\\\\")
    for special, escape in (("<", "&lt;"), ("|", r"\|"), ("*", r"\*"), ("`", r"\`")):
        text = text.replace(special, escape)
    return text
