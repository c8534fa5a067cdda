"""Reference crops: their hash, and their features, which are computed once and kept.

The hash is that of the pixels themselves, crop by crop, and the cache is keyed by it: images that
were exchanged, decoded otherwise or cut elsewhere are another reference, whatever they are called.
"""

import dataclasses
import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from benchmarks.experiment.processes import ALONE, Processes, runs_of
from benchmarks.metrics.features import FeatureNetwork
from datamodules.patches import PatchData
from patchcanvas.files import whole

__all__ = ["Reference", "reference_of"]

CHUNK = 128  # crops in memory at once
Features = Float[Tensor, "crops dimensions"]


@dataclasses.dataclass(frozen=True)
class Reference:
    """What generated crops are compared with.

    Args:
        features: One row for each crop.
        sha256: Hash over the pixels of all crops, in their order.
    """

    features: Features
    sha256: str


def reference_of(
    data: PatchData,
    features: FeatureNetwork,
    processes: Processes = ALONE,
    *,
    count: int,
    side: int,
    cache: Path,
    advance: Callable[[int], None] = lambda crops: None,
) -> Reference:
    """Returns the features of the first `count` square crops of the data's `test` split.

    Every crop is made and hashed anew, about a millisecond each for small ones; the network runs
    only on what the cache does not hold.

    Args:
        data: Where the crops come from.
        features: The network.
        processes: Who shares the work.
        count: How many crops.
        side: Their height and width, in pixels.
        cache: Folder of the kept features.
        advance: Told the number of crops after each chunk.
    """
    known = processes.once(lambda: any(cache.glob(f"*-{features.fingerprint[:16]}.safetensors")))
    share = processes.share(runs_of(list(range(count)), longest=CHUNK))
    hashes: dict[int, bytes] = {}
    rows: dict[int, Features] = {}
    for run in share:
        crops = data.crops("test", len(run), side, side, first=run.start)
        hashes |= {
            index: hashlib.sha256(crop.numpy().tobytes()).digest()
            for index, crop in zip(run, crops, strict=True)
        }
        if not known:
            rows[run.start] = features(crops).cpu()
        advance(len(run))
    everybody = {index: one for part in processes.gathered(hashes) for index, one in part.items()}
    joined = b"".join(everybody[index] for index in range(count))
    sha256 = hashlib.sha256(f"{count} {side}".encode() + joined).hexdigest()
    path = cache / f"reference-{sha256[:16]}-{features.fingerprint[:16]}.safetensors"
    kept = processes.once(lambda: _read(path, sha256, features)) if known else None
    if kept is None:
        for run in share if known else ():
            crops = data.crops("test", len(run), side, side, first=run.start)
            rows[run.start] = features(crops).cpu()
        parts = {start: part for one in processes.gathered(rows) for start, part in one.items()}
        kept = torch.cat([parts[start] for start in sorted(parts)])
        processes.once(lambda: _write(path, kept, sha256, features))
    return Reference(kept, sha256)


def _write(path: Path, rows: Features, sha256: str, features: FeatureNetwork) -> None:
    hashes = {"reference_sha256": sha256, "features_sha256": features.fingerprint}
    with whole(path) as part:
        part.write_bytes(save({"features": rows.contiguous()}, metadata=hashes))


def _read(path: Path, sha256: str, features: FeatureNetwork) -> Features | None:
    """Returns what was kept; None if there is nothing, or it is damaged, with a warning."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            expected = {"reference_sha256": sha256, "features_sha256": features.fingerprint}
            if file.metadata() != expected:
                raise SafetensorError("it holds the features of something else")
            return file.get_tensor("features")
    except SafetensorError as error:
        warnings.warn(f"{path} is damaged ({error}); its features are computed anew.", stacklevel=2)
        return None
