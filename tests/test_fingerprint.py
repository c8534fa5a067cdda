import pytest

from benchmarks.results.fingerprint import MUST_AGREE, differences
from patchcanvas.records import changes

FINGERPRINT = {name: f"some {name}" for name in MUST_AGREE} | {
    "seed": 0,
    "versions": {"torch": "2.11", "numpy": "2.1"},
    "strategy": {"class": "Naive", "solver": {"num_steps": 18}},
}


@pytest.mark.parametrize("name", MUST_AGREE)
def test_another_protocol_makes_figures_incomparable(name):
    other = FINGERPRINT | {name: "another"}
    assert differences(FINGERPRINT, other) == {name: (f"some {name}", "another")}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"seed": 1}, {"seed": (0, 1)}),
        (
            {"versions": {"torch": "2.12", "numpy": "2.1"}},
            {"versions.torch": ("2.11", "2.12")},
        ),
        (
            {"strategy": {"class": "Direct", "solver": {"num_steps": 40}}},
            {"strategy.class": ("Naive", "Direct"), "strategy.solver.num_steps": (18, 40)},
        ),
    ],
    ids=["seed", "versions", "strategy"],
)
def test_strategies_seeds_and_machines_may_differ(changed, found):
    other = FINGERPRINT | changed
    assert changes(FINGERPRINT, other) == found
    assert differences(FINGERPRINT, other) == {}


def test_what_one_does_not_know_differs():
    unknown = {key: value for key, value in FINGERPRINT.items() if key != "resizer"}
    assert differences(unknown, FINGERPRINT) == {"resizer": (None, "some resizer")}
    assert differences(FINGERPRINT, unknown) == {"resizer": ("some resizer", None)}
