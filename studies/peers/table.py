"""The tables of the comparison with peers, in Markdown, and what must be read with them."""

import dataclasses
from collections.abc import Callable, Sequence

from benchmarks.metrics.estimates import Spread
from benchmarks.tables.columns import (
    ABSENT,
    TIMES,
    Cell,
    Column,
    columns_of,
    markdown,
    page,
    significant,
    spread,
)
from studies.peers.records import DIFFCOLLAGE, FORWARDS, Finding, PeerResults, Row

__all__ = ["TABLE", "document", "notes", "seconds"]

TABLE = "table.md"  # in the folder of a run
LIBRARIES = ("diffusers", "torch", "transformers")


def document(results: PeerResults) -> str:
    """Returns all tables, and what must be read with them."""
    sections = {
        "Latents": seconds(results, decoded=False),
        "Pixels": seconds(results, decoded=True),
        "DiffCollage beside its own evaluations": overhead(results),
    }
    if results.findings:
        sections["Defects of the panorama pipeline"] = defects(results.findings)
    return page({title: markdown(table) for title, table in sections.items()}, notes(results))


def seconds(results: PeerResults, *, decoded: bool) -> list[Column]:
    """Returns who makes the panorama in how many seconds, and what that is of the peer's."""
    rows = [row for row in results.rows if row.decoded == decoded and row.name != FORWARDS]
    default, best = results.default(decoded=decoded), results.best(decoded=decoded)
    cells: dict[str, Callable[[Row], str | Cell]] = {
        "": lambda row: row.name,
        "views a call": lambda row: f"{row.batch or 'all'}",
        "NFE": lambda row: f"{row.calls:,}",
        "evaluations": lambda row: f"{row.evaluations:,}",
        "seconds": lambda row: spread(row.latency),
        "outside the U-Net, s": lambda row: spread(row.outside),
        f"{TIMES} peer at its defaults": lambda row: spread(row.ratio_to(default)),
        f"{TIMES} peer at its best": lambda row: spread(row.ratio_to(best)),
    }
    if not decoded:
        cells["latents differ by"] = _difference
    return columns_of(rows, cells)


def overhead(results: PeerResults) -> list[Column]:
    """Returns what DiffCollage takes beside the forward passes of its batches alone."""
    alone = results.row(FORWARDS, None)
    cells: dict[str, Callable[[Row], str | Cell]] = {
        "": lambda row: row.name,
        "NFE": lambda row: f"{row.calls:,}",
        "evaluations": lambda row: f"{row.evaluations:,}",
        "seconds": lambda row: spread(row.latency),
        f"{TIMES} alone": lambda row: spread(row.ratio_to(alone)),
        f"{TIMES} its own time inside": lambda row: spread(row.over_inside),
    }
    return columns_of([results.row(DIFFCOLLAGE, None), alone], cells)


def defects(findings: Sequence[Finding]) -> list[Column]:
    """Returns every defect with what was measured on both sides."""
    cells: dict[str, Callable[[Finding], str]] = {
        "defect": lambda finding: finding.defect,
        "where": lambda finding: finding.where,
        "measured": lambda finding: finding.measure,
        "theirs": lambda finding: _side(finding, "theirs"),
        "ours": lambda finding: _side(finding, "ours"),
    }
    return [dataclasses.replace(one, is_text=True) for one in columns_of(findings, cells)]


def notes(results: PeerResults) -> list[str]:
    """Returns what must be read with the figures, a sentence or two each."""
    settings, environment, peer = results.settings, results.environment, results.peer
    canvas = settings["canvas"]
    ours = ", ".join(f"{name} {environment['versions'][name]}" for name in LIBRARIES[:2])
    theirs = ", ".join(f"{name} {peer['versions'][name]}" for name in LIBRARIES)
    default = results.default()
    copies = Spread.of(default.copy_seconds)
    return [
        f"One panorama of {canvas['height']} x {canvas['width']} px, {settings['num_steps']} "
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
    said = finding.said.get(side, "")
    if value is None:
        return f"{'raises' if side == 'theirs' else 'refused'}: {said}"
    return plain(value)
