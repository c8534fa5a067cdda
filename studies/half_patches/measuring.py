"""The study's parts: what is trained, asked for halves, and compared with what is right."""

import dataclasses
from pathlib import Path

from datamodules.landscapes import Landscapes
from denoisers.checkpoint import load_denoiser
from denoisers.contract import PatchDenoiser
from denoisers.gaussian import GaussianDenoiser
from patchcanvas.environment import resolve_device
from studies.half_patches.canvases import network_canvases
from studies.half_patches.estimates import (
    Asked,
    Excess,
    Halves,
    Way,
    asked,
    excess_over_best,
    excess_over_exact,
    ways_of,
)
from studies.half_patches.fields import FIELD
from studies.half_patches.training import NETWORKS, Data, Training
from studies.harness import Run

__all__ = ["Measuring"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measuring:
    """How the networks of a study are trained and measured.

    Args:
        steps: Optimizer steps of each training.
        seed: Seeds weights and noise.
        num_crops: Half-patches whose estimates are looked at.
        levels: Their noise levels.
        num_samples: Canvases of each row.
        num_reference: Real crops that FID+ compares with.
        num_steps: Steps of Heun's method, with as much churn.
        checkpoints: Other denoisers of landscapes, trained on halves.
        folder: Where trainings and runs go.
    """

    steps: int
    seed: int
    num_crops: int
    levels: tuple[float, ...]
    num_samples: int
    num_reference: int
    num_steps: int
    checkpoints: tuple[Path, ...]
    folder: Path

    def trained(self, data: Data) -> dict[str, Path]:
        """Returns the weights of the networks; what is not there is trained.

        Raises:
            RuntimeError: If a training fails.
            ValueError: If weights are there that were trained for another number of steps.
        """
        weights = {}
        for network in NETWORKS:
            training = Training.of(
                data, network, steps=self.steps, seed=self.seed, folder=self.folder
            )
            training.carry_out()
            training.losses()  # refuses what was trained for another number of steps
            weights[network] = training.denoiser
        return weights

    def fields(self) -> dict[Asked, Excess]:
        """Returns how far halves of a Gaussian field are from the exact ones.

        Under a perfect denoiser of whole patches first, then under the networks.
        """
        networks = {name: self._loaded(path) for name, path in self.trained("fields").items()}
        (side,) = {network.patch_size for network in networks.values()}
        exact = GaussianDenoiser(FIELD, patch_size=side)
        halves = Halves.of_field(FIELD, side, self.num_crops, self.seed)
        denoisers = _in_all_ways({"perfect": exact} | networks)
        del denoisers["perfect", "own_size"]  # the exact estimate itself
        return excess_over_exact(denoisers, exact, halves, self.levels)

    def landscapes(self) -> dict[Asked, Excess]:
        """Returns how much worse estimates of landscapes are than the best ones.

        The best are those of a denoiser trained on halves, asked for halves as they are: of the
        study's own one for its networks, of each of the checkpoints for itself.
        """
        networks = {name: self._loaded(path) for name, path in self.trained("landscapes").items()}
        found = self._above_best(networks, "halves")
        for path in self.checkpoints:
            found |= self._above_best({path.stem: self._loaded(path)}, path.stem)
        return found

    def canvases(self) -> dict[Asked, Run]:
        """Returns runs of DiffCollage; each is carried out unless it is there.

        Of the network without halves in all ways, beside the one with halves at own size, and of
        the last of the checkpoints.
        """
        trained = self.trained("landscapes")
        chosen: list[tuple[Path, list[Way]]] = [
            (trained["halves"], ["own_size"]),
            (trained["wholes"], ways_of(self._loaded(trained["wholes"]))),
            *((path, ways_of(self._loaded(path))) for path in self.checkpoints[-1:]),
        ]
        return {
            (path.stem.removeprefix("landscapes-"), way): self._run(path, way)
            for path, ways in chosen
            for way in ways
        }

    def _loaded(self, path: Path) -> PatchDenoiser:
        return load_denoiser(path, device=resolve_device("auto"))

    def _above_best(self, denoisers: dict[str, PatchDenoiser], best: str) -> dict[Asked, Excess]:
        side = denoisers[best].patch_size
        halves = Halves.of_data(Landscapes(), side, self.num_crops, self.seed)
        return excess_over_best(_in_all_ways(denoisers), denoisers[best], halves, self.levels)

    def _run(self, denoiser: Path, way: Way) -> Run:
        return network_canvases(
            denoiser,
            way,
            self.folder,
            f"num_samples={self.num_samples}",
            f"num_reference={self.num_reference}",
            "solver=heun",
            f"solver.num_steps={self.num_steps}",
            f"solver.churn={self.num_steps}",
            f"seed={self.seed}",
        )


def _in_all_ways(denoisers: dict[str, PatchDenoiser]) -> dict[Asked, PatchDenoiser]:
    return {
        (name, way): asked(denoiser, way)
        for name, denoiser in denoisers.items()
        for way in ways_of(denoiser)
    }
