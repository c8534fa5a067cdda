"""The tables of the comparison with peers, in Markdown, and what must be read with them."""

import dataclasses
from collections.abc import Callable, Sequence

from rich.cells import cell_len

from benchmarks.latency.table import ABSENT, TIMES, significant
from benchmarks.metrics.estimates import Spread
from studies.peers.records import DIFFCOLLAGE, FORWARDS, Finding, PeerResults, Row

__all__ = ["TABLE", "document", "markdown", "notes"]

TABLE = "table.md"  # in the folder of a run
LIBRARIES = ("diffusers", "torch", "transformers")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        title: Its head.
        cells: Its entries, from top to bottom.
        words: Whether they are words, which begin on the left.
    """

    title: str
    cells: list[str]
    words: bool = False


def document(results: PeerResults) -> str:
    """Returns all tables, and what must be read with them."""
    sections = {
        "Latents": seconds(results, decoded=False),
        "Pixels": seconds(results, decoded=True),
        "DiffCollage beside its own evaluations": overhead(results),
    }
    if results.findings:
        sections["Defects of the panorama pipeline"] = defects(results.findings)
    parts = [part for title, table in sections.items() for part in (f"## {title}", markdown(table))]
    return "\n\n".join([*parts, *(f"- {note}" for note in notes(results))]) + "\n"


def seconds(results: PeerResults, *, decoded: bool) -> list[Column]:
    """Returns who makes the panorama in how many seconds, and what that is of the peer's."""
    rows = [row for row in results.rows if row.decoded == decoded and row.name != FORWARDS]

    def column(title: str, cell: Callable[[Row], str]) -> Column:
        return Column(title, [cell(row) for row in rows])

    default, best = results.default(decoded=decoded), results.best(decoded=decoded)
    columns = [
        Column("", [row.name for row in rows], words=True),
        column("views a call", lambda row: f"{row.batch or 'all'}"),
        column("calls", lambda row: f"{row.calls:,}"),
        column("evaluations", lambda row: f"{row.evaluations:,}"),
        column("seconds", lambda row: spread(row.latency)),
        column("outside the U-Net, s", lambda row: spread(row.outside)),
        column(f"{TIMES} peer at its defaults", lambda row: spread(row.ratio_to(default))),
        column(f"{TIMES} peer at its best", lambda row: spread(row.ratio_to(best))),
    ]
    return columns if decoded else [*columns, column("latents differ by", _difference)]


def overhead(results: PeerResults) -> list[Column]:
    """Returns what DiffCollage takes beside the forward passes of its batches alone."""
    alone = results.row(FORWARDS, None)
    rows = [results.row(DIFFCOLLAGE, None), alone]
    return [
        Column("", [row.name for row in rows], words=True),
        Column("calls", [f"{row.calls:,}" for row in rows]),
        Column("evaluations", [f"{row.evaluations:,}" for row in rows]),
        Column("seconds", [spread(row.latency) for row in rows]),
        Column(f"{TIMES} alone", [spread(row.ratio_to(alone)) for row in rows]),
        Column(f"{TIMES} its own time inside", [spread(row.over_inside) for row in rows]),
    ]


def defects(findings: Sequence[Finding]) -> list[Column]:
    """Returns every defect with what was measured on both sides."""
    cells = {
        "defect": [finding.defect for finding in findings],
        "where": [finding.where for finding in findings],
        "measured": [finding.measure for finding in findings],
        "theirs": [_side(finding, "theirs") for finding in findings],
        "ours": [_side(finding, "ours") for finding in findings],
    }
    return [Column(title, entries, words=True) for title, entries in cells.items()]


def notes(results: PeerResults) -> list[str]:
    """Returns what must be read with the figures, a sentence or two each."""
    settings, environment, peer = results.settings, results.environment, results.peer
    ours = ", ".join(f"{name} {environment['versions'][name]}" for name in LIBRARIES[:2])
    theirs = ", ".join(f"{name} {peer['versions'][name]}" for name in LIBRARIES)
    default = results.default()
    copies = Spread.of(default.copy_seconds)
    return [
        f"One panorama of {settings['height']} x {settings['width']} px, {settings['num_steps']} "
        f"steps of DDIM, guidance {settings['guidance']:g}, seed {settings['seed']}, views of 64 "
        f"latents every 8; model: {results.denoiser['file']} "
        f"({results.denoiser['weights_sha256'][:12]}, {results.denoiser['parameters']:,} "
        f"parameters in the U-Net); {environment['device']}; {results.created[:10]}"
        + (f"; load before it {results.load:.2f}." if results.load is not None else "."),
        f"Ours: Python {environment['python']}, {ours}, {environment['threads']} threads. The "
        f"peer, in a process of its own: Python {peer['python']}, {theirs}, {peer['threads']} "
        "threads.",
        f"Seconds, from the prompt on: median and quartiles of {results.rounds} rounds after one "
        "of warm-up; in every round each row runs once, in the next in the opposite order. "
        f"{TIMES}: ratio within the same round, median and quartiles. The peer at its defaults: "
        "one view a call; at its best: the fastest of its rows in the table. Alone: the same "
        "batches, each one forward pass of the U-Net, and nothing else; inside: the time that "
        "DiffCollage itself spent in the U-Net.",
        f"Latents differ by: largest difference from the peer at its defaults, whose latents have "
        f"a standard deviation of {plain(results.deviation or 0.0)}.",
        f"The peer copies its scheduler {default.copies:,} times, which takes "
        f"{significant(copies.median)} s of its {significant(default.latency.median)} s.",
    ]


def spread(value: Spread) -> str:
    """Returns a median with its quartiles.

    >>> spread(Spread(0.25, 0.2, 0.5, repeats=5))
    '0.250 [0.200, 0.500]'
    """
    return f"{significant(value.median)} [{significant(value.lower)}, {significant(value.upper)}]"


def plain(value: float) -> str:
    """Returns a number with three digits, whole ones as they are.

    >>> plain(7.0), plain(0.75), plain(1.4305e-06)
    ('7', '0.75', '1.43e-06')
    """
    return f"{value:.3g}"


def _difference(row: Row) -> str:
    return ABSENT if row.difference is None else plain(row.difference)


def _side(finding: Finding, side: str) -> str:
    value = getattr(finding, side)
    said = " ".join(finding.said.get(side, "").replace("|", "\\|").split())
    if value is None:
        return f"{'raises' if side == 'theirs' else 'refused'}: {said}"
    return plain(value)


def markdown(columns: Sequence[Column]) -> str:
    """Returns a table in Markdown, its columns as wide as they must be."""
    lines = []
    for column in columns:
        width = max(3, *map(cell_len, (column.title, *column.cells)))
        rule = "-" * (width - 1) + ("-" if column.words else ":")
        title, *cells = (_padded(cell, width, column) for cell in (column.title, *column.cells))
        lines.append([title, rule, *cells])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in zip(*lines, strict=True))


def _padded(cell: str, width: int, column: Column) -> str:
    space = " " * (width - cell_len(cell))
    return cell + space if column.words else space + cell
