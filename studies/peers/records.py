"""What a run leaves behind: every timing and every finding with what made it, as JSON."""

import dataclasses
from typing import Any, ClassVar

from benchmarks.experiment.record import Record
from benchmarks.metrics.estimates import Spread
from studies.peers.jobs import Timing

__all__ = ["DIFFCOLLAGE", "FORWARDS", "MULTIDIFFUSION", "PANORAMA"]
__all__ += ["Finding", "PeerResults", "Row"]

PANORAMA = "panorama pipeline"
MULTIDIFFUSION, DIFFCOLLAGE = "multidiffusion", "diffcollage"
FORWARDS = "the evaluations of diffcollage alone"


@dataclasses.dataclass(frozen=True)
class Finding:
    """A defect, measured on both sides.

    Args:
        defect: What goes wrong.
        where: When it does.
        measure: What is measured.
        theirs: The figure of the peer; None where it raised something.
        ours: Our own figure.
        said: What a side raised, by `theirs` and `ours`.
    """

    defect: str
    where: str
    measure: str
    theirs: float | None
    ours: float | None
    said: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def line(self) -> str:
        """Its figures on one line, for logs."""
        sides = {"theirs": self.theirs, "ours": self.ours}
        parts = (
            f"{side} {self.said.get(side) if figure is None else f'{figure:.4g}'}"
            for side, figure in sides.items()
        )
        return f"{self.defect}, {self.where}: {', '.join(parts)}"


@dataclasses.dataclass(frozen=True)
class Row:
    """One way to make the panorama: what it asks of the network, and its runs.

    Args:
        name: Who makes it.
        batch: Views in a call; None for all.
        decoded: Whether pixels were made, or latents.
        calls: Calls of the network.
        evaluations: Images evaluated, both of a pair of guidance.
        pixels: Latent pixels evaluated.
        copies: Deep copies of the scheduler.
        difference: Largest difference of its latents from those of the peer at its defaults; None
            where they are not of the same method.
        seconds: What each run took.
        network_seconds: How much of it was spent inside the network.
        copy_seconds: How much of it was spent on copies of the scheduler.
    """

    name: str
    batch: int | None
    decoded: bool
    calls: int
    evaluations: int
    pixels: int
    copies: int
    difference: float | None
    seconds: list[float] = dataclasses.field(default_factory=list)
    network_seconds: list[float] = dataclasses.field(default_factory=list)
    copy_seconds: list[float] = dataclasses.field(default_factory=list)

    @classmethod
    def of(
        cls,
        name: str,
        batch: int | None,
        decoded: bool,
        timing: Timing,
        difference: float | None = None,
    ) -> "Row":
        """Returns a row with what a run asked of the network, and no timing yet."""
        return cls(
            name,
            batch,
            decoded,
            calls=len(timing.shapes),
            evaluations=timing.evaluations,
            pixels=timing.pixels,
            copies=timing.copies,
            difference=difference,
        )

    @property
    def key(self) -> tuple[str, int | None, bool]:
        """What tells it from other rows."""
        return self.name, self.batch, self.decoded

    @property
    def latency(self) -> Spread:
        """Seconds of a run."""
        return Spread.of(self.seconds)

    @property
    def outside(self) -> Spread:
        """Seconds of a run that were not spent inside the network."""
        pairs = zip(self.seconds, self.network_seconds, strict=True)
        return Spread.of([whole - inside for whole, inside in pairs])

    @property
    def over_inside(self) -> Spread:
        """Seconds of a run over those of the same run that were spent inside the network."""
        pairs = zip(self.seconds, self.network_seconds, strict=True)
        return Spread.of([whole / inside for whole, inside in pairs])

    def added(self, timing: Timing) -> "Row":
        """Returns the row with one more run."""
        return dataclasses.replace(
            self,
            seconds=[*self.seconds, timing.seconds],
            network_seconds=[*self.network_seconds, timing.network_seconds],
            copy_seconds=[*self.copy_seconds, timing.copy_seconds],
        )

    def ratio_to(self, other: "Row") -> Spread:
        """Returns seconds over those of another row in the same round."""
        pairs = zip(self.seconds, other.seconds, strict=True)
        return Spread.of([mine / its for mine, its in pairs])


@dataclasses.dataclass
class PeerResults(Record):
    """A whole run.

    Args:
        peer: The peer's Python, threads and versions.
        denoiser: Weights, hash, size of the model on both sides.
        load: Mean number of busy processes in the minute before the run; None where the system
            does not say.
        deviation: Standard deviation of the peer's latents at its defaults: what differences are
            to be compared with.
        rows: One for each way to make the panorama.
        findings: The defects.
    """

    FILE: ClassVar[str] = "peers.json"
    AGREE: ClassVar[tuple[str, ...]] = ("settings", "environment", "peer", "denoiser")
    IGNORED: ClassVar[frozenset[str]] = Record.IGNORED - {"threads"}  # it is time that is measured

    peer: dict[str, Any]
    denoiser: dict[str, Any]
    load: float | None
    deviation: float | None = None
    rows: list[Row] = dataclasses.field(default_factory=list)
    findings: list[Finding] = dataclasses.field(default_factory=list)

    @property
    def rounds(self) -> int:
        """Rounds that are timed, the same number for all rows."""
        return min((len(row.seconds) for row in self.rows), default=0)

    def row(self, name: str, batch: int | None, decoded: bool = False) -> Row:
        """Returns a row.

        Raises:
            KeyError: If it is not there.
        """
        return {row.key: row for row in self.rows}[name, batch, decoded]

    def default(self, *, decoded: bool = False) -> Row:
        """Returns the peer at its defaults: one view a call."""
        return self.row(PANORAMA, 1, decoded)

    def best(self, *, decoded: bool = False) -> Row:
        """Returns the peer with as many views a call as are fastest, of those that were tried."""
        tried = [row for row in self.rows if (row.name, row.decoded) == (PANORAMA, decoded)]
        return min(tried, key=lambda row: row.latency.median)
