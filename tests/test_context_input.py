"""How contexts enter the network: attention, gates, codes, places, and a start from other weights.

Float64 throughout, so that what is the same in mathematics is the same to about 1e-12.
"""

import json
import math

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

from denoisers.checkpoint import CheckpointError, load_denoiser, save_denoiser, start_from
from denoisers.conditions import Conditions
from denoisers.context_input import (
    ContextTokens,
    CrossAttention,
    PlaceEmbedding,
    grid_codes,
    pixel_coordinates,
)
from denoisers.precond import EDMPrecond
from denoisers.unet import ChannelNorm, UNet
from tests.test_conditions import EVERYTHING, denoiser, network, told

ROUNDING = {"rtol": 1e-11, "atol": 1e-11}
LEVEL = torch.full((1, 1, 1, 1), 0.7, dtype=torch.float64)
PROVENANCE = {"command": "fit"}


def attention(channels: int = 8, features: int = 5, heads: int = 2, gate: float = 0.3):
    made = CrossAttention(
        channels, features, channels // heads, norm=ChannelNorm(channels), gate=gate
    ).double()
    for parameter in (made.out.weight, made.out.bias):
        nn.init.normal_(parameter)
    return made


def by_hand(made: CrossAttention, x: Tensor, tokens: Tensor) -> Tensor:
    """The same, head by head and pixel by pixel."""
    channels = x.shape[1]
    size = channels // made.heads
    normed = x / (x.square().mean(1, keepdim=True) + 1e-4).sqrt() * made.norm.gain
    query = torch.einsum("oc,bchw->bohw", made.query.weight[..., 0, 0], normed)
    query = query + made.query.bias.view(-1, 1, 1)
    both = torch.einsum("of,btf->bto", made.key_value.weight, tokens) + made.key_value.bias
    key, value = both[..., :channels], both[..., channels:]
    mixed = torch.zeros_like(x)
    for head in range(made.heads):
        own = slice(head * size, (head + 1) * size)
        score = torch.einsum("bchw,btc->bhwt", query[:, own], key[..., own]) / math.sqrt(size)
        weight = score.exp() / score.exp().sum(-1, keepdim=True)
        mixed[:, own] = torch.einsum("bhwt,btc->bchw", weight, value[..., own])
    out = torch.einsum("oc,bchw->bohw", made.out.weight[..., 0, 0], mixed)
    return x + math.tanh(made.gate.item()) * (out + made.out.bias.view(-1, 1, 1))


@pytest.mark.parametrize("gate", [0.0, 0.5, -1.7])
def test_cross_attention_is_that_of_the_formula(gate):
    made = attention(gate=gate)
    x, tokens = torch.randn(2, 8, 4, 6).double(), torch.randn(2, 7, 5).double()
    torch.testing.assert_close(made(x, tokens), by_hand(made, x, tokens), **ROUNDING)


def test_the_gate_scales_what_attention_adds_by_its_tanh():
    made = attention(gate=0.5)
    x, tokens = torch.randn(2, 8, 4, 4).double(), torch.randn(2, 3, 5).double()
    added = (made(x, tokens) - x) / math.tanh(0.5)
    for gate in (-0.4, 0.1, 2.0, 30.0):
        made.gate.data.fill_(gate)
        torch.testing.assert_close(made(x, tokens) - x, math.tanh(gate) * added, **ROUNDING)


def trained(gate: float, steps: int) -> tuple[dict[str, float], UNet]:
    """Gradients of the attention to tokens over some steps of training: the largest of each."""
    unet = UNet(
        channels=[32], blocks=[1], attention_levels=1, features=16, token_features=5, gate=gate
    )
    # The rest of the network is not at its start: gradients reach every block.
    nn.init.normal_(unet.conv_out.weight, std=0.1)
    own = EDMPrecond(unet, 16)
    optimizer = torch.optim.Adam(own.parameters(), lr=1e-2)
    largest: dict[str, float] = {}
    for _ in range(steps):
        x0, eps, tokens = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16), torch.randn(2, 3, 5)
        optimizer.zero_grad()
        own.loss(x0, torch.ones(1, 1, 1, 1), eps, tokens).mean().backward()
        for name, parameter in unet.named_parameters():
            if "contexts" in name or name.startswith("tokens"):
                change = 0.0 if parameter.grad is None else parameter.grad.abs().max().item()
                largest[name] = max(change, largest.get(name, 0.0))
        optimizer.step()
    return largest, unet


def test_a_gate_and_a_last_layer_of_zero_starve_each_other():
    starved, unet = trained(0.0, 4)
    assert len(starved) > 8
    assert set(starved.values()) == {0.0}
    assert all(gate.item() == 0 for gate in unet.gates.values())
    # All else learns.
    assert not torch.equal(unet.middle[0].blocks[0].conv_out.weight, torch.zeros(32, 32, 3, 3))


