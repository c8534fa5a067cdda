"""What a conditional network is told, row by row, and what a denoiser refuses to be told."""

import dataclasses

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

from denoisers.conditions import Conditions, conditions_of
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet

LEVEL = torch.full((1, 1, 1, 1), 0.7)
EVERYTHING = {
    "token_features": 5,
    "position": "block",
    "guide": True,
    "known_channel": True,
    "modes": True,
}


def network(**settings) -> UNet:
    """A small network none of whose layers is zero, as after training."""
    sizes = {"channels": [32], "blocks": [1], "attention_levels": 1, "features": 16}
    unet = UNet(**(sizes | settings))
    for parameter in unet.parameters():
        if parameter.ndim:  # gates stay as they were set
            nn.init.normal_(parameter, std=0.2)
    return unet


def denoiser(**settings) -> EDMPrecond:
    return EDMPrecond(network(**settings), 16).eval().requires_grad_(False)


def told(batch: int, height: int = 16, width: int = 16, *, tokens: int = 5) -> Conditions:
    """Everything that there is to be told, different for every row."""
    return Conditions(
        tokens=torch.randn(batch, tokens, 5),
        given=torch.arange(batch) % 3 != 1,
        guide=torch.randn(batch, 3, height, width),
        guided=torch.rand(batch, 1, height, width),
        known=(torch.rand(batch, 1, height, width) < 0.5).float(),
        place=torch.rand(batch, 4) * 2 - 1,
        plan=torch.arange(batch) % 2 == 0,
    )


def values(conditions: Conditions) -> dict[str, Tensor]:
    pairs = (
        (field.name, getattr(conditions, field.name)) for field in dataclasses.fields(Conditions)
    )
    return {name: value for name, value in pairs if value is not None}


def assert_same(one: Conditions, other: Conditions) -> None:
    assert values(one).keys() == values(other).keys()
    assert all(torch.equal(value, values(other)[name]) for name, value in values(one).items())


def test_rows_are_chosen_together():
    conditions = told(4)
    for rows in (slice(1, 3), torch.tensor([3, 0, 0])):
        chosen = conditions[rows]
        for name, value in values(conditions).items():
            assert torch.equal(getattr(chosen, name), value[rows])
    assert len(conditions) == 4
    assert len(conditions[1:3]) == 2
    assert len(Conditions()) == len(Conditions()[:1]) == 0


def test_rows_are_joined_in_order():
    first, then = told(2), told(3)
    joined = first.joined(then)
    assert_same(joined[:2], first)
    assert_same(joined[2:], then)


def test_rows_that_are_given_without_saying_so_stay_given_when_joined():
    tokens = torch.randn(2, 1, 5)
    plain, doubtful = Conditions(tokens=tokens), Conditions(tokens=tokens).without_tokens()
    assert plain.joined(doubtful).given.tolist() == [True, True, False, False]
    assert doubtful.joined(plain).given.tolist() == [False, False, True, True]
    assert plain.joined(plain).given is None


def test_rows_that_are_told_different_things_are_not_joined():
    place = Conditions(place=torch.zeros(1, 4))
    given = Conditions(tokens=torch.zeros(1, 1, 5)).without_tokens()
    for one, other in ((place, given), (given, place), (place, Conditions())):
        with pytest.raises(ValueError, match="rows that are joined must be told the same, got"):
            one.joined(other)


def test_without_tokens_nothing_else_is_forgotten():
    conditions = told(3)
    without = conditions.without_tokens()
    assert not without.given.any()
    assert_same(dataclasses.replace(without, given=conditions.given), conditions)
    place = Conditions(place=torch.zeros(1, 4))
    assert place.without_tokens() is place


