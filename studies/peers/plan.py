"""Who makes panoramas: every way that is timed, and both sides of every defect."""

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from denoisers.pretrained.model import PretrainedModel, load_pretrained
from denoisers.pretrained.networks import TextNetwork
from denoisers.pretrained.stand_ins import sd_pipeline
from strategies.base import Strategy
from strategies.diffcollage import DiffCollage
from strategies.multidiffusion import MultiDiffusion
from studies.peers.defects import Pipeline
from studies.peers.jobs import STRIDE, VIEW, Job, Side
from studies.peers.ours import Forwards, Ours
from studies.peers.records import DIFFCOLLAGE, FORWARDS, MULTIDIFFUSION, PANORAMA
from studies.peers.settings import SCALE, PeerSettings
from studies.peers.theirs import Theirs, Worker

__all__ = ["Bench", "Entrant"]

# Those of the peer: as large, and as far apart.
same_views = partial(MultiDiffusion, window=VIEW, overlap=VIEW - STRIDE)
SMALL_PATCH, OTHER_SCALE = 32, 4


@dataclasses.dataclass(frozen=True)
class Entrant:
    """A way to make the panorama.

    Args:
        name: Who makes it.
        batch: Views in a call; None for all.
        maker: Makes it.
        job: What is asked for.
    """

    name: str
    batch: int | None
    maker: Side
    job: Job

    @property
    def key(self) -> tuple[str, int | None, bool]:
        """What tells it from others."""
        return self.name, self.batch, self.job.decoded


@dataclasses.dataclass(frozen=True)
class Bench:
    """The models, on both sides.

    Args:
        settings: What was asked for.
        model: Our side of the model that is compared.
        folder: Where the peer finds it.
        worker: The peer's process.
        scratch: Where small models are written.
    """

    settings: PeerSettings
    model: PretrainedModel
    folder: Path
    worker: Worker
    scratch: Path

    @property
    def entrants(self) -> list[Entrant]:
        """All that is timed; what is compared stands side by side."""
        job, batches = self.settings.job, self.settings.batches
        pixels = dataclasses.replace(job, decoded=True)
        collage = self._ours(DiffCollage, window=VIEW)
        return [
            *self._pairs(batches, job),
            Entrant(DIFFCOLLAGE, None, collage, job),
            Entrant(FORWARDS, None, Forwards(collage), job),
            *self._pairs(batches[:1], pixels),
            Entrant(DIFFCOLLAGE, None, collage, pixels),
        ]

    def sides(self, pipeline: Pipeline) -> tuple[Side, Side]:
        """Returns theirs and ours of the model on which a defect shows."""
        if pipeline == "compared":
            return self._theirs(1), self._ours(same_views)
        side, scale = (SMALL_PATCH, SCALE) if pipeline == "small_patches" else (VIEW, OTHER_SCALE)
        folder = self.scratch / pipeline
        write_small(folder, self.settings, side=side, scale=scale)
        model = load_pretrained(str(folder))
        theirs = Theirs(self.worker, folder, scale, model.denoiser.channels)
        return theirs, Ours(model, MultiDiffusion)

    def _pairs(self, batches: tuple[int, ...], job: Job) -> Iterator[Entrant]:
        """Yields theirs and ours at the defaults of each, and at the same numbers of views."""
        for theirs, ours in ((1, None), *((batch, batch) for batch in batches)):
            yield Entrant(PANORAMA, theirs, self._theirs(theirs), job)
            yield Entrant(MULTIDIFFUSION, ours, self._ours(same_views, max_batch=ours), job)

    def _theirs(self, batch: int) -> Theirs:
        return Theirs(self.worker, self.folder, SCALE, self.model.denoiser.channels, batch)

    def _ours(self, strategy: Callable[..., Strategy], **settings: int | None) -> Ours:
        return Ours(self.model, partial(strategy, **settings))


def write_small(folder: Path, settings: PeerSettings, *, side: int, scale: int) -> None:
    """Writes a small random Stable Diffusion."""
    sd_pipeline(
        settings.seed,
        side=side,
        width=settings.channels,
        attention=settings.attention,
        scale=scale,
    ).save_pretrained(folder)


def loaded(settings: PeerSettings, scratch: Path) -> tuple[PretrainedModel, Path]:
    """Returns the model that is compared, and its folder.

    Raises:
        ValueError: If it is none that the peer can take.
        OSError: If there is no such folder.
    """
    folder = settings.denoiser
    if folder is None:
        folder = scratch / "small"
        write_small(folder, settings, side=VIEW, scale=SCALE)
    elif not folder.is_dir():
        raise FileNotFoundError(
            f"denoiser must be the folder of a pipeline, as save_pretrained writes it; there is no "
            f"folder {folder}."
        )
    model = load_pretrained(str(folder))
    network = model.denoiser.network
    if not isinstance(network, TextNetwork) or network.model.config.addition_embed_type is not None:
        raise ValueError(
            "denoiser must be a Stable Diffusion 1 or 2, the peer takes no other, got "
            f"{type(model.pipeline).__name__}."
        )
    if model.scale != SCALE:
        raise ValueError(
            f"denoiser must have an autoencoder of {SCALE} px a latent, the peer knows no other, "
            f"got {model.scale}."
        )
    return model, folder.resolve()
