import base64
import dataclasses
import hashlib
import html
import json
import random
import re

import matplotlib.colors
import pytest
import torch
from PIL import Image

from benchmarks.latency.records import Batch, Floor, LatencyResults, Point
from benchmarks.metrics.estimates import Curve, Estimate
from benchmarks.report.__main__ import main
from benchmarks.report.canvases import gallery
from benchmarks.report.contact_sheet import MAX_WIDTH, contact_sheet, draw_sheet, layout
from benchmarks.report.page import write_report
from benchmarks.report.plots import (
    curve_against_distance,
    pareto_front,
    quality_against_cost,
)
from benchmarks.report.words import paragraphs
from benchmarks.results.records import Results
from benchmarks.results.table import markdown
from patchcanvas.plotting import look
from patchcanvas.records import write_record
from tests.example_results import (
    FAILURE,
    HEIGHT,
    WIDTH,
    canvases,
    cost,
    curve,
    figures,
    results_of,
    row,
    usual,
    with_canvases,
)


@pytest.fixture
def results() -> Results:
    return usual()


@pytest.fixture
def folder(results, tmp_path):
    """The folder of a run: two canvases of every row but the costless one, whose files are gone."""
    with_canvases(results, tmp_path)
    write_record(tmp_path / "results.json", results)
    return tmp_path


def embedded(page: str) -> list[bytes]:
    return [
        base64.b64decode(found) for found in re.findall(r"data:image/png;base64,([^\"]*)", page)
    ]


def test_report_needs_nothing_beside_it(results, folder):
    page = write_report(results, folder).read_text()
    sources = re.findall(r"(?:src|href)=\"([^\"]*)\"", page)
    assert sources
    assert all(source.startswith("data:image/") or source == "#viewer" for source in sources)
    assert not re.search(r"<(link|iframe|object|embed|script\s)|@import|url\(|\bon\w+=", page)


def test_the_page_runs_its_one_script_and_no_other(results, folder):
    page = write_report(results, folder).read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert script.startswith('"use strict";')
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = html.unescape(re.search(r"Content-Security-Policy\" content=\"([^\"]*)", page)[1])
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_report_embeds_canvases_bit_by_bit_and_once(results, folder):
    page = write_report(results, folder).read_text()
    shown = [*results.rows[:2], results.real]
    expected = [folder / each.canvases[sample] for sample in range(2) for each in shown]
    assert embedded(page) == [path.read_bytes() for path in expected]


def test_no_more_is_embedded_than_fits(results, folder):
    sizes = [(folder / name).stat().st_size for each in results.rows[:2] for name in each.canvases]
    some = gallery(results, folder, largest=3 * max(sizes))
    # The first sample of every row comes before the second of any.
    assert [(strip.title, strip.sample) for strip in some.strips] == [
        ("naive", 0),
        ("diffcollage", 0),
        ("real images", 0),
    ]
    assert set(some.too_many) == {each.canvases[1] for each in (*results.rows[:2], results.real)}


