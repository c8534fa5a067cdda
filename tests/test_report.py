import base64
import dataclasses
import io
import re

import pytest
import torch
from PIL import Image
from rich.console import Console

from benchmarks.contact_sheet import MAX_WIDTH, contact_sheet, draw_sheet, layout
from benchmarks.records import Cost, Estimate, Results, Row, Spread
from benchmarks.report import quality_against_cost, write_report
from benchmarks.table import columns, comparison, markdown, notes, rounded, with_interval

HEIGHT, WIDTH = 32, 96
FAILURE = "ValueError: overlap must be a multiple of 8, got 20."


def cost(seconds: float) -> Cost:
    latency = Spread(seconds, 0.9 * seconds, 1.2 * seconds, repeats=5)
    return Cost(70, 1735, 96.25, 333, latency, seconds / 3, 0.934, 812.4)


def row(name: str, fid: float, **changes) -> Row:
    estimate = Estimate(fid, fid - 1.25, fid + 1.5)
    settings = {"solver": {"num_steps": 18, "churn": None}, "window": 32}
    whole = Row(name, True, [32, 64], settings, estimate, 1.37, 1.02, 0.158, cost(0.783), [])
    return dataclasses.replace(whole, **changes)


def results_of(rows: list[Row], **changes) -> Results:
    real = row(
        "real",
        4.31,
        parallel=None,
        border_columns=[],
        settings={},
        seam_ratio_real=None,
        colour_drift=0.127,
        cost=None,
    )
    whole = Results(
        name="landscapes-96",
        created="2025-01-01T12:00:00+00:00",
        command="python -m benchmarks.run strategy=all 'data.root=<b>my photos</b>'",
        settings={"num_samples": 64, "canvas": {"height": HEIGHT, "width": WIDTH}},
        environment={"device": "an abacus", "torch": "2.15.0"},
        denoiser={"file": "weights.safetensors", "provenance": "see https://example.org/weights"},
        data={"name": "landscapes"},
        features={"name": "random_conv", "fingerprint": "f00d", "dimensions": 146},
        num_samples=64,
        num_reference=4096,
        canvas=(HEIGHT, WIDTH),
        drift_distance=64,
        real=real,
        rows=rows,
        failures={"reconstruction": FAILURE},
    )
    return dataclasses.replace(whole, **changes)


