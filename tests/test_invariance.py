import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Fabric
from PIL import Image

from datamodules.invariance import crossfit
from datamodules.invariance.__main__ import Settings, filtered, main
from datamodules.invariance.classifier import Network, SideClassifier, patches, trained
from datamodules.invariance.crossfit import CrossFit, fold_of
from datamodules.invariance.images import CHUNK, Facts, Folder, looked_at
from datamodules.invariance.scores import Scored, Scores, read_scores

SIZE = 16
QUICK = CrossFit(epochs=15, batch_size=16, learning_rate=3e-3)


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def bright_on_the_left(count: int, seed: int = 0) -> np.ndarray:
    ramp = np.linspace(200, 20, SIZE)[None, None, :, None]
    return (ramp + noise(count, seed) / 255 * 40).astype(np.uint8)


def thumbnails(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def facts(count: int) -> list[Facts]:
    names = (f"{number:04}.png" for number in range(count))
    return [Facts(name, "", 0, name, SIZE, SIZE) for name in names]


def found(pixels: np.ndarray, folder: Path, fit: CrossFit = QUICK) -> tuple[list[int], np.ndarray]:
    folder.mkdir(exist_ok=True)
    fabric = Fabric(accelerator="cpu", devices=1)
    folds, p = fit.found(thumbnails(pixels), facts(len(pixels)), fabric=fabric, folder=folder)
    return folds, p.numpy()


def score(p: np.ndarray) -> np.ndarray:
    return np.maximum(1 - p[:, 0], p[:, 1])


def save(folder: Path, pixels: np.ndarray) -> Path:
    folder.mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number:04}.png")
    return folder


def scored(path: str, p_left: float, p_right: float, fold: int = 0) -> Scored:
    size = {"bytes": 100, "height": 10, "width": 20}
    return Scored(path=path, sha256="0" * 64, fold=fold, p_left=p_left, p_right=p_right, **size)


def three_scores() -> Scores:
    return Scores(
        settings={"threshold": 0.8, "folds": 2},
        content="c",
        images=(scored("a", 0.1, 0.6), scored("b", 0.6, 0.8, 1), scored("c", 0.5, 0.5)),
        skipped={"d": "damaged"},
    )


@pytest.mark.parametrize("network", ["small", "resnet18"])
def test_mirroring_a_patch_turns_its_odds_round(network: Network):
    torch.manual_seed(1)
    classifier = SideClassifier(network)
    for parameter in classifier.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x = torch.rand(4, 3, 32, 16)
    logits = classifier(x)
    assert logits.abs().min() > 1e-5
    # Exact but for the order of the sums inside a convolution: single precision.
    torch.testing.assert_close(classifier(x.flip(-1)), -logits, rtol=1e-3, atol=1e-5)


def test_patches_are_the_outermost_columns_in_the_range_of_a_denoiser():
    columns = torch.arange(0, 256, 51, dtype=torch.uint8).expand(1, 3, 6, 6)
    left, right = patches(columns, 2)
    assert torch.equal(left[0, 0, 0], torch.tensor([-1.0, 51 / 127.5 - 1]))
    assert torch.equal(right[0, 0, 0], torch.tensor([204 / 127.5 - 1, 1.0]))
    assert [CrossFit(share=share).width(64) for share in (0.5, 0.25, 0.001)] == [32, 16, 1]


@pytest.mark.parametrize("network", ["small", "resnet18"])
def test_an_untrained_classifier_has_even_odds(network: Network):
    assert torch.equal(SideClassifier(network)(torch.rand(4, 3, 32, 16)), torch.zeros(4))


def test_sides_that_differ_are_told_and_noise_is_not(tmp_path):
    _, p = found(bright_on_the_left(96), tmp_path / "ramp")
    assert np.median(score(p)) > 0.95
    assert p[:, 0].max() < 0.5 < p[:, 1].min()  # "right" is what label 1 means
    _, p = found(noise(96), tmp_path / "noise")
    # Models that learn nothing beyond the watched tenth stay within a few hundredths of chance.
    assert np.median(score(p)) == pytest.approx(0.5, abs=0.06)