def test_a_damaged_picture_is_named_and_left_out(results, folder):
    damaged = folder / results.rows[0].canvases[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    page = write_report(results, folder).read_text()
    assert f"no pictures: {damaged.name}, " in page
    assert len(embedded(page)) == 2 * 3 - 1


def test_only_what_was_made_as_a_loop_wraps(results, folder):
    assert {strip.wraps for strip in gallery(results, folder).strips} == {(False, False)}
    results.settings["canvas"]["wrap_width"] = True
    results.patches.canvases.extend(results.rows[0].canvases)
    wraps = {strip.title: strip.wraps for strip in gallery(results, folder).strips}
    assert wraps == {
        "naive": (True, False),
        "diffcollage": (True, False),
        "patches": (False, False),
        "real images": (False, False),
    }


def test_report_tells_all_that_made_the_figures(results, folder):
    page = write_report(results, folder).read_text()
    for text in (FAILURE, "f00d", "weights.safetensors", "an abacus", "landscapes-96", "num_steps"):
        assert text in page
    assert "no pictures: my.&lt;_0.png, my.&lt;_1.png." in page
    assert "Not shown: my.&lt;i&gt;Own&lt;/i&gt; (it has no cost or no FID+)." in page


def test_report_says_how_each_figure_is_made_again(results, folder):
    page = html.unescape(write_report(results, folder).read_text())
    assert page.count(f"Made by <code>{results.command}</code>") == 2  # the table, the canvases
    again = f"python -m benchmarks.report {folder}"
    assert page.count(f"Made by <code>{again}</code>") == 2  # costs, curves
    assert f"<code>{again} --latex</code>" in page


def test_paths_are_those_of_the_folder_where_one_types(results, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    page = write_report(results, folder).read_text()
    assert f"<code>python -m benchmarks.report {folder.name}</code>" in page


def test_report_escapes_markup(results, folder):
    page = write_report(results, folder).read_text()
    assert "<i>Own" not in page
    assert "<b>my photos" not in page
    assert "data.root=&lt;b&gt;my photos&lt;/b&gt;" in page


def test_report_of_nothing_but_failures(tmp_path):
    empty = results_of(
        [], real=None, patches=None, drift_distance=None, environment={}, denoiser={"name": "?"}
    )
    page = write_report(empty, tmp_path).read_text()
    assert "No strategy has finished." in page
    assert "steps not recorded" in page
    assert FAILURE in page
    assert 'id="viewer"' not in page


def test_cells_carry_what_they_are_sorted_by(results, folder):
    results.rows[0].figures["fid_plus"] = Estimate(41.23456789, 40.0, 42.0)
    page = write_report(results, folder).read_text()
    assert 'data-value="41.23456789"' in page
    line = next(part for part in page.split("<tr ") if 'data-value="reconstruction"' in part)
    assert line.count("data-value") == 2  # its name, and whether it is parallel


def test_settings_are_said_in_words(results):
    results.settings |= {
        "seed": 7,
        "runtime": {"precision": "bf16"},
        "solver": {
            "class_path": "sampling.solvers.Heun",
            "init_args": {"num_steps": 18, "sigma_min": 0.002, "sigma_max": 80.0, "churn": 18.0},
        },
    }
    results.environment |= {"threads": 1, "commit": "0123456789abcdef+"}
    results.seconds |= {"wall": 4210.3, "network": 4168.2}
    results.denoiser |= {
        "denoiser": {"network": "denoisers.unet.UNet", "patch_size": 32},
        "parameters": 3150668,
        "weights_sha256": "f" * 64,
        "provenance": {"steps": 10000, "batch_size": 64},
    }
    text = " ".join(paragraphs(results))
    for part in (
        "weights.safetensors (a UNet of 3.2 million parameters, for patches of 32 x 32 px, "
        "trained for 10,000 steps of 64 patches, SHA-256 of the weights ffffffffffff…).",
        "Each strategy made 64 canvases of 32 x 96 px; canvas k of all of them began from the "
        "same noise of seed 7.",
        "18 steps of Heun, from noise level 80 down to 0.002 and churn 18.",
        "Compared are naive, diffcollage and my.<i>Own</i>. Failed: reconstruction.",
        "4,096 crops of images kept from training",
        "random_conv, 146 numbers a crop, fingerprint f00d.",
        "an abacus, with 1 thread, in bf16.",
        "commit 0123456789ab with changes on torch 2.15.0.",
        "It took 1 h 10 min, 99 % of it inside the network.",
    ):
        assert part in text, part


def test_pareto_front_against_its_definition():
    generator = random.Random(0)
    for _ in range(50):
        # Few different values, so that many are equal.
        places = [(generator.randrange(5) + 1.0, generator.randrange(5) + 1.0) for _ in range(12)]
        front = [
            number
            for number, (x, y) in enumerate(places)
            if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in places)
        ]
        found = pareto_front(places)
        assert sorted(found) == front
        assert [places[number] for number in found] == sorted(places[number] for number in front)


@pytest.mark.parametrize("unit", ["pixels", "seconds"])
def test_figure_names_every_strategy_that_has_a_cost(results, unit):
    drawing = quality_against_cost(results, unit=unit)
    texts = {text.get_text() for text in drawing.axes[0].texts}
    assert texts == {"naive", "diffcollage", "real images"}
    without = results_of([row("naive", 3.0, cost=None)])
    assert quality_against_cost(without, unit=unit) is None


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("pixels", {(96.25, 41.2), (40.0, 12.6)}), ("seconds", {(0.783, 41.2), (1.9, 12.6)})],
)
def test_points_stand_where_their_figures_are(results, unit, expected):
    axes = quality_against_cost(results, unit=unit).axes[0]
    points = {
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in axes.lines
        if line.get_marker() == "o" and len(line.get_xdata()) == 1
    }
    assert points == expected