def canvases(number: int, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    return torch.randint(0, 256, (number, 3, height, width), dtype=torch.uint8)


@pytest.fixture
def results() -> Results:
    costless = row("my.<i>Own</i>", 15.5, cost=None, seam_ratio=None, seam_ratio_real=None)
    return results_of([row("naive", 41.2), row("diffcollage", 12.6), costless])


@pytest.fixture
def folder(results, tmp_path):
    """The folder of a run: two canvases of every row but the costless one, whose files are gone."""
    for each in [*results.rows, results.real]:
        each.canvases.extend(f"{each.strategy[:4]}_{number}.png" for number in range(2))
        if each.cost is None and each is not results.real:
            continue
        for name, canvas in zip(each.canvases, canvases(2), strict=True):
            Image.fromarray(canvas.permute(1, 2, 0).numpy()).save(tmp_path / name)
    return tmp_path


def printed(results: Results, width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(comparison(results, width=width))
    return console.file.getvalue()


def test_table_carries_every_figure(results):
    text = printed(results, 200)
    line = next(line for line in text.splitlines() if "diffcollage" in line)
    assert line.split("  ")[0].strip() == "diffcollage"
    for entry in (
        "yes",
        "12.6 [11.3, 14.1]",  # interval of 2.75: two digits of it
        "1.37 (1.02)",
        "0.158",
        "0.78 [0.70, 0.94]",
        "70+333∇",
        "1,735",
        "96.2",
        "812",
        "93",
    ):
        assert f" {entry} " in f"{line} ", entry


def test_table_says_what_its_figures_rest_on(results):
    text = " ".join(printed(results, 200).split())
    assert "N = 64 canvases of 32 x 96 px" in text
    assert "4,096 reference crops; FID+ (random_conv); 18 steps; device: an abacus." in text
    assert "N = 64 is small (below 500)" in text
    assert "FID+ (random_conv) is not comparable to FID+ (inception)" in text
    assert f"Failed: reconstruction: {FAILURE}" in text


def test_plenty_of_canvases_and_inception_need_no_warning(results):
    sound = dataclasses.replace(results, num_samples=500, features={"name": "inception"})
    text = " ".join(notes(sound))
    assert "N = 500 canvases" in text
    assert "FID+ (inception)" in text
    assert "is small" not in text
    assert "not comparable" not in text


def test_real_images_come_first_and_failures_last(results):
    names = [line.split("|")[1].strip() for line in markdown(results).splitlines()[2:7]]
    assert names == ["real images", "naive", "diffcollage", "my.&lt;i>Own&lt;/i>", "reconstruction"]


def test_different_steps_are_not_passed_over(results):
    results.rows[0].settings["solver"]["num_steps"] = 40
    assert "18 to 40 steps, by strategy" in notes(results)[0]


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_table_fits_the_terminal_unwrapped(results, width):
    text = printed(results, width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert sum("[11.3, 14.1]" in line and "diffcollage" in line for line in lines) == 1
    head = lines[2] + lines[3]
    dropped = [column.title for column in columns(results) if column.title not in head]
    left_out = " ".join(text.partition("Left out")[2].split())
    assert all(title in left_out for title in dropped)
    if width >= 140:
        assert not dropped


def test_markdown_columns_line_up(results):
    table = [line for line in markdown(results).splitlines() if line.startswith("|")]
    assert len(table) == 2 + 1 + 3 + 1
    pipes = [[place for place, letter in enumerate(line) if letter == "|"] for line in table]
    assert all(places == pipes[0] for places in pipes)
    assert len(pipes[0]) == len(columns(results)) + 1


def test_markdown_escapes_what_would_end_a_cell(results):
    results.rows[0] = row("one|two *three*", 41.2)
    assert r"| one\|two \*three\* " in markdown(results)


def test_rounding():
    assert with_interval(123.4, 100.0, 151.0) == "123 [100, 151]"
    assert with_interval(0.01234, 0.0119, 0.0128) == "0.01234 [0.01190, 0.01280]"
    assert with_interval(5.0, 5.0, 5.0) == "5.0 [5.0, 5.0]"
    assert rounded(float("inf")) == "inf"
    assert rounded(0.0) == "0.00"


def test_report_needs_nothing_beside_it(results, folder):
    page = write_report(results, folder).read_text()
    sources = re.findall(r"(?:src|href)=\"([^\"]*)\"", page)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"<(script|link|iframe|object)|@import|url\(", page)


def test_report_embeds_canvases_bit_by_bit(results, folder):
    page = write_report(results, folder).read_text()
    embedded = [
        Image.open(io.BytesIO(base64.b64decode(content)))
        for content in re.findall(r"data:image/png;base64,([^\"]*)", page)
    ]
    sheet, *samples = embedded
    assert sheet.width > samples[0].width == WIDTH
    files = [name for each in (*results.rows[:2], results.real) for name in each.canvases]
    assert len(samples) == len(files)
    for sample, name in zip(samples, files, strict=True):
        assert sample.tobytes() == Image.open(folder / name).tobytes()


def test_report_tells_all_that_made_the_figures(results, folder):
    page = write_report(results, folder).read_text()
    for text in (FAILURE, "f00d", "weights.safetensors", "an abacus", "landscapes-96", "num_steps"):
        assert text in page
    assert "Not in the folder: my.&lt;_0.png, my.&lt;_1.png." in page
    assert "Not shown, for they have no cost: my.&lt;i&gt;Own&lt;/i&gt;." in page


def test_report_escapes_markup(results, folder):
    page = write_report(results, folder).read_text()
    assert "<i>Own" not in page
    assert "<b>my photos" not in page
    assert "data.root=&lt;b&gt;my photos&lt;/b&gt;" in page


def test_report_of_nothing_but_failures(tmp_path):
    empty = results_of([], real=None, drift_distance=None, environment={}, denoiser={})
    page = write_report(empty, tmp_path).read_text()
    assert "No strategy has finished." in page
    assert "steps not recorded" in page
    assert FAILURE in page


def test_figure_names_every_strategy_that_has_a_cost(results):
    drawing = quality_against_cost(results)
    texts = {text.get_text() for text in drawing.axes[0].texts}
    assert texts == {"naive", "diffcollage", "real images"}
    assert quality_against_cost(results_of([row("naive", 3.0, cost=None)])) is None


def test_figure_takes_an_interval_beside_its_value():
    # Resampling raises a Frechet distance, so that the value may lie below its interval.
    beside = row("naive", 3.0, fid_plus=Estimate(3.0, 3.2, 3.9))
    assert quality_against_cost(results_of([beside])) is not None


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
    contact_sheet(rows, tmp_path / "sheet.png", borders={"naive": [32, 64]})
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
    plain, ticked = draw_sheet(rows), draw_sheet(rows, borders={"naive": [32]})
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