def test_an_open_gate_feeds_the_last_layer_at_once_and_the_rest_after_it():
    first, _ = trained(0.5, 1)
    assert all(value > 0 for name, value in first.items() if ".out." in name)
    assert all(value == 0 for name, value in first.items() if ".out." not in name)
    # The unconditional token is for rows that have none.
    then, unet = trained(0.5, 3)
    fed = {name: value for name, value in then.items() if not name.endswith("unconditional")}
    # What is added to all keys alike changes no share, whatever the tokens.
    assert all(value > 0 for value in fed.values())
    assert all(gate.item() != 0.5 for gate in unet.gates.values())


def test_gates_have_the_names_of_their_blocks():
    unet = network(
        channels=[32, 32], blocks=[1, 2], attention_levels=2, token_features=5, gate=0.25
    )
    assert list(unet.gates) == [
        "down.0.0",
        "middle.0.0",
        "middle.0.1",
        "middle.1.0",
        "middle.1.1",
        "up.0.0",
    ]
    assert {gate.item() for gate in unet.gates.values()} == {0.25}
    assert network(channels=[32, 32], blocks=[1, 2], token_features=5).gates.keys() == {
        f"middle.{side}.{block}" for side in (0, 1) for block in (0, 1)
    }
    assert network().gates == {}


def test_behind_a_closed_gate_tokens_change_no_bit():
    x_t = torch.randn(2, 3, 16, 16)
    level = LEVEL.float()
    for gate in (0.0, 0.5):
        own = denoiser(token_features=5, gate=gate)
        made = [own(x_t, level, torch.randn(2, 4, 5)) for _ in range(2)] + [own(x_t, level)]
        same = [torch.equal(made[0], other) for other in made[1:]]
        assert same == [gate == 0.0] * 2


def test_the_order_of_tokens_matters_where_their_places_are_coded():
    x_t, tokens = torch.randn(2, 3, 16, 16).double(), torch.randn(2, 7, 5).double()
    order = torch.tensor([0, 4, 2, 6, 1, 5, 3])
    for grid in (None, (2, 3)):
        own = denoiser(token_features=5, token_grid=grid).double()
        moved = (own(x_t, LEVEL, tokens) - own(x_t, LEVEL, tokens[:, order])).abs().max()
        assert moved < 1e-11 if grid is None else moved > 1e-3
    # The global token alone has no place.
    own(x_t, LEVEL, tokens[:, :1])