def test_front_is_drawn_as_steps(results):
    axes = quality_against_cost(results, unit="pixels").axes[0]
    (front,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    # naive has more pixels and a larger FID+ than diffcollage, which is thus the whole front.
    assert min(front.get_xdata()) == 40.0
    assert list(front.get_ydata()) == [12.6, 12.6]


def test_budgets_of_one_strategy_are_joined():
    rows = [row("direct", 9.0, cost=cost(1.0, 30.0)), row("naive", 30.0)]
    rows.append(row("direct@100", 7.0, cost=cost(3.0, 100.0), budget=100.0))
    drawing = quality_against_cost(results_of(rows), unit="pixels")
    axes = drawing.axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["naive", "real images"]
    (legend,) = drawing.legends
    assert [text.get_text() for text in legend.get_texts()] == ["direct"]
    colour = look("direct").colour
    joints = [
        line
        for line in axes.lines
        if len(line.get_xdata()) == 2 and matplotlib.colors.to_hex(line.get_color()) == colour
    ]
    assert [list(line.get_xdata()) for line in joints if line.get_marker() == "None"] == [
        [30.0, 100.0]
    ]


def test_rows_of_another_protocol_are_not_drawn(results, folder):
    other = {"features": "random_conv", "num_samples": 500}
    results.rows.append(row("direct", 0.5, fingerprint=other))
    drawing = quality_against_cost(results, unit="pixels")
    assert "direct" not in {text.get_text() for text in drawing.axes[0].texts}
    page = write_report(results, folder).read_text()
    assert "direct (another protocol)" in page


def test_names_stay_clear_of_each_other():
    rows = [row(f"strategy_{k}", 10 + 0.01 * k, cost=cost(1 + 0.001 * k)) for k in range(8)]
    drawing = quality_against_cost(results_of(rows), unit="seconds")
    drawing.draw_without_rendering()
    texts = [text for text in drawing.axes[0].texts if text.get_text().startswith("strategy")]
    boxes = [matplotlib.text.Text.get_window_extent(text) for text in texts]
    assert len(boxes) == 8
    pairs = [(a, b) for number, a in enumerate(boxes) for b in boxes[:number]]
    assert not any(a.overlaps(b) for a, b in pairs)


def test_figure_takes_an_interval_beside_its_value():
    # Resampling raises a Frechet distance, so that the value may lie below its interval.
    beside = row("naive", 3.0, figures=figures(3.0) | {"fid_plus": Estimate(3.0, 3.2, 3.9)})
    assert quality_against_cost(results_of([beside]), unit="seconds") is not None


def test_curves_show_every_strategy_and_real_images(results):
    axes = curve_against_distance(results, "drift").axes[0]
    drawn = {tuple(line.get_ydata()) for line in axes.lines}
    slopes = (0.01 * 41.2, 0.01 * 12.6, 0.001)  # naive, diffcollage, real
    assert drawn == {tuple(curve(slope).values) for slope in slopes}
    assert len(axes.collections) == 1  # the real images' band
    assert [line.get_color() for line in axes.lines].count("black") == 1
    assert curve_against_distance(results, "contrast") is None


def test_real_curves_of_different_starts_are_all_drawn(results):
    other = Curve([0, 8], [0.0, 0.5], [0.0, 0.4], [0.0, 0.6])
    results.rows[1] = dataclasses.replace(results.rows[1], real_curves={"drift": other})
    axes = curve_against_distance(results, "drift").axes[0]
    assert len(axes.collections) == 2


def latency_results() -> LatencyResults:
    """Two strategies at two widths, twice as long at the second."""
    return LatencyResults(
        name="latency",
        created="2025-01-01T12:00:00+00:00",
        command="python -m benchmarks.latency strategy=naive,direct",
        settings={},
        environment={},
        denoiser={},
        patch_size=32,
        height=32,
        steps=18,
        load=0.1,
        floor=Floor([Batch(1, 1e-6, 2e-6)], []),
        points=[
            Point(
                strategy=name,
                width=width,
                canvas=(32, 32 * width),
                network_calls=35,
                patch_evaluations=35 * width,
                pixels=35 * 1024 * width,
                backward_passes=0,
                backward_pixels=0,
                asked=2,
                repeats=2,
                rounds=[0, 1],
                seconds=[0.1 * width, 0.12 * width],
                network_seconds=[0.09 * width, 0.1 * width],
            )
            for name in ("naive", "direct")
            for width in (1, 2)
        ],
    )


def test_latency_of_the_same_folder_is_shown(results, folder):
    assert "Seconds against width" not in write_report(results, folder).read_text()
    write_record(folder / "latency" / "latency.json", latency_results())
    page = write_report(results, folder).read_text()
    assert "Seconds against width" in page
    assert "Made by <code>python -m benchmarks.latency strategy=naive,direct</code>" in page


def test_a_latency_run_without_timings_is_not_drawn(results, folder):
    fresh = dataclasses.replace(latency_results(), points=[], floor=None)
    write_record(folder / "latency" / "latency.json", fresh)
    page = write_report(results, folder).read_text()
    assert "has no finished timing yet" in page
    (folder / "latency" / "latency.json").write_text("{}")
    assert "latency.json must be a record" in write_report(results, folder).read_text()


def test_command_writes_the_page_again(results, folder, capsys):
    assert main([str(folder)]) == 0
    page = (folder / "report.html").read_text()
    assert str(folder / "report.html") in capsys.readouterr().err
    (folder / "report.html").unlink()
    assert page == write_report(results, folder).read_text()


def test_command_takes_keys_either_way(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_record(elsewhere / "latency.json", latency_results())
    for sign, name in (("", "one.html"), ("--", "two.html")):
        words = [f"{sign}latency={elsewhere}", f"{sign}output={folder / name}"]
        assert main([str(folder), *words]) == 0
    assert (folder / "one.html").read_bytes() == (folder / "two.html").read_bytes()
    assert "Seconds against width" in (folder / "one.html").read_text()
    assert not (folder / "report.html").exists()


def test_command_prints_tables(results, folder, capsys):
    assert main([str(folder), "--markdown"]) == 0
    assert capsys.readouterr().out == markdown(results)
    assert main([str(folder / "results.json"), "--latex", f"output={folder / 'table.tex'}"]) == 0
    assert capsys.readouterr().out == ""
    assert r"\toprule" in (folder / "table.tex").read_text()


def damaged(text: str, how: str) -> str:
    content = json.loads(text)
    match how:
        case "cut off":
            return text[: len(text) // 2]
        case "a list":
            return "[]"
        case "another record":
            return json.dumps({"cases": [], "command": "python -m benchmarks.oracle"})
        case "an older version":
            content["rows"][0]["fid_plus"] = content["rows"][0].pop("figures")["fid_plus"]
        case "a later version":
            content["colour"] = "green"
        case "rows are words":
            content["rows"] = ["naive"]
    return json.dumps(content)


@pytest.mark.parametrize(
    "how",
    [
        "cut off",
        "a list",
        "another record",
        "an older version",
        "a later version",
        "rows are words",
    ],
)
def test_command_refuses_a_record_that_is_none(folder, capsys, how):
    record = folder / "results.json"
    record.write_text(damaged(record.read_text(), how))
    assert main([str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert str(record) in said
    assert said.count("\n") == 1
    assert not (folder / "report.html").exists()


def test_command_says_when_there_is_no_record(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert f"there is no {tmp_path / 'results.json'}; give a folder" in capsys.readouterr().err
    write_record(tmp_path / "results.json", usual())
    assert main([str(tmp_path), f"latency={tmp_path}"]) == 2
    assert "latency.json" in capsys.readouterr().err


def test_sheet_puts_a_sample_of_every_strategy_in_one_column():
    plan = layout({"naive": canvases(4), "diffcollage": canvases(4), "real": canvases(2)})
    assert (plan.scale, plan.reduction) == (4, 1)
    for k in range(4):
        first, second = (
            strip for strip in plan.strips if strip.index == k and strip.name != "real"
        )
        assert (first.name, second.name) == ("naive", "diffcollage")
        assert first.left == second.left
        assert second.top - first.top == 4 * HEIGHT + 8
    real = [strip for strip in plan.strips if strip.name == "real"]
    assert len(real) == 2
    assert min(strip.top for strip in real) > max(strip.top for strip in plan.strips[:8])
    assert [text for text, _, _ in plan.headings] == [
        *(f"sample {k}" for k in range(4)),
        "real crops",
    ]


def test_sheet_shows_every_pixel_as_a_square(tmp_path):
    rows = {"naive": canvases(3), "a.rather.long.dotted.path.of.a.Class": canvases(1)}
    rows["real"] = canvases(1)
    contact_sheet(rows, tmp_path / "sheet.png", edges={"naive": [32, 64]})
    sheet = Image.open(tmp_path / "sheet.png")
    plan = layout(rows)
    assert sheet.size == plan.size
    assert len(plan.strips) == 5
    for strip in plan.strips:
        end = (strip.left + 4 * WIDTH, strip.top + 4 * HEIGHT)
        shown = sheet.crop((strip.left, strip.top, *end))
        small = Image.fromarray(rows[strip.name][strip.index].permute(1, 2, 0).numpy())
        assert shown.tobytes() == small.resize(shown.size, Image.Resampling.NEAREST).tobytes()


def test_ticks_stand_below_the_borders():
    rows = {"naive": torch.full((1, 3, HEIGHT, WIDTH), 128, dtype=torch.uint8)}
    strip = layout(rows).strips[0]
    below = strip.top + 4 * HEIGHT + 2
    plain, ticked = draw_sheet(rows), draw_sheet(rows, edges={"naive": [32]})
    changed = [
        x for x in range(plain.width) if plain.getpixel((x, below)) != ticked.getpixel((x, below))
    ]
    assert changed == [strip.left + 4 * 32 - 1, strip.left + 4 * 32]


@pytest.mark.parametrize(
    ("height", "width", "scale", "reduction"),
    [(16, 96, 8, 1), (48, 288, 2, 1), (32, 900, 2, 1), (256, 1536, 1, 1), (64, 6144, 1, 3)],
)
def test_sheet_is_never_too_wide(height, width, scale, reduction):
    rows = {"naive": canvases(2, height, width)}
    plan = layout(rows)
    assert (plan.scale, plan.reduction) == (scale, reduction)
    assert draw_sheet(rows).width <= MAX_WIDTH


def test_canvases_of_several_sizes_are_refused():
    with pytest.raises(ValueError, match="must be of one size"):
        layout({"naive": canvases(1), "direct": canvases(1, width=64)})
    with pytest.raises(ValueError, match="at least one"):
        layout({})
