"""DiffCollage: all windows at once, overlaps counted once.

The canvas is a factor graph whose factors are windows and whose variables are what two windows
share; its score is that of the Bethe approximation ([DC] Eq. 6-7, Algorithm 3),

    eps(canvas) = sum_f eps_f + sum_i (1 - d_i) eps_i,

with d_i = 2 for a variable between two windows and 1, which drops out, at the ends. It is exact
where distant windows are independent given what lies between them. Noise takes that away even
from a Markov field, so on one it is exact as sigma reaches 0, and nearly so at every sigma while
the field forgets faster than an overlap is wide.

A loop joins the ends of the chain: m windows and m variables, every one of degree 2. On a canvas
that grows along both axes the regions are the products of the two chains or loops, with the
products of their counting numbers: +1 windows, -1 strips shared by two, +1 corners shared by four.
These are the counting numbers of a region graph ([Y] Sec. V), and so are those of windows that lie
in any other way.

References:
    [DC] Zhang, Song, Huang, Chen, Liu: DiffCollage: Parallel Generation of Large Content with
    Diffusion Models, 2023. arXiv:2303.17076
    [Y] Yedidia, Freeman, Weiss: Constructing Free-Energy Approximations and Generalized Belief
    Propagation Algorithms, IEEE Transactions on Information Theory, 2005
"""

import dataclasses
from typing import Literal, get_args

import torch
from typing_extensions import override

from denoisers.contract import Denoiser, PatchDenoiser
from denoisers.full_size import FullSize, validate_filling
from strategies.canvas import Canvas
from strategies.collage import Weighted, total_weight
from strategies.parallel import ParallelStrategy
from strategies.region_graph import by_size, counted, validate_regions
from strategies.windows import grid, overlaps

__all__ = ["DiffCollage"]

Given = tuple[tuple[int, ...], ...]
Variables = Literal["own_size", "mirrored", "pure_noise", "grey"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffCollage(ParallelStrategy):
    """A chain, loop, grid or torus of windows, or any region graph.

    One network call an evaluation for each size of region: two on a chain or loop, four on a grid
    or torus.

    The settings that it shares with others are those of `ParallelStrategy`.

    Args:
        known_method: How given pixels act on the canvas: `replacement` or `reconstruction`.
        overlap: What neighbouring windows share, in pixels, at most half a window; None for half a
            window. The network is evaluated on what is shared, so it must know that size, a
            multiple of its own, unless `variables` says otherwise: half a patch is what it is
            trained on.
        regions: Windows that lie as you like, in place of `window` and `overlap`: rectangles
            (top, left, height, width) in pixels, which with all that they share make a region
            graph; or (top, left, height, width, count), the whole graph with counting numbers of
            your own. They must cover the canvas as it is asked for; where it wraps they may reach
            over the edge.
        variables: How regions smaller than a window are evaluated, as what windows share is.
            `own_size`: as they are, best on a denoiser that was trained on them. Else in the
            corner of a whole window, for denoisers that were not, or that take one size alone:
            its rest `pure_noise` at the
            solver's first level, where levels may be a map; or the region `mirrored`; or `grey`.
            At half overlaps whole windows evaluate a third more pixels on a long chain or loop,
            7/9 more on a large grid or torus. docs/half_patches.md says which to take.
    """

    overlap: int | None = None
    regions: Given | None = None
    variables: Variables = "own_size"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variables not in get_args(Variables):
            raise ValueError(
                f"variables must be one of {', '.join(get_args(Variables))}, got "
                f"{self.variables!r}."
            )
        if self.regions is None:
            return
        validate_regions(self.regions)
        for name in ("window", "overlap"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"regions say where all windows lie: {name} must not be given with them, got "
                    f"{getattr(self, name)}."
                )

    @override
    def overlap_of(self, denoiser: PatchDenoiser, window: int) -> int:
        overlap = window // 2 if self.overlap is None else self.overlap
        if not 0 < overlap <= window // 2:
            reason = ": a pixel would lie in three windows" if overlap > window // 2 else ""
            raise ValueError(
                f"overlap must be in (0, window / 2], got {overlap} for window={window}{reason}."
            )
        if self.variables == "own_size" and overlap % denoiser.multiple:
            raise ValueError(
                f"overlap must be a multiple of {denoiser.multiple}, the denoiser's, got {overlap} "
                f"for window={window}: any will do where what windows share is put into whole "
                "windows, variables=pure_noise or mirrored."
            )
        return overlap

    @override
    def planned(self, denoiser: PatchDenoiser, canvas: Canvas) -> Canvas:
        return super().planned(denoiser, canvas) if self.regions is None else canvas

    @override
    def canvas_denoiser(self, denoiser: PatchDenoiser, canvas: Canvas) -> Denoiser:
        if self.variables != "own_size":
            denoiser = FullSize(
                denoiser,
                self.variables,
                size=self.window_of(denoiser),
                sigma_max=float(self.solver.sigmas()[0]),
            )
        return super().canvas_denoiser(denoiser, canvas)

    @override
    def groups(self, denoiser: PatchDenoiser, canvas: Canvas) -> list[Weighted]:
        if self.variables != "own_size":
            validate_filling(denoiser, self.variables)
        if self.regions is not None:
            return self._graph(self.regions, denoiser, canvas)
        rows, columns = self.spans(denoiser, canvas)
        down = overlaps(rows, loop=canvas.height if canvas.wrap_height else None)
        across = overlaps(columns, loop=canvas.width if canvas.wrap_width else None)
        return [
            Weighted(grid(row_spans, column_spans), row_count * column_count)
            for row_count, row_spans in ((1.0, rows), (-1.0, down))
            for column_count, column_spans in ((1.0, columns), (-1.0, across))
            if row_spans and column_spans
        ]

    def _graph(self, given: Given, denoiser: PatchDenoiser, canvas: Canvas) -> list[Weighted]:
        """Returns the groups of the user's own regions."""
        filled = None if self.variables == "own_size" else self.window_of(denoiser)
        counts = counted(given, canvas, multiple=denoiser.multiple, filled=filled)
        groups = [
            Weighted(regions, torch.tensor(numbers, dtype=torch.float64).view(-1, 1, 1, 1, 1))
            for regions, numbers in by_size(counts)
        ]
        self._validate_groups(groups, canvas, numbered=len(given[0]) == 5)
        return groups

    def _validate_groups(self, groups: list[Weighted], canvas: Canvas, *, numbered: bool) -> None:
        """Refuses counting numbers that do not sum to 1, which whole numbers do exactly."""
        total = total_weight(groups, canvas)
        uneven = (total != 1).nonzero().tolist()
        if not uneven:
            return
        row, column = uneven[0]
        raise ValueError(
            "the counting numbers of the regions must sum to 1 on every pixel; at row "
            f"{row}, column {column} they sum to {total[row, column]:.0f}: "
            + ("change the counts there, or add a region." if numbered else "add a region there.")
        )
