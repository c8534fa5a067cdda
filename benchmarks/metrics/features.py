"""Feature networks of FID+: what turns a crop into the vector whose distribution is compared.

`inception` is the network of [FID], in torch-fidelity's port of the original weights. `random_conv`
needs no weights: a small frozen network of random filters, rectified and pooled as in [SCAT],
for machines that have no InceptionV3. Their figures live on different scales and may never be
compared, so the name of the network is part of the name of the metric.

References:
    [FID] Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
    Equilibrium, 2017. arXiv:1706.08500
    [SCAT] Bruna and Mallat, Invariant Scattering Convolution Networks, 2012. arXiv:1203.1513
"""

import abc
import pickle
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor
from torch.nn import functional as F
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from typing_extensions import override

from backbones.contract import fingerprint_of

__all__ = ["FeatureNetwork", "Inception", "RandomConv", "build_features"]

Images = UInt8[Tensor, "n 3 height width"]


class FeatureNetwork(abc.ABC):
    """A frozen function of one image, applied to many.

    Attributes:
        name: Printed with every figure that rests on these features.
        fingerprint: SHA-256 of the weights and of the settings, in hexadecimal; figures whose
            fingerprints differ are not comparable.
        dimensions: Length of a feature vector.
        resizer: What an image is resized by before the network sees it.
        dtype: What the network computes in.
        chunk: Images in flight at once: bounds memory and changes no feature.
    """

    name: str
    fingerprint: str
    dimensions: int
    resizer: str
    dtype: torch.dtype
    chunk: int

    @property
    def description(self) -> dict[str, Any]:
        """What a result must quote to say what its features are."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "dimensions": self.dimensions,
            "resizer": self.resizer,
            "dtype": str(self.dtype).removeprefix("torch."),
        }

    def __call__(self, images: Images) -> Float[Tensor, "n dimensions"]:
        """Returns the features of every image, on the network's device.

        TF32 is off and no convolution is chosen by timing: an image has the same features
        whatever it was batched with, up to the rounding of the network's own precision.

        Raises:
            ValueError: If there are no images.
        """
        if not len(images):
            raise ValueError("there must be at least 1 image, got 0.")
        exact = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        with torch.no_grad(), exact:
            return torch.cat([self.embed(part) for part in images.split(self.chunk)])

    def to(self, device: torch.device | str) -> "FeatureNetwork":
        """Moves the network where there is something to move, and returns itself."""
        return self

    @abc.abstractmethod
    def embed(self, images: Images) -> Float[Tensor, "n dimensions"]:
        """Returns the features of one chunk."""


class RandomConv(FeatureNetwork):
    """A seeded, weight-free scattering-like network; docs/features.md has its definition.

    At each of three scales (1, 1/2 and 1/4, by 2 x 2 averages) the image passes a bank of 3 x 3
    filters and is rectified, `u_k = |w_k * x|`: horizontal and vertical differences of three
    opponent colours and random filters of zero mean. With `log` floored at two grey levels:

    - energy, `log mean(u_k)`: blur, noise, contrast;
    - the strongest line, `log max_column(mean_row(u_k)) - log mean(u_k)`, and the same with rows
      and columns exchanged: a seam is one column whose steps are large from top to bottom, which
      a mean over all pixels hides and a maximum over single pixels confuses with texture;
    - texture, `log mean |v_j * u|` with random `v_j` over all channels, at the two finer scales.

    Mean and standard deviation of the opponent colours make colour visible. Everything is a mean
    or a maximum over all places, so no place in the crop is special. In float64; about
    1,700 crops of 32 x 32 a second on one core.

    Args:
        seed: Seeds the filters. Integers are drawn, so every machine draws the same ones.
        device: Where to compute.
    """

    name = "random_conv"
    resizer = "none"
    dtype = torch.float64
    min_side = 12  # pixels: at 1/4 of this a 3 x 3 filter still fits

    _scales = 3
    _random_filters = 6
    _textures = 16
    # One unit of colour is a sixth of half the range of a pixel: 42 % of the total variance of
    # photographs is then colour's. At 1 it is 2 %, and a tint drowns in the other features' floor.
    _colour_gain = 6.0
    _floor = 2 / 127.5  # of the logarithms: two grey levels of 255

    def __init__(self, *, seed: int = 0, device: torch.device | str = "cpu") -> None:
        generator = torch.Generator().manual_seed(seed)
        opponents = _unit_filters(torch.tensor([[1, 1, 1], [1, -1, 0], [1, 1, -2]]))
        filters = torch.cat(
            [
                _differences(opponents),
                _random_unit_filters((self._random_filters, 3, 3, 3), generator),
            ]
        )
        textures = _random_unit_filters((self._textures, len(filters), 3, 3), generator)
        weights = {
            "opponents": opponents.view(3, 3, 1, 1),
            "filters": filters,
            "textures": textures,
        }
        settings = {
            "name": self.name,
            "scales": self._scales,
            "colour_gain": self._colour_gain,
            "floor": self._floor,
            "dtype": "float64",
        }
        self.fingerprint = fingerprint_of(weights, settings)
        self.dimensions = 6 + 3 * len(filters) * self._scales + len(textures) * (self._scales - 1)
        self._weights = weights
        self.to(device)

    @override
    def to(self, device: torch.device | str) -> "RandomConv":
        self._weights = {key: weight.to(device) for key, weight in self._weights.items()}
        # On a CPU, few images whose filtered copies stay in its cache: 2.3 times as fast as 128.
        self.chunk = 16 if torch.device(device).type == "cpu" else 256
        return self

    @override
    def embed(self, images: Images) -> Float64[Tensor, "n dimensions"]:
        if min(images.shape[-2:]) < self.min_side:
            raise ValueError(
                f"random_conv needs images of at least {self.min_side} x {self.min_side} px, "
                f"got {images.shape[-2]} x {images.shape[-1]}."
            )
        opponents, filters, textures = self._weights.values()
        x = images.to(filters) / 127.5 - 1
        features = [self._colour(F.conv2d(x, opponents))]
        for scale in range(self._scales):
            u = F.conv2d(x, filters).abs()
            features.append(self._energy_and_lines(u))
            if scale < self._scales - 1:
                features.append(self._log(F.conv2d(u, textures).abs().mean((2, 3))))
                x = F.avg_pool2d(x, 2)
        return torch.cat(features, dim=1)

    def _colour(self, x: Float64[Tensor, "n 3 height width"]) -> Float64[Tensor, "n 6"]:
        return self._colour_gain * torch.cat([x.mean((2, 3)), x.std((2, 3))], dim=1)

    def _energy_and_lines(
        self, u: Float64[Tensor, "n filters height width"]
    ) -> Float64[Tensor, "n three_times_filters"]:
        energy = self._log(u.mean((2, 3)))
        lines = [self._log(u.mean(along).amax(-1)) - energy for along in (2, 3)]
        return torch.cat([energy, *lines], dim=1)

    def _log(self, u: Float64[Tensor, "..."]) -> Float64[Tensor, "..."]:
        return (u + self._floor).log()


class Inception(FeatureNetwork):
    """The 2048 features of InceptionV3 before its classifier, in torch-fidelity's port.

    Crops of any size are resized to 299 x 299, as the original TensorFlow graph does: about six
    a second on one core.

    Args:
        weights: torch-fidelity's weights file; None downloads it, or takes it from torch's cache.
        device: Where to compute.

    Raises:
        FileNotFoundError: If `weights` is no file.
        ValueError: If the file does not hold these weights.
        RuntimeError: If nothing is given and nothing can be downloaded.
    """

    name = "inception"
    dimensions = 2048
    resizer = "bilinear to 299 px, as TensorFlow 1"
    dtype = torch.float32
    chunk = 32

    def __init__(self, weights: Path | None = None, *, device: torch.device | str = "cpu") -> None:
        network = _downloaded_inception() if weights is None else _local_inception(weights)
        settings = {"name": self.name, "layer": "2048", "dtype": "float32"}
        self.fingerprint = fingerprint_of(network.state_dict(), settings)
        self._network = network
        self.to(device)

    @override
    def to(self, device: torch.device | str) -> "Inception":
        self._network.to(device)
        self._device = device
        return self

    @override
    def embed(self, images: Images) -> Float[Tensor, "n 2048"]:
        (features,) = self._network(images.to(self._device))
        return features


def build_features(
    name: str, *, weights: Path | None = None, device: torch.device | str = "cpu"
) -> FeatureNetwork:
    """Returns the network called `name`: `inception` or `random_conv`, never one for the other.

    Args:
        name: Which network.
        weights: Local weights of `inception`; `random_conv` has none.
        device: Where to compute.

    Raises:
        ValueError: If there is no such network, or weights are given to one that takes none.
        RuntimeError: If `inception` has neither local weights nor a connection.
    """
    if name == "inception":
        return Inception(weights, device=device)
    if name != "random_conv":
        raise ValueError(f"features must be 'inception' or 'random_conv', got {name!r}.")
    if weights is not None:
        raise ValueError(f"random_conv takes no weights, got {weights}.")
    return RandomConv(device=device)


def _unit_filters(integers: Tensor) -> Float64[Tensor, "filters ..."]:
    """Scales every filter to unit norm; a filter of zeros stays zero.

    The sums are of small integers, so they are exact in float64 in whatever order.
    """
    norms = integers.flatten(1).double().square().sum(1).sqrt().clamp(min=1)
    return integers / norms.view(-1, *[1] * (integers.ndim - 1))


def _random_unit_filters(
    shape: tuple[int, int, int, int], generator: torch.Generator
) -> Float64[Tensor, "filters channels 3 3"]:
    """Returns filters drawn from {-1, 0, 1}, then freed of every channel's mean, of unit norm."""
    drawn = torch.randint(-1, 2, shape, generator=generator)
    return _unit_filters(9 * drawn - drawn.sum((2, 3), keepdim=True))


