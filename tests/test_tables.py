"""Tables: how the one writer sets them, and what stands in those of the comparison."""

import dataclasses
import io
import re

import pytest
from rich.console import Console
from rich.table import Table

from benchmarks.metrics.catalogue import FIGURES
from benchmarks.metrics.estimates import Estimate
from benchmarks.results.columns import columns, comparable, lines, rounded
from benchmarks.results.columns import with_interval as interval
from benchmarks.results.notes import notes
from benchmarks.results.records import Results
from benchmarks.results.table import comparison, latex, markdown
from benchmarks.tables.columns import (
    ABSENT,
    TIMES,
    Cell,
    Column,
    by_rows,
    columns_of,
    escaped,
    failed,
    fixed,
    page,
    short,
    tabular,
    terminal,
)
from benchmarks.tables.columns import markdown as written
from tests.example_results import FAILURE, figures, results_of, row, usual

COLUMNS = [
    Column("strategy", ["naive", "lshape_repaint", "direct"]),
    Column("FID+ ↓\n(inception)", [Cell("4.2", "[4.0, 4.4]", 4.2, is_best=True), "5.1", ABSENT]),
    Column("parallel?", ["yes", "no", "yes"], name="parallel", is_text=True),
    Column("calls", ["1,955", "70+333∇", ABSENT]),
    Column("memory", ["812", "812", "812"], is_main=False),
]


def text_of(table: Table, width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("width", "left_out", "has_interval"),
    [
        (200, ["memory"], True),
        (51, ["memory"], True),
        (44, ["calls", "memory"], True),
        (35, ["parallel?", "calls", "memory"], True),
        (28, ["parallel?", "calls", "memory"], False),
    ],
)
def test_a_terminal_shows_what_fits_and_says_what_does_not(width, left_out, has_interval):
    table = terminal(
        COLUMNS, dropped_first=("calls", "parallel"), elsewhere="the report", width=width
    )
    text = text_of(table, width)
    assert max(map(len, text.splitlines())) <= width
    assert ("[4.0, 4.4]" in text) == has_interval
    # No entry is wrapped: a head of two lines, a rule, and a line a row.
    body = "".join(text.splitlines(keepends=True)[:6])
    said = " ".join(text.removeprefix(body).split())
    assert said == f"Left out here, but in the report: {', '.join(left_out)}."
    assert all((column.line.split()[0] in body) != (column.line in left_out) for column in COLUMNS)


def test_a_terminal_has_a_title_notes_and_dim_baselines():
    table = terminal(COLUMNS, title="a run", notes=["Failed: a", "[b]"], baselines=1, width=200)
    first, *_, note, other, _ = text_of(table, 200).splitlines()
    assert (first.strip(), note.strip(), other.strip()) == ("a run", "Failed: a", "[b]")
    assert [row.style for row in table.rows] == ["dim", None, None]


def test_markdown_lines_up_and_sets_figures_right():
    head, rule, *body = written(COLUMNS).splitlines()
    assert len({len(line) for line in (head, rule, *body)}) == 1
    assert rule.replace("-", "") == "|  |  : |  |  : |  : |".replace("  : ", " : ")
    assert head.split(" | ")[1] == "FID+ ↓ (inception)"
    assert body[0].split(" | ")[1].strip() == "4.2 [4.0, 4.4]"
    assert written([]) == ""


def test_markdown_escapes_what_would_end_a_cell_or_be_set_otherwise():
    cells = [r"one|two *three* \four", "<i>own</i>", "<0.0001", "`code`", "two\nlines"]
    assert [line[2:-2].strip() for line in written([Column("a", cells)]).splitlines()[2:]] == [
        r"one\|two \*three\* \\four",
        "&lt;i>own&lt;/i>",
        "<0.0001",
        "`code`",
        "two lines",
    ]


def test_a_page_has_headings_and_notes():
    found = page({"One": "table"}, ["a|b", *failed({"naive": "ValueError:\n" + 300 * "x"})])
    assert found.startswith("## One\n\ntable\n\n- a\\|b\n- Failed: naive: ValueError: xxx")
    assert len(found.splitlines()[-1]) < 230