def test_numbers_change_their_precision_and_truths_do_not():
    moved = told(2).to(torch.zeros(1, dtype=torch.float64))
    kinds = {name: value.dtype for name, value in values(moved).items()}
    assert kinds.pop("given") == kinds.pop("plan") == torch.bool
    assert set(kinds.values()) == {torch.float64}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"place": torch.zeros(2, 4), "known": torch.zeros(3, 1, 2, 2)},
            r"conditions must have one row a window each, got \[2, 3\]\.",
        ),
        (
            {"given": torch.ones(1, dtype=torch.bool)},
            r"given must not be told without tokens\.",
        ),
        ({"guided": torch.ones(1, 1, 2, 2)}, r"guided must not be told without guide\."),
        ({"guide": torch.ones(1, 3, 2, 2)}, r"guide must not be told without guided\."),
    ],
)
def test_parts_that_do_not_go_together_are_refused(parts, message, monkeypatch):
    # In the tests the type checker would speak first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        Conditions(**parts)


def test_a_context_is_conditions_or_tokens_alone():
    tokens, conditions = torch.randn(2, 3, 5), told(2)
    assert conditions_of(None) is None
    assert conditions_of(conditions) is conditions
    assert_same(conditions_of(tokens), Conditions(tokens=tokens))
    with pytest.raises(TypeError, match=r"tokens of shape .*, got \(2, 5\)\.$"):
        conditions_of(torch.zeros(2, 5))
    with pytest.raises(TypeError, match=r"tokens of shape .*, got str\.$"):
        conditions_of("a lake")


def test_tokens_alone_are_conditions_of_nothing_but_tokens():
    own, x_t, tokens = denoiser(token_features=5), torch.randn(2, 3, 16, 16), torch.randn(2, 3, 5)
    assert torch.equal(own(x_t, LEVEL, tokens), own(x_t, LEVEL, Conditions(tokens=tokens)))
    assert not torch.equal(own(x_t, LEVEL, tokens), own(x_t, LEVEL))


@pytest.mark.parametrize(
    ("settings", "context", "message"),
    [
        ({}, torch.zeros(2, 1, 5), r"this denoiser is unconditional: context must be None\."),
        (
            {},
            Conditions(tokens=torch.zeros(2, 1, 5)),
            r"takes no tokens; what it takes is nothing: it is unconditional\.",
        ),
        (
            {"guide": True, "modes": True},
            torch.zeros(2, 1, 5),
            r"this denoiser takes no tokens; what it takes is guide, plan\.",
        ),
        (
            {"token_features": 5},
            Conditions(guide=torch.zeros(2, 3, 16, 16), guided=torch.zeros(2, 1, 16, 16)),
            r"this denoiser takes no guide; what it takes is tokens\.",
        ),
        (
            {"position": "block"},
            None,
            r"trained with the places of its windows: context must tell them, as strategies\.",
        ),
        (
            {"position": "coordinates"},
            Conditions(known=torch.zeros(2, 1, 16, 16)),
            r"trained with the places of its windows: context must tell them, as strategies\.",
        ),
        (
            {"token_features": 5},
            torch.zeros(3, 1, 5),
            r"conditions must have one row for each of 2 windows, got 3\.",
        ),
        (
            {"token_features": 5},
            torch.zeros(2, 1, 4),
            r"this denoiser takes tokens of 5 features, got 4: give those of the backbone",
        ),
        (
            {"token_features": 5, "token_grid": (2, 3)},
            torch.zeros(2, 6, 5),
            r"knows the places of 6 tokens after the first, got 5: give those of the backbone",
        ),
    ],
)
def test_what_a_denoiser_does_not_take_is_refused(settings, context, message):
    own, zeros = denoiser(**settings), torch.zeros(2, 3, 16, 16)
    for ask in (own, own.with_variance, lambda *args: own.loss(args[0], args[1], zeros, args[2])):
        with pytest.raises(ValueError, match=message):
            ask(zeros, LEVEL, context)


