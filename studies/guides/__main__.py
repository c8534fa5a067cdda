"""`python -m studies.guides`: one denoiser, told of the whole in every way, at equal cost."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from jsonargparse import auto_cli

from benchmarks.report.contact_sheet import contact_sheet
from benchmarks.results.lines import line_of
from benchmarks.tables.columns import ABSENT, by_rows, markdown
from patchcanvas.files import whole
from strategies.catalogue import strategy_class
from strategies.parallel import ParallelStrategy
from studies.harness import Run, cells, measured, pictured, said
from studies.training import ROOT

__all__ = ["WAYS", "study"]

# What is told, by a short name: settings of the harness. All are measured against the same seed
# images, also where nothing is seen of them: that is chance.
WAYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "unconditional": ("context=unconditional",),
        "seed image": ("context=seed_image",),
        "seed image, w = 2": ("context=seed_image", "context.guidance_scale=2"),
        "seed image, gates at 0": ("context=seed_image", "context.gate=0"),
        "autoregressive": ("context=autoregressive",),
        "canvas guide": ("context=unconditional", "context.guide=canvas"),
        "plan": ("context=unconditional", "context.guide=plan"),
        "seed image and plan": ("context=seed_image", "context.guide=plan"),
        "seed image's guide": ("context=unconditional", "context.guide=image"),
        "swapped_reference": ("context=swapped_reference", "context.guide=image"),
    }
)
# What a parallel strategy, which paints nothing before it is done, has nothing to make of.
GROWING = ("autoregressive", "canvas guide")
FIGURES = {
    "fid_plus": "FID+",
    "palette_distance": "palette",
    "layout_correlation": "layout",
    "colour_drift": "colour drift",
    "correlation_gap": "autocorrelation gap",
    "seam_ratio": "seams",
}


def study(
    denoiser: Path = ROOT / "checkpoints" / "landscapes_context.safetensors",
    strategies: tuple[str, ...] = ("diffcollage", "lshape_repaint"),
    ways: tuple[str, ...] = tuple(WAYS),
    budget: float = 64.0,
    num_samples: int = 64,
    num_reference: int = 2000,
    seed: int = 0,
    settings: tuple[str, ...] = (),
    folder: Path = Path("results/guides"),
) -> int:
    """Makes canvases in every way, measures them, and writes one table for each strategy.

    What is finished is kept: the same command goes on where it stopped.

    Args:
        denoiser: A denoiser trained with tokens, plans and guides.
        strategies: What makes the canvases.
        ways: What is told.
        budget: Pixels that the network may evaluate for each pixel of a canvas, those of a plan
            and of guidance included.
        num_samples: Canvases of each.
        num_reference: Real crops that FID+ compares with.
        seed: Seeds the noise.
        settings: More settings of `benchmarks.run`, such as lshape_repaint.jump_n_sample=1.
        folder: Where everything goes.
    """
    unknown = sorted(set(ways) - set(WAYS))
    if unknown or not ways or not strategies:
        print(f"error: ways must be among {', '.join(WAYS)}, got {ways}.", file=sys.stderr)
        return 2
    try:
        parallel = {one for one in strategies if issubclass(strategy_class(one), ParallelStrategy)}
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if set(ways) <= set(GROWING) and parallel == set(strategies):
        print(
            f"error: {', '.join(strategies)} sees nothing of a canvas before it is done: ways must "
            f"have others than {', '.join(GROWING)}.",
            file=sys.stderr,
        )
        return 2
    # The harness runs in the project's folder, wherever this was called.
    denoiser, folder = denoiser.resolve(), folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Run] = {}
    for way in ways:
        growing = [one for one in strategies if not (way in GROWING and one in parallel)]
        if not growing:
            continue
        name = f"{denoiser.stem}-{way.replace(' ', '_').replace(',', '')}-{budget:g}-{num_samples}"
        absent = set(strategies) - set(growing)
        own = [one for one in settings if one.partition(".")[0] not in absent]
        try:
            found[way] = measured(
                folder,
                f"{name}-{seed}",
                growing,
                f"denoiser={denoiser}",
                f"budget=[{budget}]",
                f"num_samples={num_samples}",
                f"num_reference={num_reference}",
                f"seed={seed}",
                "plain_fid=false",
                *WAYS[way],
                *own,
            )
        except RuntimeError as error:
            print(f"error: {way}: {error}", file=sys.stderr)
            return 1
        for row in found[way].results.rows:
            said(f"{way}, {line_of(row)}")
        caption = (
            f"{denoiser.stem}, N = {num_samples}, {budget:g} pixels evaluated for each pixel, "
            f"seed {seed}"
        )
        with whole(folder / "table.md") as part:
            part.write_text(tables(found, strategies, caption))
        for strategy in strategies:
            rows = pictured(found, f"{strategy}@*")
            if rows:
                contact_sheet(rows, folder / f"{strategy}.png")
    print((folder / "table.md").read_text())
    return 0


def tables(found: Mapping[str, Run], strategies: tuple[str, ...], caption: str) -> str:
    """Returns one table for each strategy, the caption above them."""
    parts = [caption]
    real = next(iter(found.values())).results.real
    for strategy in strategies:
        rows = [
            [way, *cells(row.figures, FIGURES), f"{row.settings['solver']['num_steps']}"]
            for way, run in found.items()
            for row in run.results.rows
            if row.strategy.partition("@")[0] == strategy
        ]
        rows.append(["other real panoramas", *cells(real.figures if real else {}, FIGURES), ABSENT])
        table = markdown(by_rows(["conditioning", *FIGURES.values(), "steps"], rows))
        parts += [f"`{strategy}`:", table]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(auto_cli(study))