def _differences(opponents: Float64[Tensor, "3 3"]) -> Float64[Tensor, "6 3 3 3"]:
    """Returns the horizontal and the vertical difference of every opponent colour."""
    step = torch.zeros(3, 3, dtype=torch.float64)
    step[1, 1], step[1, 2] = -(0.5**0.5), 0.5**0.5
    steps = torch.stack([step, step.T])
    return torch.einsum("oc,shw->oschw", opponents, steps).flatten(0, 1)


def _downloaded_inception() -> FeatureExtractorInceptionV3:
    try:
        return FeatureExtractorInceptionV3("inception", ["2048"])
    except OSError as error:
        raise RuntimeError(
            f"the weights of inception could not be downloaded ({error}); give torch-fidelity's "
            "file weights-inception-2015-12-05-6726825d.pth as features_weights=FILE, or choose "
            "features=random_conv, whose figures are not comparable with inception's."
        ) from error


def _local_inception(weights: Path) -> FeatureExtractorInceptionV3:
    if not weights.is_file():
        raise FileNotFoundError(f"weights of inception must be a file, got {weights}.")
    try:
        # torch-fidelity unpickles without restriction: look at the file with restriction first.
        torch.load(weights, map_location="cpu", weights_only=True)
        return FeatureExtractorInceptionV3(
            "inception", ["2048"], feature_extractor_weights_path=str(weights)
        )
    except (pickle.UnpicklingError, EOFError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"{weights} must hold torch-fidelity's weights of InceptionV3: {error}"
        ) from error
