"""What is measured of a configuration: canvases by the harness, the network by itself."""

import dataclasses
from pathlib import Path

from datamodules.landscapes import Landscapes
from datamodules.patches import PatchData
from datamodules.photos import Photos
from denoisers.checkpoint import describe_checkpoint, load_denoiser
from denoisers.precond import EDMPrecond
from patchcanvas.environment import resolve_device
from sampling.solvers import Heun
from strategies.canvas import Canvas
from strategies.diffcollage import DiffCollage
from studies.context.completion import Completion, completion_error
from studies.context.configurations import Training
from studies.context.responses import response
from studies.context.table import STRATEGIES, Line
from studies.harness import Run, measured

__all__ = ["Measuring"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measuring:
    """How every configuration of a study is measured.

    Args:
        root: Folder of photographs; None for procedural landscapes.
        num_samples: Canvases of each strategy.
        num_reference: Real crops that FID+ compares with.
        num_steps: Steps of Heun's method, with as much churn on canvases.
        completions: Blocks that are completed, of training and of unseen views each.
        guidance: Scale of classifier-free guidance of the canvases.
        canvas_width: Width of the canvases, in pixels; None for that of a view.
        prompts: Words whose responses are compared.
        device: Where all is made: as `benchmarks.run` has it.
    """

    root: Path | None
    num_samples: int
    num_reference: int
    num_steps: int
    completions: int
    guidance: float
    canvas_width: int | None
    prompts: tuple[str, ...]
    device: str

    @property
    def data(self) -> PatchData:
        """Where blocks and seed images come from."""
        return Landscapes() if self.root is None else Photos(self.root)

    def canvases(self, training: Training) -> Run:
        """Returns the harness's run of a configuration, which is carried out unless it is there."""
        height, view_width = describe_checkpoint(training.denoiser)["denoiser"]["conditioning"][
            "view"
        ]
        width = view_width if self.canvas_width is None else self.canvas_width
        conditioning = ["context=seed_image", f"context.guidance_scale={self.guidance}"]
        return measured(
            training.folder,
            f"{training.name}-{self.num_samples}-{self.num_steps}-{self.guidance:g}-{width}",
            STRATEGIES,
            "lshape_repaint.jump_n_sample=1",
            f"denoiser={training.denoiser}",
            f"canvas.height={height}",
            f"canvas.width={width}",
            f"num_samples={self.num_samples}",
            f"num_reference={self.num_reference}",
            "solver=heun",
            f"solver.num_steps={self.num_steps}",
            f"solver.churn={self.num_steps}",
            f"seed={training.seed}",
            *(
                ["context=unconditional"]
                if training.configuration.backbone is None
                else conditioning
            ),
            *([] if self.device == "auto" else [f"device={self.device}"]),
            *([] if self.root is None else ["data=photos", f"data.root={self.root}"]),
        )

    def line(self, training: Training, run: Run) -> Line:
        """Returns the configuration's line of the table."""
        denoiser = load_denoiser(training.denoiser, device=resolve_device(self.device))
        losses = training.losses()
        return Line(
            name=training.name,
            loss=losses["val/loss"],
            loss_unconditional=losses["val/loss_unconditional"],
            gates={block: gate.item() for block, gate in denoiser.network.gates.items()},
            figures={row.strategy: row.figures for row in run.results.rows},
            completion=self._completion(training, denoiser),
            responses=self._responses(training, denoiser),
        )

    def _completion(self, training: Training, denoiser: EDMPrecond) -> dict[str, Completion]:
        backbone = training.backbone
        return {
            split: completion_error(
                denoiser,
                backbone,
                self.data,
                split,
                view=_view(denoiser),
                count=self.completions,
                solver=Heun(num_steps=self.num_steps),
                seed=training.seed,
                device=resolve_device(self.device),
            )
            for split in ("train", "test")
        }

    def _responses(self, training: Training, denoiser: EDMPrecond) -> dict[str, float]:
        """Returns how far canvases move with other images, and with other words."""
        backbone = training.backbone
        if backbone is None:
            return {}
        backbone = backbone.to(resolve_device(self.device))
        height, width = _view(denoiser)
        images = self.data.crops("test", len(self.prompts), height, width).float() / 127.5 - 1
        tokens = {"images": backbone(images)}
        if backbone.has_text:
            tokens["words"] = backbone.text(self.prompts)
        canvas = Canvas(height=height, width=width)
        strategy = DiffCollage(solver=Heun(num_steps=self.num_steps))
        return {
            kind: response(strategy, denoiser, canvas, rows, seed=training.seed)
            for kind, rows in tokens.items()
        }


def _view(denoiser: EDMPrecond) -> tuple[int, int]:
    """Returns height and width of the views of a training, in pixels."""
    assert denoiser.conditioning is not None, "every network of the study is trained with contexts"
    height, width = denoiser.conditioning["view"]
    return height, width
