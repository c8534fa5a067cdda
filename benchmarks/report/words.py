"""The settings of a run in words: what a reader asks before believing a table."""

from typing import Any

from benchmarks.results.columns import rounded
from benchmarks.results.notes import listed, shape_name
from benchmarks.results.records import Results
from benchmarks.tables.columns import shortened

__all__ = ["duration", "paragraphs"]

HASH = 12  # characters of a hash that tell it from all others here


def paragraphs(results: Results) -> list[str]:
    """Returns what was run, on what, against what and where, a paragraph each.

    What a record does not hold is left out.
    """
    found = [
        [_denoiser(results.denoiser)],
        [_canvases(results), _solver(results.settings.get("solver") or {}), _names(results)],
        [_data(results), _features(results.features)],
        [_machine(results), _code(results.environment), _time(results.seconds)],
    ]
    said = [" ".join(sentence for sentence in group if sentence) for group in found]
    return [paragraph for paragraph in said if paragraph]


def duration(seconds: float) -> str:
    """Spells a time out in the two largest units that matter.

    >>> duration(42.31), duration(75.0), duration(7265.0), duration(0.25)
    ('42 s', '1 min 15 s', '2 h 1 min', '0.25 s')
    """
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _denoiser(denoiser: dict[str, Any]) -> str:
    if "file" not in denoiser:
        return ""
    inner = denoiser.get("denoiser") or {}
    side, parameters = inner.get("patch_size"), denoiser.get("parameters")
    traits = []
    if "network" in inner:
        size = f" of {_count(parameters)} parameters" if parameters else ""
        traits.append(f"a {str(inner['network']).rpartition('.')[2]}{size}")
    if side:
        traits.append(f"for patches of {side} x {side} px")
    trained = _trained(denoiser.get("provenance"))
    traits += [trained] if trained else []
    if "weights_sha256" in denoiser:
        traits.append(f"SHA-256 of the weights {str(denoiser['weights_sha256'])[:HASH]}…")
    inside = f" ({', '.join(traits)})" if traits else ""
    return f"Every strategy uses one and the same denoiser, {denoiser['file']}{inside}."


def _trained(provenance: Any) -> str:
    if not isinstance(provenance, dict) or "steps" not in provenance:
        return ""
    batch = provenance.get("batch_size")
    said = f"trained for {provenance['steps']:,} steps"
    return said + (f" of {batch} patches" if batch else "")


def _canvases(results: Results) -> str:
    height, width = results.canvas
    settings = results.settings
    seed = f" of seed {settings['seed']}" if "seed" in settings else ""
    batch = f", {settings['batch_size']} at a time" if "batch_size" in settings else ""
    return (
        f"Each strategy made {results.num_samples:,} {shape_name(results)} of {height} x {width} "
        f"px{batch}; canvas k of all of them began from the same noise{seed}."
    )


def _solver(solver: dict[str, Any]) -> str:
    own = solver.get("init_args") or {}
    if "num_steps" not in own:
        return ""
    name = str(solver.get("class_path", "the solver")).rpartition(".")[2]
    ends = ""
    if {"sigma_max", "sigma_min"} <= set(own):
        ends = f", from noise level {own['sigma_max']:g} down to {own['sigma_min']:g}"
    churn = f" and churn {own['churn']:g}" if own.get("churn") else ""
    return f"The way from noise to image is {own['num_steps']} steps of {name}{ends}{churn}."


def _names(results: Results) -> str:
    names = [row.strategy for row in results.rows]
    done = f"Compared are {listed(names)}." if names else "No strategy has finished."
    failed = f" Failed: {listed(results.failures)}." if results.failures else ""
    return done + failed


def _data(results: Results) -> str:
    if not results.num_reference:
        return "There are no real images to compare with (data=none)."
    traits = [
        f"{name} {value}"
        for name, value in results.data.items()
        if isinstance(value, str | int | float) and name not in ("class", "name")
    ]
    name = results.data.get("class") or results.data.get("name") or "not recorded"
    inside = f" ({', '.join(shortened(trait, 60) for trait in traits)})" if traits else ""
    return (
        f"Real images are {name}{inside}: {results.num_reference:,} crops of images kept from "
        "training are the reference."
    )


def _features(features: dict[str, Any]) -> str:
    numbers = f", {features['dimensions']:,} numbers a crop" if "dimensions" in features else ""
    mark = features.get("weights_sha256") or features.get("fingerprint")
    hashed = f", fingerprint {str(mark)[:HASH]}" if mark else ""
    resizer = f", resizer {features['resizer']}" if features.get("resizer") else ""
    return f"The features are those of {features['name']}{numbers}{resizer}{hashed}."


def _machine(results: Results) -> str:
    environment = results.environment
    if "device" not in environment:
        return ""
    precision = (results.settings.get("runtime") or {}).get("precision")
    threads = environment.get("threads")
    return (
        f"It ran on {environment['device']}"
        + (f", with {threads} thread{'s' if threads != 1 else ''}" if threads else "")
        + (f", in {precision}" if precision else "")
        + "."
    )


def _code(environment: dict[str, Any]) -> str:
    commit = environment.get("commit")
    torch = (environment.get("versions") or {}).get("torch") or environment.get("torch")
    parts = []
    if commit:
        changed = " with changes" if str(commit).endswith("+") else ""
        parts.append(f"commit {str(commit)[:HASH].rstrip('+')}{changed}")
    if torch:
        parts.append(f"torch {torch}")
    return f"The code is {' on '.join(parts)}." if parts else ""


def _time(seconds: dict[str, float]) -> str:
    """Says how long it took, and what part of it the network had."""
    if not seconds.get("wall"):
        return ""
    said = f"It took {duration(float(seconds['wall']))}"
    if "network" in seconds:
        share = 100 * seconds["network"] / seconds["wall"]
        said += f", {share:.0f} % of it inside the network"
    return f"{said}."


def _count(number: int) -> str:
    millions = number / 1e6
    return f"{rounded(millions, 2)} million" if millions >= 1 else f"{number:,}"