def test_the_filter_separates_a_mixture(tmp_path):
    mixed = np.concatenate([bright_on_the_left(96), noise(96)])
    _, p = found(mixed, tmp_path)
    scores = score(p)
    # Seen: 0.998 to 0.999 on one side; 0.59 in the middle and 0.84 near the top on the other.
    assert np.mean(scores[:96] > 0.95) > 0.95
    assert np.mean(scores[96:] < 0.95) > 0.95


def test_no_image_is_scored_by_a_model_that_saw_it(tmp_path, monkeypatch):
    shown, asked = [], []

    def watched_training(thumbnails, **kwargs):
        shown.append({image.numpy().tobytes() for image in thumbnails})
        return trained(thumbnails, **kwargs)

    def watched_scoring(model, thumbnails, *others):
        asked.append({image.numpy().tobytes() for image in thumbnails})
        return torch.full((len(thumbnails), 2), len(asked) / 10, dtype=torch.float64)

    monkeypatch.setattr(crossfit, "trained", watched_training)
    monkeypatch.setattr(crossfit, "probabilities", watched_scoring)
    pixels = noise(60)
    fit = dataclasses.replace(QUICK, folds=3, epochs=1)
    folds, p = found(pixels, tmp_path, fit)
    every = {image.numpy().tobytes() for image in thumbnails(pixels)}
    assert len(every) == 60
    assert all(not seen & judged for seen, judged in zip(shown, asked, strict=True))
    assert all(seen | judged == every for seen, judged in zip(shown, asked, strict=True))
    # Every image has the figures of the model that was asked about its fold.
    np.testing.assert_allclose(p[:, 0], (np.array(folds) + 1) / 10)
    assert folds == [fold_of(fact.sha256, 3, 0) for fact in facts(60)]


def test_what_can_only_be_memorised_is_known_in_sample_and_not_out_of_fold(tmp_path, monkeypatch):
    # Without the watched tenth the models go on to memorise, which is what must not leak.
    monkeypatch.setattr("datamodules.invariance.classifier._log_loss", lambda found: -next(falling))
    falling = iter(range(10_000))
    pixels = noise(40)
    fit = dataclasses.replace(QUICK, epochs=40, learning_rate=1e-2, weight_decay=0.0)
    model = trained(
        thumbnails(pixels),
        network="small",
        width=8,
        epochs=fit.epochs,
        batch_size=fit.batch_size,
        learning_rate=fit.learning_rate,
        weight_decay=fit.weight_decay,
        seed=0,
        fabric=Fabric(accelerator="cpu", devices=1),
    )
    seen = crossfit.probabilities(
        model, thumbnails(pixels), 8, 16, Fabric(accelerator="cpu", devices=1)
    ).numpy()
    _, unseen = found(pixels, tmp_path, fit)

    def told(p):
        return np.mean(np.concatenate([p[:, 0] < 0.5, p[:, 1] > 0.5]))

    assert told(seen) > 0.9
    # 80 patches at chance: the standard error is 0.056.
    assert abs(told(unseen) - 0.5) < 5 * 0.056
    assert told(seen) - told(unseen) > 0.25


def test_a_mirrored_data_set_has_mirrored_scores(tmp_path):
    pixels = np.concatenate([bright_on_the_left(40), noise(24)])
    _, p = found(pixels, tmp_path / "as it is")
    _, mirrored = found(pixels[:, :, ::-1].copy(), tmp_path / "mirrored")
    assert np.abs(p - 0.5).max() > 0.3
    # The same sums in another order, through a few dozen steps in single precision.
    np.testing.assert_allclose(mirrored[:, 0], 1 - p[:, 1], atol=1e-3)
    np.testing.assert_allclose(mirrored[:, 1], 1 - p[:, 0], atol=1e-3)
    np.testing.assert_allclose(score(mirrored), score(p), atol=1e-3)