def test_latex_has_every_cell_in_its_column_and_baselines_apart():
    table = tabular(COLUMNS, baselines=1)
    rows = [line for line in table.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {4}
    assert table.startswith(r"\begin{tabular}{@{}lrlrr@{}}")
    assert table.count(r"\midrule") == 2
    assert r"\textbf{4.2} {\scriptsize {[}4.0, 4.4{]}} & yes" in rows[2]
    assert r"lshape\_repaint & 5.1 & no & 70+333$\nabla$ & 812" in rows[3]
    assert tabular(COLUMNS).count(r"\midrule") == 1
    assert len(tabular([COLUMNS[0]]).splitlines()) == 2 + 1 + 1 + 3 + 2  # no second line of heads


def test_latex_escapes_every_letter_with_a_meaning():
    assert escaped(r"a_b & 5% of $x^2 {y} #1 ~ \z") == (
        r"a\_b \& 5\% of \$x\textasciicircum{}2 \{y\} \#1 \textasciitilde{} \textbackslash{}z"
    )
    assert escaped("70+333∇ \N{EN DASH} †") == r"70+333$\nabla$ -- $^\dagger$"
    assert escaped("two\nlines") == "two lines"
    assert escaped(f"W2² {TIMES} 3 ± 1 μs [↓] a…").isascii()


def test_columns_come_from_rows_of_either_kind():
    assert columns_of([3, 4], {"n": str, "hex": hex}) == by_rows(
        ["n", "hex"], [["3", "0x3"], ["4", "0x4"]]
    )


def test_helpers():
    assert (fixed(None, 2), fixed(-0.001, 2), fixed(2.345, 1)) == (ABSENT, "0.00", "2.3")
    assert [short(name) for name in ("naive", "my.Own@6.5")] == ["naive", "Own@6.5"]


# The comparison


@pytest.fixture
def results() -> Results:
    return usual()


def printed(results: Results, width: int) -> str:
    return text_of(comparison(results, width=width), width)


def incomparable(name: str, fid: float, **changes):
    fingerprint = {"features": "random_conv", "num_samples": 500, "strategy": name}
    return row(name, fid, fingerprint=fingerprint, **changes)


def test_table_carries_every_main_figure(results):
    text = printed(results, 200)
    line = next(line for line in text.splitlines() if "naive" in line)
    assert line.split("  ")[0].strip() == "naive"
    for entry in (
        "yes",
        "41.2 [40.0, 42.7]",  # interval of 2.75: two digits of it
        "0.0412",
        "1.37 (1.02)",
        "0.158 (0.127)",
        "0.78 [0.70, 0.94]",
        "70+333∇",
        "1,735",
        "96.2",
        "812",
        "93",
    ):
        assert f" {entry} " in f"{line} ", entry


def test_every_figure_of_the_catalogue_has_a_column(results):
    everything = {name: Estimate(2.0, 1.9, 2.1) for name in FIGURES}
    full = results_of([row("naive", 2.0, figures=everything, real=everything)], failures={})
    shown = columns(full)
    assert [column.name for column in shown if column.name in FIGURES] == list(FIGURES)
    for name, figure in FIGURES.items():
        column = next(column for column in shown if column.name == name)
        assert column.better == figure.better
        assert ("random_conv" in column.head) == figure.by_features
        (cell,) = column.cells[-1:]
        assert ("(2.00)" in cell.extra) == (figure.better == "real")
        assert cell.value == 2.0


def test_figures_that_no_row_has_get_no_column(results):
    shown = {column.name for column in columns(results)}
    assert {"fid_plus", "kid", "recall", "seam_ratio", "colour_drift"} <= shown
    assert not {"wrap_error", "consistency", "precision"} & shown
    assert "Wrap" in printed(looped(results), 220)


def looped(results: Results) -> Results:
    results.rows[0].figures["wrap_error"] = Estimate(1.2, 1.1, 1.3)
    return results


def test_arrows_say_which_way_is_better(results):
    titles = {column.name: column.head.partition("\n")[0] for column in columns(results)}
    assert (titles["fid_plus"], titles["recall"]) == ("FID+ ↓", "Recall ↑")
    assert titles["seam_ratio"] == "Seams"


def test_table_says_what_its_figures_rest_on(results):
    text = " ".join(printed(results, 200).split())
    assert "N = 64 canvases of 32 x 96 px" in text
    assert "4,096 reference crops; FID+ (random_conv); 18 steps; device: an abacus." in text
    assert "N = 64 is small (below 500)" in text
    assert "FID+ (random_conv), are not comparable to FID+ (inception)" in text
    assert "for seams and drift the figure of real crops" in text
    assert "patches (FID) are squares that the denoiser makes by itself" in text
    assert "Left out here, but in the report: Recall ↑ (random_conv)." in text
    assert f"Failed: reconstruction: {FAILURE}" in text


def test_plenty_of_canvases_and_inception_need_no_warning(results):
    sound = dataclasses.replace(results, num_samples=500, features={"name": "inception"})
    text = " ".join(notes(sound))
    assert "N = 500 canvases" in text
    assert "FID+ (inception)" in text
    assert "is small" not in text
    assert "not comparable" not in text


def test_real_images_and_patches_come_first_and_failures_last(results):
    names = [line.split("|")[1].strip() for line in markdown(results).splitlines()[2:8]]
    assert names == [
        "real images",
        "patches (FID)",
        "naive",
        "diffcollage",
        "my.&lt;i>Own&lt;/i>",
        "reconstruction",
    ]


def test_real_images_are_not_compared_with_themselves(results):
    assert lines(results)[0].kind == "real"
    cells = {column.name: column.cells[0] for column in columns(results)}
    assert (cells["colour_drift"].text, cells["colour_drift"].extra) == ("0.158", "")
    assert cells["fid_plus"].extra == "[3.1, 5.8]"


def test_rows_of_another_protocol_get_a_dagger_and_a_reason(results):
    results.rows.append(incomparable("direct", 0.5))
    assert [each.strategy for each in comparable(results)] == [
        "real",
        "patches",
        *("naive", "diffcollage", "my.<i>Own</i>"),
    ]
    marked = [line for line in markdown(results).splitlines() if "†" in line]
    assert len(marked) == 2
    assert marked[0].startswith("| direct †")
    assert marked[1] == "- † direct must not be compared with naive: num_samples 500, not 64."
    assert "direct †" in printed(results, 200)


def test_what_a_comparison_is_about_makes_no_dagger(results):
    # The strategies' names differ in every fingerprint here.
    assert "†" not in markdown(results)


def test_budgets_are_explained(results):
    assert "budget" not in " ".join(notes(results))
    results.rows.append(row("diffcollage@64", 9.0, budget=64.0))
    assert "A number after @ is a budget" in " ".join(notes(results))


def test_different_steps_are_not_passed_over(results):
    results.rows[0].settings["solver"]["num_steps"] = 40
    assert "18 to 40 steps, by strategy" in notes(results)[0]


def test_loops_are_called_loops(results):
    results.settings["canvas"]["wrap_width"] = True
    assert "64 loops of 32 x 96 px" in notes(results)[0]


def test_a_figure_just_below_zero_has_no_sign():
    wide = figures(40.0) | {"kid": Estimate(-0.001, -0.5, 0.5)}
    page = markdown(results_of([row("naive", 40.0, figures=wide)], real=None, patches=None))
    assert "-0.0" not in page


def test_rounding():
    assert interval(123.4, 100.0, 151.0) == "123 [100, 151]"
    assert interval(0.01234, 0.0119, 0.0128) == "0.01234 [0.01190, 0.01280]"
    assert interval(5.0, 5.0, 5.0) == "5.0 [5.0, 5.0]"
    assert rounded(float("inf")) == "inf"
    assert rounded(0.0) == "0.00"


def test_no_more_digits_than_the_interval_knows():
    # An unbiased estimate is often next to nothing, and even below it.
    for value, text in ((0.0000123, "0.0000"), (-0.00031, "-0.0003"), (0.04123, "0.0412")):
        estimate = Estimate(value, value - 0.002, value + 0.002)
        made = row("naive", 1.0, figures={"kid": estimate})
        alone = results_of([made], real=None, patches=None)
        kid = next(column for column in columns(alone) if column.name == "kid")
        assert kid.cells[0].text == text


def test_a_column_has_as_many_decimals_as_its_best_known_figure():
    rough, fine = Estimate(0.6163, 0.4, 0.8), Estimate(0.6191, 0.618, 0.620)
    rows = [row(name, 1.0, figures={"recall": it}) for name, it in (("a", rough), ("b", fine))]
    shown = columns(results_of(rows, real=None, patches=None))
    recall = next(column for column in shown if column.name == "recall")
    assert [cell.text for cell in recall.cells][:2] == ["0.616", "0.619"]


def best(results: Results) -> dict[str, set[str]]:
    titles = [line.title for line in lines(results)]
    return {
        column.name: {
            title for title, cell in zip(titles, column.cells, strict=True) if cell.is_best
        }
        for column in columns(results)
        if column.better is not None
    }


def test_the_best_figure_is_that_of_its_direction():
    results = results_of(
        [
            row("low", 2.0, figures=figures(2.0, seams=0.90, drift=0.30)),
            row("high", 5.0, figures=figures(5.0, seams=1.05, drift=0.01)),
            row("middle", 3.0, figures=figures(3.0, seams=1.40, drift=0.13)),
        ]
    )
    assert best(results) == {
        "fid_plus": {"low"},
        "kid": {"low"},
        "recall": {"low"},  # 1 / FID+ here, and the more the better
        "seam_ratio": {"high"},  # nearest to 1.02
        "colour_drift": {"middle"},  # nearest to 0.127
    }


def test_what_cannot_win_is_never_best(results):
    # Real images and patches have the least FID+ of all, as has a row of another protocol.
    results.rows.append(incomparable("direct", 0.5))
    assert best(results)["fid_plus"] == {"diffcollage"}


def test_what_is_printed_alike_is_equally_good():
    alike = [row("one", 3.00001), row("two", 3.00002), row("three", 3.1)]
    assert best(results_of(alike))["fid_plus"] == {"one", "two"}


def test_latex_is_well_formed(results):
    results.rows.append(incomparable("a_{b}%$&#", 0.5))
    text = latex(results)
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[\\{}%$&#_]", "", code)
    depth = 0
    for letter in bare:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    assert "%" not in bare.replace("{!}{%\n", "")
    begun = re.findall(r"\\begin\{(.+?)\}", code)
    assert re.findall(r"\\end\{(.+?)\}", code) == begun[::-1]
    assert code.isascii()


def test_latex_sets_the_best_bold_and_intervals_small(results):
    text = latex(results)
    assert r"\textbf{12.6} {\scriptsize {[}11.3, 14.1{]}}" in text
    assert r"41.2 {\scriptsize {[}40.0, 42.7{]}}" in text
    assert r"\textbf{41.2}" not in text
    assert r"1.37} {\scriptsize (1.02)}" in text
    assert "N = 64 is small" in text.split(r"\caption{")[1]
    assert text.startswith("% python -m benchmarks.run strategy=all")
