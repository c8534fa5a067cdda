import csv

import pytest
from PIL import Image as Picture
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.comparison.loggers import build_loggers, validate_loggers
from benchmarks.metrics.estimates import Curve, Estimate, Spread
from benchmarks.results.records import Cost, Row

COST = Cost(70, 100, 96.0, 0, Spread(0.5, 0.4, 0.6, 3), 0.4, 0.98, 800.0)
ROW = Row(
    "naive",
    True,
    [],
    {},
    {},
    {"fid_plus": Estimate(3.5, 3.0, 4.0)},
    {},
    {"drift": Curve([0, 16], [0.0, 0.25], [0.0, 0.2], [0.0, 0.3])},
    {},
    COST,
    [],
)


def test_tensorboard_holds_figures_curves_and_the_sheet(tmp_path):
    sheet = tmp_path / "contact_sheet.png"
    Picture.new("RGB", (8, 4), "red").save(sheet)
    loggers = build_loggers(["tensorboard"], tmp_path)
    loggers.settings({"num_samples": 64})
    loggers.row(ROW, num_samples=64)
    loggers.picture(sheet)
    loggers.finish(failed=False)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (figure,) = events.Scalars("fid_plus/naive")
    assert (figure.step, figure.value) == (64, 3.5)
    assert [(one.step, one.value) for one in events.Scalars("drift by px/naive")] == [
        (0, 0.0),
        (16, 0.25),
    ]
    assert events.Scalars("seconds_per_canvas/naive")[0].value == 0.5
    assert events.Tags()["images"] == ["contact_sheet"]


def test_csv_holds_figures(tmp_path):
    loggers = build_loggers(["csv"], tmp_path)
    loggers.row(ROW, num_samples=64)
    loggers.finish(failed=False)
    with (tmp_path / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert "3.5" in {row["fid_plus/naive"] for row in rows}


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_whose_package_is_missing_is_refused(name, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(ValueError, match=f"loggers={name} needs the package {name}"):
        validate_loggers([name])
    validate_loggers(["tensorboard", "csv"])


def test_no_logger_is_no_trouble(tmp_path):
    loggers = build_loggers([], tmp_path)
    loggers.row(ROW, num_samples=64)
    loggers.finish(failed=True)
    assert not list(tmp_path.iterdir())