@pytest.mark.parametrize("position", ["none", "block", "coordinates"])
def test_facts_that_a_network_does_not_take_are_no_matter(position):
    # What is known, where, and whether it is a plan is told to all, wishes are not.
    x_t, place = torch.randn(2, 3, 16, 16), torch.rand(2, 4)
    facts = dataclasses.replace(told(2), tokens=None, given=None, guide=None, guided=None)
    own = denoiser(position=position)
    alone = None if position == "none" else Conditions(place=facts.place)
    assert torch.equal(own(x_t, LEVEL, facts), own(x_t, LEVEL, alone))
    other = dataclasses.replace(facts, place=place)
    assert torch.equal(own(x_t, LEVEL, other), own(x_t, LEVEL, facts)) == (position == "none")


@pytest.mark.parametrize("part", ["guide", "known", "plan"])
def test_each_part_changes_what_is_made_and_what_is_not_told_is_nothing(part):
    own, x_t, full = denoiser(**EVERYTHING), torch.randn(3, 3, 16, 16), told(3)
    nothing = {
        "guide": {"guide": full.guide, "guided": torch.zeros_like(full.guided)},
        "known": {"known": torch.zeros_like(full.known)},
        "plan": {"plan": torch.zeros_like(full.plan)},
    }[part]
    left_out = dataclasses.replace(full, **dict.fromkeys(nothing))
    zeroed = dataclasses.replace(full, **nothing)
    assert torch.equal(own(x_t, LEVEL, left_out), own(x_t, LEVEL, zeroed))
    moved = (own(x_t, LEVEL, full) - own(x_t, LEVEL, zeroed)).abs().amax((1, 2, 3))
    # Rows that are no plan are the same with and without.
    assert ((moved > 1e-4) == (full.plan if part == "plan" else torch.ones(3, dtype=bool))).all()


def test_a_guide_says_as_much_as_it_is_said_to():
    own, x_t = denoiser(guide=True), torch.randn(1, 3, 16, 16)
    guide, guided = torch.randn(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    guided[..., :8] = 1.0
    other = guide.clone()
    other[..., 8:] += 7.0
    one, two = (own(x_t, LEVEL, Conditions(guide=each, guided=guided)) for each in (guide, other))
    assert torch.equal(one, two)


@pytest.mark.parametrize("size", [(16, 16), (8, 16), (16, 8)])
@pytest.mark.parametrize("position", ["block", "coordinates"])
def test_an_image_of_a_batch_is_what_it_is_alone(position, size):
    own = denoiser(**EVERYTHING | {"position": position, "token_grid": (2, 2)}).double()
    x_t, conditions = torch.randn(4, 3, *size).double(), told(4, *size)
    for sigma in (torch.rand(4, 1, 1, 1).double() + 0.1, torch.rand(4, 1, *size).double()):
        together = own(x_t, sigma, conditions)
        for k in range(4):
            row = slice(k, k + 1)
            alone = own(x_t[row], sigma[row], conditions[row])
            # Sums in another order, in float64.
            torch.testing.assert_close(together[row], alone, rtol=1e-11, atol=1e-11)


def test_the_loss_is_told_what_the_estimate_is():
    own, x0, eps, conditions = (
        denoiser(**EVERYTHING),
        torch.randn(2, 3, 16, 16),
        torch.randn(2, 3, 16, 16),
        told(2),
    )
    error = own(x0 + LEVEL * eps, LEVEL, conditions) - x0
    c_out = 0.7 * 0.5 / (0.7**2 + 0.5**2) ** 0.5
    # Float32 sums of numbers of order 1.
    expected = (error / c_out).square()
    torch.testing.assert_close(own.loss(x0, LEVEL, eps, conditions), expected, rtol=1e-3, atol=1e-4)


def test_what_was_made_in_inference_mode_may_be_part_of_a_gradient():
    own, x_t = EDMPrecond(network(**EVERYTHING), 16), torch.randn(2, 3, 16, 16, requires_grad=True)
    with torch.inference_mode():
        conditions = told(2)
    own(x_t, LEVEL, conditions).sum().backward()
    assert x_t.grad.abs().max() > 0