def test_codes_are_those_of_the_paper():
    rows, columns, width = 3, 4, 12
    half = width // 2
    expected = torch.zeros(rows * columns, width, dtype=torch.float64)
    for row in range(rows):
        for column in range(columns):
            for place, start in ((row, 0), (column, half)):
                for i in range(half // 2):
                    angle = place / 10_000 ** (2 * i / half)
                    expected[row * columns + column, start + 2 * i] = math.sin(angle)
                    expected[row * columns + column, start + 2 * i + 1] = math.cos(angle)
    # Computed in float32.
    torch.testing.assert_close(
        grid_codes(rows, columns, width).double(), expected, rtol=0, atol=1e-6
    )


def test_codes_are_added_to_the_projected_tokens_after_the_first():
    made, tokens = ContextTokens(5, 8, (2, 2)).double(), torch.randn(2, 5, 5).double()
    plain = tokens @ made.project.weight.mT + made.project.bias
    plain[:, 1:] += grid_codes(2, 2, 8)
    torch.testing.assert_close(made(Conditions(tokens=tokens), 2), plain, **ROUNDING)


@pytest.mark.parametrize("grid", [None, (2, 2)])
def test_rows_without_tokens_are_those_of_no_context(grid):
    own = denoiser(token_features=5, token_grid=grid).double()
    x_t, tokens = torch.randn(3, 3, 16, 16).double(), torch.randn(3, 5, 5).double()
    given = torch.tensor([True, False, True])
    made = own(x_t, LEVEL, Conditions(tokens=tokens, given=given))
    other = tokens.clone()
    other[1] = math.nan  # not looked at
    assert torch.equal(own(x_t, LEVEL, Conditions(tokens=other, given=given)), made)
    # The mean of five equal values, and another batch.
    torch.testing.assert_close(made[1], own(x_t, LEVEL)[1], **ROUNDING)
    torch.testing.assert_close(made[[0, 2]], own(x_t, LEVEL, tokens)[[0, 2]], **ROUNDING)
    assert (made[[0, 2]] - own(x_t, LEVEL)[[0, 2]]).abs().max() > 1e-3


def test_coordinates_are_those_of_the_middles_of_pixels():
    # A canvas of 20 x 40 px, of which a window of 4 x 8 px begins at row 6, column 10.
    place = torch.tensor([[2 * 6 / 20 - 1, 2 * 10 / 40 - 1, 2 * 10 / 20 - 1, 2 * 18 / 40 - 1]])
    coordinates = pixel_coordinates(place.double(), 4, 8)
    for row in range(4):
        for column in range(8):
            expected = [2 * (6 + row + 0.5) / 20 - 1, 2 * (10 + column + 0.5) / 40 - 1]
            # Places are float32.
            assert coordinates[0, :, row, column].tolist() == pytest.approx(expected, abs=1e-6)


def test_coordinates_of_a_window_are_cut_out_of_those_of_the_canvas():
    whole = pixel_coordinates(torch.tensor([[-1.0, -1.0, 1.0, 1.0]]).double(), 32, 64)
    place = torch.tensor([[2 * 8 / 32 - 1, 2 * 20 / 64 - 1, 2 * 24 / 32 - 1, 2 * 36 / 64 - 1]])
    own = pixel_coordinates(place.double(), 16, 16)
    torch.testing.assert_close(own, whole[..., 8:24, 20:36], **ROUNDING)


def test_the_place_is_embedded_by_sines_and_cosines_of_its_edges():
    made, place = PlaceEmbedding(6).double(), torch.rand(2, 4).double() * 2 - 1
    assert not made(place).any()  # at first
    nn.init.normal_(made.out.weight)
    angles = [
        [[math.pi / 2 * 2**octave * edge for octave in range(6)] for edge in row]
        for row in place.tolist()
    ]
    angles = torch.tensor(angles, dtype=torch.float64).flatten(1)
    features = torch.cat([angles.cos(), angles.sin()], dim=1)
    expected = made.out(nn.functional.silu(made.hidden(features)))
    # The octaves are kept in float32: half a period is pi / 2 to 4e-8.
    torch.testing.assert_close(made(place)[..., 0, 0], expected, rtol=1e-5, atol=1e-5)


def test_coordinates_come_in_as_channels():
    own, x_t = denoiser(position="coordinates").double(), torch.randn(2, 3, 16, 16).double()
    place = torch.rand(2, 4).double()
    raw = own.network(x_t, LEVEL, Conditions(place=place))
    weight = own.network.conv_in.weight.clone()
    # Without the channels of the coordinates, and with what they would add put in by hand.
    own.network.conv_in.weight.data[:, 12:] = 0
    assert not torch.allclose(own.network(x_t, LEVEL, Conditions(place=place)), raw)
    added = nn.functional.conv2d(
        nn.functional.pixel_unshuffle(pixel_coordinates(place, 16, 16), 2),
        weight[:, 12:],
        padding=1,
    )
    own.network.conv_in.register_forward_hook(lambda module, given, out: out + added)
    torch.testing.assert_close(own.network(x_t, LEVEL, Conditions(place=place)), raw, **ROUNDING)


NEW = {
    "tokens": {"token_features": 5, "token_grid": (2, 2)},
    "block": {"position": "block"},
    "coordinates": {"position": "coordinates"},
    "guide": {"guide": True},
    "known": {"known_channel": True},
    "modes": {"modes": True},
    "all": {
        **EVERYTHING,
        "position": "coordinates",
        "level_channel": True,
        "variance_head": True,
    },
}


def exported(path, **settings) -> EDMPrecond:
    own = denoiser(**settings)
    save_denoiser(own, path, provenance=PROVENANCE)
    return own.double()


def fresh(**settings) -> EDMPrecond:
    sizes = {"channels": [32], "blocks": [1], "attention_levels": 1, "features": 16}
    return EDMPrecond(UNet(**(sizes | settings)), 16)


@pytest.mark.parametrize("new", NEW.values(), ids=NEW.keys())
def test_a_network_with_new_parts_begins_with_the_estimate_of_the_old(tmp_path, new):
    given = exported(tmp_path / "old.safetensors")
    own = fresh(**new)
    start_from(own, tmp_path / "old.safetensors")
    own = own.double()
    x_t, full = torch.randn(3, 3, 16, 16).double(), told(3)
    for sigma in (LEVEL, torch.rand(3, 1, 16, 16).double()):
        expected = given(x_t, sigma)
        wishes = {
            name: getattr(full, name)
            for name, part in (
                ("tokens", "tokens"),
                ("given", "tokens"),
                ("guide", "guide"),
                ("guided", "guide"),
                ("known", "known"),
                ("place", "place"),
                ("plan", "plan"),
            )
            if part in own.takes
        }
        contexts = [Conditions(**wishes)]
        contexts += [Conditions(place=full.place)] if "place" in own.takes else [None]
        for context in contexts:
            # Float64, but weights of conv_in are summed in another order with channels of 0.
            torch.testing.assert_close(own(x_t, sigma, context), expected, **ROUNDING)


def test_new_parts_learn_from_where_they_begin(tmp_path):
    exported(tmp_path / "old.safetensors")
    own = fresh(**NEW["all"])
    start_from(own, tmp_path / "old.safetensors")
    own.loss(
        torch.randn(3, 3, 16, 16), LEVEL.float(), torch.randn(3, 3, 16, 16), told(3)
    ).mean().backward()
    gradient = own.network.conv_in.weight.grad.unflatten(1, (-1, 4)).abs().amax((0, 2, 3, 4))
    assert len(gradient) == 3 + 1 + 4 + 1 + 2
    assert gradient.min() > 0
    assert own.network.mode.weight.grad.abs().min() > 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"known_channel": True}, {"guide": True}),
        ({"guide": True}, {"level_channel": True}),
        ({"position": "coordinates"}, {"known_channel": True}),
    ],
)
def test_a_new_channel_before_one_that_is_copied_is_refused(tmp_path, old, new):
    exported(tmp_path / "old.safetensors", **old)
    with pytest.raises(CheckpointError, match=f"another architecture: {next(iter(new))} differs"):
        start_from(fresh(**old, **new), tmp_path / "old.safetensors")
    # Behind it there is room.
    behind = {"position": "coordinates"} | old
    start_from(fresh(**behind), tmp_path / "old.safetensors")


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ({"token_features": 5}, {"token_features": 6}, "token_features"),
        ({"token_features": 5}, {"token_features": 5, "gate": 0.0}, "gate"),
        ({"token_features": 5}, {"token_features": 5, "token_grid": (2, 2)}, "token_grid"),
        ({"token_features": 5}, {}, "token_features"),
        ({"position": "block"}, {"position": "coordinates"}, "position"),
        ({"guide": True}, {}, "guide"),
        ({"modes": True}, {}, "modes"),
    ],
)
def test_parts_that_mean_something_else_are_refused(tmp_path, old, new, name):
    exported(tmp_path / "old.safetensors", **old)
    with pytest.raises(CheckpointError, match=f"another architecture: {name} differs"):
        start_from(fresh(**new), tmp_path / "old.safetensors")