def test_scores_follow_from_seed_and_images(tmp_path):
    fit = dataclasses.replace(QUICK, epochs=3)
    pixels = bright_on_the_left(40)
    first, again, other = (
        found(pixels, tmp_path / name, dataclasses.replace(fit, seed=seed))
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    np.testing.assert_array_equal(first[1], again[1])
    assert first[0] == again[0] != other[0]


def test_a_fold_does_not_depend_on_the_other_images():
    folds = [fold_of(f"{number}.jpg", 4, 0) for number in range(400)]
    # 100 of 400 each, with a standard deviation of 8.7.
    assert all(abs(folds.count(fold) - 100) < 44 for fold in range(4))


def test_finished_folds_are_not_trained_again(tmp_path, monkeypatch):
    fit = dataclasses.replace(QUICK, epochs=2)
    pixels = bright_on_the_left(40)
    _, whole = found(pixels, tmp_path / "whole", fit)

    calls = []

    def counted(thumbnails, **kwargs):
        calls.append(kwargs["seed"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return trained(thumbnails, **kwargs)

    monkeypatch.setattr(crossfit, "trained", counted)
    with pytest.raises(KeyboardInterrupt):
        found(pixels, tmp_path / "stopped", fit)
    _, resumed = found(pixels, tmp_path / "stopped", fit)
    assert calls == [0, 1, 1]
    np.testing.assert_array_equal(resumed, whole)
    # Other settings or images are no reason to rely on what is there.
    calls[:] = [-1, -1]
    found(pixels, tmp_path / "stopped", dataclasses.replace(fit, epochs=3))
    assert calls == [-1, -1, 0, 1]


def test_thumbnails_are_made_once_and_again_when_a_file_changes(tmp_path, monkeypatch):
    root = save(tmp_path / "images", noise(5))
    monkeypatch.setattr("datamodules.invariance.images.CHUNK", 2)
    looks = []
    source = Folder(root)
    read = source.read
    monkeypatch.setattr(source, "read", lambda path: looks.append(path) or read(path))
    first, first_facts = looked_at(source, SIZE, tmp_path / "parts")
    assert torch.equal(first, thumbnails(noise(5)))
    again, again_facts = looked_at(source, SIZE, tmp_path / "parts")
    assert len(looks) == 5
    assert torch.equal(first, again)
    assert first_facts == again_facts
    Image.fromarray(noise(1, seed=9)[0]).save(root / "0002.png")
    changed, _ = looked_at(source, SIZE, tmp_path / "parts")
    assert sorted(looks[5:]) == ["0002.png", "0003.png"]  # the file's chunk
    assert torch.equal(changed[2], thumbnails(noise(1, seed=9))[0])
    assert CHUNK > 2


def test_the_score_is_that_of_the_side_that_gives_itself_away_most():
    scores = three_scores()
    assert [image.score for image in scores.images] == [0.9, 0.8, 0.5]
    assert [image.path for image in scores.kept] == ["c"]  # 0.8 is not below 0.8
    # ContextConditioner rightly: both of a, the right one of b, none of c, where 0.5 is no answer.
    assert scores.accuracy == pytest.approx(3 / 6)
    told = (0.9, 0.6, 0.4, 0.8, 0.5, 0.5)
    assert scores.log_loss == pytest.approx(-sum(map(math.log, told)) / 6)


def test_a_manifest_survives_the_way_to_the_disk_and_back(tmp_path):
    scores = three_scores()
    scores.write(tmp_path / "deep" / "kept.json")
    assert read_scores(tmp_path / "deep" / "kept.json") == scores
    written = json.loads((tmp_path / "deep" / "kept.json").read_text())
    assert written["counts"] == {"images": 3, "kept": 1, "skipped": 1, "folds": [2, 1]}
    assert [image["kept"] for image in written["images"]] == [False, False, True]
    assert written["hash"] == scores.hash
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["kept.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"p_left": 0.1', '"p_left": 0.9'), "was altered after"),
        (lambda text: text.replace('"threshold": 0.8', '"threshold": 0.9'), "was altered after"),
        (lambda text: text[: len(text) // 2], "kept must be a manifest of the invariance filter"),
        (lambda text: "[]", "kept must be a manifest of the invariance filter"),
    ],
)
def test_an_altered_manifest_is_refused(tmp_path, change, message):
    file = tmp_path / "kept.json"
    three_scores().write(file)
    file.write_text(change(file.read_text()))
    with pytest.raises(ValueError, match=message):
        read_scores(file)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"kept must be .* out=.*none\.json"):
        read_scores(tmp_path / "none.json")


def test_the_command_writes_a_manifest_and_goes_on_from_what_is_there(tmp_path, capsys):
    root = save(tmp_path / "images", np.concatenate([bright_on_the_left(96), noise(96)]))
    (root / "torn.png").write_bytes((root / "0000.png").read_bytes()[:60])
    out = tmp_path / "kept.json"
    tokens = [f"root={root}", f"out={out}", f"size={SIZE}", "fit.epochs=15", "accelerator=cpu"]
    tokens += ["fit.batch_size=16", "--fit.learning_rate=0.003", "threshold=0.95"]
    main(tokens)
    said = capsys.readouterr().out
    scores = read_scores(out)
    assert (
        f"{len(scores.kept)} of 192 images are kept (score below 0.95); 1 were unreadable" in said
    )
    assert list(scores.skipped) == ["torn.png"]
    ramps = [image for image in scores.images if image.path < "0096"]
    kept = {image.path for image in scores.kept}
    assert len(ramps) == 96
    assert sum(image.path in kept for image in ramps) <= 2
    assert len(kept) >= 92
    assert {image.fold for image in scores.images} == {0, 1}
    first = scores.images[0]
    assert (first.height, first.width) == (SIZE, SIZE)
    assert first.bytes == (root / first.path).stat().st_size
    # Another threshold trains nothing anew.
    main([token.replace("0.95", "0.5") for token in tokens])
    assert read_scores(out).images == scores.images
    assert len(read_scores(out).kept) < len(scores.kept)


def test_models_that_are_surer_than_they_may_be_are_called_out(tmp_path, monkeypatch):
    root = save(tmp_path / "images", noise(40))

    def surely_wrong(model, thumbnails, *others):
        return torch.tensor([[0.99, 0.01]] * len(thumbnails), dtype=torch.float64)

    monkeypatch.setattr(crossfit, "probabilities", surely_wrong)
    settings = Settings(
        root=root,
        out=tmp_path / "kept.json",
        size=SIZE,
        fit=dataclasses.replace(QUICK, epochs=1),
        accelerator="cpu",
    )
    with pytest.warns(UserWarning, match=r"log loss 4\.605, even odds have 0\.693"):
        filtered(settings)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["fit.folds=1"], "folds must be at least 2, got 1"),
        (["fit.share=0.6"], r"share must be in \(0, 0\.5\], got 0\.6"),
        (["threshold=0.3"], r"threshold must be in \[0\.5, 1\], got 0\.3"),
        (["size=4"], "size must be at least 8, got 4"),
        (["out=kept.txt"], r"out must be a \.json file, got kept\.txt"),
        ([], "every model needs 10 images to train on, but one would have"),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path, tokens, message, capsys):
    root = save(tmp_path / "images", noise(8))
    given = [f"root={root}", f"out={tmp_path / 'kept.json'}", "accelerator=cpu", *tokens]
    with pytest.raises(SystemExit) as stopped:
        main(given)
    assert stopped.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(message, said), said
