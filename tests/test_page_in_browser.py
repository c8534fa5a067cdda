"""The page as a reader has it: in a browser, on a laptop and on a phone, without a network."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.report.page import write_report
from benchmarks.results.records import Results
from tests.example_results import WIDTH, cost, figures, row, usual, with_canvases

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
Page = sync_api.Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((path for path in map(shutil.which, NAMES) if path), None)
SIZES = {"laptop": (1280, 800), "phone": (390, 844)}

pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"there is none of {', '.join(NAMES)}")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        # Root has no sandbox of its own; what is opened is our own page.
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


def written(folder: Path, *, loop: bool) -> Path:
    results: Results = usual()
    results.settings["canvas"]["wrap_width"] = loop
    # So many that no column is sorted before it is asked to be.
    for name, fid, seams, price in (
        ("direct", 20.0, 1.0, cost(0.4, 60.0)),
        ("multidiffusion", 50.0, 2.2, cost(5.0, 300.0)),
    ):
        results.rows.append(row(name, fid, figures=figures(fid, seams), cost=price))
    with_canvases(results, folder)
    return write_report(results, folder)


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> dict[str, Path]:
    return {
        name: written(tmp_path_factory.mktemp(name), loop=name == "loop")
        for name in ("strip", "loop")
    }


@dataclasses.dataclass
class Tab:
    """A page in a window of its own, with what it complained of and what it asked for."""

    page: Page
    said: list[str]
    asked: list[str]

    @classmethod
    def new(cls, browser, size: str, **options) -> "Tab":
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        tab = cls(context.new_page(), [], [])
        tab.page.set_default_timeout(5000)
        tab.page.on("console", lambda message: tab.said.append(message.text))
        tab.page.on("pageerror", lambda error: tab.said.append(str(error)))
        tab.page.on("request", lambda request: tab.note(request.url))
        context.route(outside, lambda route: route.abort())
        return tab

    def note(self, address: str) -> None:
        if outside(address):
            self.asked.append(address)

    def opened(self, path: Path) -> Iterator[Page]:
        """Yields the page anew; it must ask for nothing and complain of nothing."""
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("#viewer[data-ready]")
        yield self.page
        said, asked = self.said.copy(), self.asked.copy()
        self.said.clear()
        self.asked.clear()
        assert not said
        assert not asked


def outside(address: str) -> bool:
    return not address.startswith(("file:", "data:"))


@pytest.fixture(scope="module")
def tabs(browser) -> dict[str, Tab]:
    touch = {"has_touch": True, "is_mobile": True}
    return {
        "laptop": Tab.new(browser, "laptop"),
        "phone": Tab.new(browser, "phone"),
        "touch": Tab.new(browser, "phone", **touch),
    }


@pytest.fixture(params=SIZES)
def page(request, tabs, paths):
    yield from tabs[request.param].opened(paths["strip"])


@pytest.fixture
def laptop(tabs, paths):
    yield from tabs["laptop"].opened(paths["strip"])


@pytest.fixture
def loop(tabs, paths):
    yield from tabs["laptop"].opened(paths["loop"])


@pytest.fixture
def phone(tabs, paths):
    yield from tabs["touch"].opened(paths["strip"])


def column(page: Page, name: str) -> list[str | None]:
    """Returns the raw values of a column from top to bottom; None where there are none."""
    return page.evaluate(
        """name => {
          const table = document.querySelector("table.figures");
          const heads = [...table.tHead.rows[0].cells];
          const place = heads.findIndex((head) => head.dataset.name === name);
          return [...table.tBodies[0].rows].map((row) => row.cells[place].dataset.value ?? null);
        }""",
        name,
    )


def sorting(page: Page, name: str) -> str:
    return page.locator(f"th[data-name={name}]").get_attribute("aria-sort")


def test_nothing_is_wider_than_the_window(page):
    assert page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    assert page.evaluate("document.body.scrollWidth <= window.innerWidth")


def test_every_picture_is_there_and_in_words(page):
    pictures = page.evaluate(
        "[...document.images].map((image) => [image.naturalWidth > 0, image.alt.length > 9])"
    )
    assert len(pictures) == 10 + 2 + 2  # canvases, costs, curves
    assert all(loaded and told for loaded, told in pictures)


def test_a_click_sorts_by_value_and_another_one_back(page):
    for name in ("fid_plus", "seam_ratio", "seconds", "pixels"):
        known = [float(value) for value in column(page, name) if value is not None]
        absent = [None] * (len(column(page, name)) - len(known))
        assert absent
        head = page.locator(f"th[data-name={name}] button")
        for direction in ("ascending", "descending", "ascending"):
            before = column(page, name)
            head.click()
            expected = sorted(known, reverse=direction == "descending")
            found = column(page, name)
            assert found != before
            assert [float(value) for value in found[: len(known)]] == expected
            assert found[len(known) :] == absent
            assert sorting(page, name) == direction


def test_what_should_be_high_is_sorted_from_the_top(laptop):
    laptop.locator("th[data-name=recall] button").click()
    known = [float(value) for value in column(laptop, "recall") if value is not None]
    assert known == sorted(known, reverse=True)
    assert sorting(laptop, "recall") == "descending"


def test_names_are_sorted_as_words_and_failures_stay_last(laptop):
    head = laptop.locator("th[data-name=strategy] button")
    names = ["diffcollage", "direct", "multidiffusion", "my.<i>Own</i>", "naive"]
    names += ["patches (FID)", "real images"]
    head.click()
    assert column(laptop, "strategy") == [*names, "reconstruction"]
    head.click()
    assert column(laptop, "strategy") == [*names[::-1], "reconstruction"]


def test_sorting_moves_whole_rows_and_one_head_at_a_time(laptop):
    def pairs() -> set[tuple[str | None, str | None]]:
        return set(zip(column(laptop, "strategy"), column(laptop, "fid_plus"), strict=True))

    before = pairs()
    laptop.locator("th[data-name=pixels] button").click()
    laptop.locator("th[data-name=fid_plus] button").click()
    assert pairs() == before
    assert sorting(laptop, "pixels") == "none"


def test_a_keyboard_is_enough_to_sort(laptop):
    button = laptop.locator("th[data-name=fid_plus] button")
    button.focus()
    outline = "element => getComputedStyle(element).outlineStyle"
    laptop.keyboard.press("Tab")
    laptop.keyboard.press("Shift+Tab")
    assert button.evaluate(outline) == "solid"
    laptop.keyboard.press("Enter")
    assert sorting(laptop, "fid_plus") == "ascending"
    laptop.keyboard.press("Space")
    assert sorting(laptop, "fid_plus") == "descending"


# Two strides of a drag and the frames between them are at whole pixels of the screen; what is left
# is the rounding of a division by the scale.
EXACT = 1e-6


def place(page: Page) -> tuple[float, float, float]:
    """Returns the column and the line of the canvas in the corner, and the scale."""
    data = page.locator(".stage").evaluate("stage => ({...stage.dataset})")
    return float(data["x"]), float(data["y"]), float(data["scale"])


def last_column(page: Page) -> float:
    """Returns the column in the corner when the end of the canvas is at the right edge."""
    return WIDTH - page.locator(".stage").evaluate("stage => stage.clientWidth") / place(page)[2]


def middle(page: Page) -> tuple[float, float]:
    page.locator(".stage").scroll_into_view_if_needed()
    box = page.locator(".stage").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def enlarge(page: Page) -> None:
    """Makes the canvas wider than the stage on a laptop, which the smallest of them is not."""
    while last_column(page) < 30:
        page.locator("button[name=in]").click()
    page.locator(".stage").focus()
    page.keyboard.press("Home")
    assert place(page)[0] == 0


def drag(page: Page, across: float) -> None:
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + across / 2, y)
    page.mouse.move(x + across, y)
    page.mouse.up()


def test_a_drag_takes_the_canvas_along(page):
    enlarge(page)
    scale = place(page)[2]
    drag(page, -120)
    assert place(page)[0] == pytest.approx(120 / scale, abs=EXACT)
    drag(page, 60)
    assert place(page)[0] == pytest.approx(60 / scale, abs=EXACT)
    page.mouse.move(*middle(page))  # with no button held
    assert place(page)[0] == pytest.approx(60 / scale, abs=EXACT)


def test_no_drag_goes_beyond_the_ends(page):
    enlarge(page)
    drag(page, 150)
    assert place(page)[0] == 0
    for _ in range(8):
        drag(page, -0.48 * page.viewport_size["width"])
    assert place(page)[0] == pytest.approx(last_column(page), abs=EXACT)


def test_the_wheel_moves_a_chosen_canvas_and_else_the_page(laptop):
    enlarge(laptop)
    laptop.mouse.move(*middle(laptop))
    before = laptop.evaluate("window.scrollY")
    scale = place(laptop)[2]
    laptop.mouse.wheel(90, 0)
    laptop.wait_for_function("document.querySelector('.stage').dataset.x > 0")
    assert place(laptop)[0] == pytest.approx(90 / scale, abs=EXACT)
    laptop.locator("button[name=fit]").click()
    enlarge(laptop)
    # Chosen and enlarged in one direction only: what is hidden above and below comes first.
    laptop.mouse.move(*middle(laptop))
    x, y, _ = place(laptop)
    laptop.mouse.wheel(0, 50)
    laptop.wait_for_function(
        "([x, y]) => { const {dataset} = document.querySelector('.stage');"
        " return +dataset.x !== x || +dataset.y !== y; }",
        arg=[x, y],
    )
    assert laptop.evaluate("window.scrollY") == before
    laptop.locator("button[name=in]").focus()
    laptop.mouse.wheel(0, 50)
    laptop.wait_for_function("before => window.scrollY > before", arg=before)


def test_keys_move_the_canvas_within_its_ends(page):
    enlarge(page)
    end = last_column(page)
    view = WIDTH - end
    page.keyboard.press("ArrowRight")
    assert place(page)[0] == pytest.approx(min(view / 8, end), abs=EXACT)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert place(page)[0] == 0
    page.keyboard.press("End")
    assert place(page)[0] == pytest.approx(end, abs=EXACT)
    page.keyboard.press("Shift+ArrowRight")
    assert place(page)[0] == pytest.approx(end, abs=EXACT)
    page.keyboard.press("Home")
    scale = place(page)[2]
    page.keyboard.press("+")
    # A step of the zoom is the square root of 2.
    assert place(page)[2] == pytest.approx(scale * 2**0.5)
    page.keyboard.press("-")
    assert place(page)[2] == pytest.approx(scale)


def test_zoom_keeps_what_is_under_the_mouse(laptop):
    enlarge(laptop)
    drag(laptop, -150)
    x, y = middle(laptop)
    box = laptop.locator(".stage").bounding_box()
    laptop.mouse.move(x, y)

    def under() -> float:
        left, _, scale = place(laptop)
        return left + (x - box["x"]) / scale

    before, scale = under(), place(laptop)[2]
    laptop.keyboard.down("Control")
    laptop.mouse.wheel(0, -40)
    laptop.wait_for_function("s => +document.querySelector('.stage').dataset.scale > s", arg=scale)
    laptop.keyboard.up("Control")
    # The frame of the stage, one pixel of the screen, is inside its box.
    assert under() == pytest.approx(before, abs=2 / scale)


def test_full_size_is_a_pixel_for_a_pixel(laptop):
    laptop.locator("button[name=full]").click()
    x, _, scale = place(laptop)
    assert scale == 1
    # Narrower than the stage, the canvas lies in its middle.
    stage = laptop.locator(".stage").evaluate("stage => stage.clientWidth")
    assert x == pytest.approx((WIDTH - stage) / 2, abs=EXACT)


def test_a_loop_goes_round_both_ways(loop):
    enlarge(loop)
    step = (WIDTH - last_column(loop)) / 8
    loop.keyboard.press("ArrowLeft")
    assert place(loop)[0] == pytest.approx(WIDTH - step, abs=EXACT)
    loop.keyboard.press("ArrowRight")
    assert place(loop)[0] == pytest.approx(0, abs=EXACT)
    seen = []
    for _ in range(12):
        loop.keyboard.press("Shift+ArrowRight")
        seen.append(place(loop)[0])
    assert all(0 <= x < WIDTH for x in seen)
    turned = [(8 * step * (k + 1)) % WIDTH for k in range(12)]
    assert seen == pytest.approx(turned, abs=1e-4)


def test_the_stage_shows_the_canvas_itself(loop):
    """Reads the pixels back: enlarged as squares, and the first column again after the last."""
    enlarge(loop)
    shown = loop.evaluate(
        """() => {
          const stage = document.querySelector(".stage");
          const image = document.querySelector(".strip img");
          const copy = document.createElement("canvas");
          [copy.width, copy.height] = [image.naturalWidth, image.naturalHeight];
          const pen = copy.getContext("2d");
          pen.drawImage(image, 0, 0);
          const dots = stage.width / stage.clientWidth;
          const different = [];
          stage.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
          const all = pen.getImageData(0, 0, copy.width, copy.height);
          const seen = stage.getContext("2d").getImageData(0, 0, stage.width, stage.height);
          const colour = (picture, x, y) =>
            picture.data.slice(4 * (y * picture.width + x), 4 * (y * picture.width + x) + 4).join();
          for (let left = 3; left < stage.width; left += 97) {
            for (let top = 3; top < stage.height; top += 53) {
              const data = stage.dataset;
              const across = (+data.x + left / dots / data.scale) % copy.width;
              const down = +data.y + top / dots / data.scale;
              // A pixel beside an edge may be rounded to either side.
              const edge = Math.min(across % 1, 1 - (across % 1), down % 1, 1 - (down % 1));
              if (edge * data.scale < 1.5 || down < 0 || down >= copy.height) continue;
              const wanted = colour(all, Math.floor(across), Math.floor(down));
              different.push(wanted !== colour(seen, left, top));
            }
          }
          return different;
        }"""
    )
    assert len(shown) > 40
    assert not any(shown)


def test_strategy_and_sample_are_chosen_and_the_place_is_kept(laptop):
    enlarge(laptop)
    laptop.keyboard.press("ArrowRight")
    before = place(laptop)
    chosen = laptop.locator("[name=strategy]")
    names = chosen.evaluate("select => [...select.options].map((option) => option.value)")
    assert names == ["naive", "diffcollage", "direct", "multidiffusion", "real images"]
    pixels = "stage => stage.toDataURL()"
    first = laptop.locator(".stage").evaluate(pixels)
    chosen.select_option("diffcollage")
    laptop.locator("[name=sample]").select_option("1")
    assert place(laptop) == pytest.approx(before)
    assert laptop.locator(".stage").evaluate(pixels) != first


def test_a_canvas_of_the_sheet_opens_in_the_viewer(page):
    page.locator("a.strip").nth(6).click()
    assert page.locator("[name=strategy]").input_value() == "diffcollage"
    assert page.locator("[name=sample]").input_value() == "1"
    assert page.evaluate("document.activeElement.classList.contains('stage')")


def test_the_small_map_takes_one_anywhere(laptop):
    enlarge(laptop)
    laptop.locator(".map").scroll_into_view_if_needed()
    box = laptop.locator(".map").bounding_box()
    laptop.mouse.click(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2)
    assert place(laptop)[0] == pytest.approx(last_column(laptop), abs=EXACT)


def test_borders_are_drawn_when_asked_for(laptop):
    enlarge(laptop)
    pixels = "stage => stage.toDataURL()"
    before = laptop.locator(".stage").evaluate(pixels)
    laptop.locator("[name=edges]").check()
    assert laptop.locator(".stage").evaluate(pixels) != before
    laptop.locator("[name=edges]").uncheck()
    assert laptop.locator(".stage").evaluate(pixels) == before


def test_a_finger_drags_and_two_fingers_pinch(phone):
    enlarge(phone)
    scale, (x, y) = place(phone)[2], middle(phone)
    touch = phone.context.new_cdp_session(phone)

    def send(kind: str, *points: float) -> None:
        touches = [{"x": x + point, "y": y, "id": number} for number, point in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    send("touchStart", 0)
    for point in (-40, -80, -120):
        send("touchMove", point)
    send("touchEnd")
    # The system takes the first pixels of a swipe to tell it from a tap.
    assert 60 / scale < place(phone)[0] <= 120 / scale + EXACT
    send("touchStart", -20, 20)
    send("touchMove", -40, 40)
    send("touchMove", -80, 80)
    send("touchEnd")
    assert place(phone)[2] == pytest.approx(4 * scale, rel=0.5)


def test_heads_and_controls_are_large_enough_for_a_thumb(phone):
    heights = phone.evaluate(
        "[...document.querySelectorAll('#viewer button, #viewer select')]"
        ".map((element) => element.getBoundingClientRect().height)"
    )
    assert min(heights) >= 36


def test_type_is_never_tiny(phone):
    sizes = phone.evaluate(
        "[...document.querySelectorAll('main *')].filter((e) => e.childElementCount === 0 &&"
        " e.textContent.trim() && e.getClientRects().length)"
        ".map((e) => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 11