def test_a_file_brings_back_all_that_a_network_takes(tmp_path):
    own = denoiser(**EVERYTHING, token_grid=(2, 2), gate=0.25)
    own.conditioning = {"view": [32, 32], "backbone": {"class_path": "x"}, "scale": [4, 4]}
    own.network.gates["middle.0.0"].data.fill_(-0.125)
    save_denoiser(own, tmp_path / "own.safetensors", provenance=PROVENANCE)
    back = load_denoiser(tmp_path / "own.safetensors")
    assert back.conditioning == own.conditioning
    assert back.takes == own.takes == {"tokens", "place", "guide", "known", "plan"}
    assert back.network.config == own.network.config
    assert back.network.gates["middle.0.0"].item() == -0.125
    x_t, conditions = torch.randn(2, 3, 16, 16), told(2)
    level = LEVEL.float()
    assert torch.equal(back(x_t, level, conditions), own(x_t, level, conditions))


def test_a_file_from_before_there_were_contexts_is_still_read(tmp_path):
    own = exported(tmp_path / "old.safetensors").float()
    path = tmp_path / "old.json"
    beside = json.loads(path.read_text())
    del beside["denoiser"]["conditioning"]
    for name in (
        "token_features",
        "token_grid",
        "gate",
        "position",
        "guide",
        "known_channel",
        "modes",
    ):
        del beside["denoiser"]["settings"][name]
    path.write_text(json.dumps(beside))
    back = load_denoiser(tmp_path / "old.safetensors")
    x_t = torch.randn(1, 3, 16, 16)
    assert torch.equal(back(x_t, LEVEL.float()), own(x_t, LEVEL.float()))
    assert (back.takes, back.conditioning) == (frozenset(), None)
    start_from(fresh(**NEW["all"]), tmp_path / "old.safetensors")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"position": "left"}, r"position must be one of none, block, coordinates, got 'left'\."),
        ({"token_features": -1}, r"token_features must be at least 0, .* got -1 and 1\."),
        (
            {"token_features": 5, "attention_levels": 0},
            r"tokens need attention_levels of at least 1 to attend to them, got 5 and 0\.",
        ),
        ({"token_grid": (2, 2)}, r"token_grid needs token_features, .* got 0 and 32\."),
        (
            {"token_features": 5, "token_grid": (2, 2), "channels": [30], "head_channels": 10},
            r"a number of coarsest channels that is a multiple of 4, got 5 and 30\.",
        ),
    ],
)
def test_networks_that_cannot_be_are_refused(settings, message, monkeypatch):

    # In the tests the type checker would speak first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        fresh(**settings)
