import time

import pytest
import torch

from benchmarks.accounting import Metered, memory_source, peak_memory_mib, reset_peak_memory

CPU = torch.device("cpu")


class Slow:
    """A denoiser that takes its time."""

    patch_size, multiple, channels, takes_noise_maps = 16, 8, 3, True

    def __call__(self, x_t, sigma, context=None):
        time.sleep(0.02)
        return x_t / (1 + sigma.square())


def test_what_is_asked_is_counted_and_reset():
    metered = Metered(Slow())
    sigma = torch.ones(1, 1, 1, 1)
    metered(torch.zeros(5, 3, 16, 16), sigma)
    metered(torch.zeros(4, 3, 16, 8), sigma)
    assert (metered.calls, metered.patches) == (2, 9)
    assert metered.pixels == 5 * 16 * 16 + 4 * 16 * 8
    # Two sleeps, which never end early.
    assert metered.seconds >= 0.04
    metered.reset()
    assert (metered.calls, metered.patches, metered.pixels, metered.seconds) == (0, 0, 0, 0)


def test_answers_and_gradients_are_the_denoisers():
    metered = Metered(Slow())
    x_t, sigma = torch.randn(1, 3, 16, 16, requires_grad=True), torch.ones(1, 1, 1, 1)
    x0_hat = metered(x_t, sigma)
    assert torch.equal(x0_hat, x_t / 2)
    assert metered.gradient_passes == 0
    x0_hat.sum().backward()
    assert metered.gradient_passes == 1
    assert torch.equal(x_t.grad, torch.full_like(x_t, 0.5))


@pytest.mark.skipif(
    "since it started" in memory_source(CPU), reason="this system cannot reset a peak"
)
def test_the_peak_is_that_of_what_follows_the_reset():
    reset_peak_memory(CPU)
    before = peak_memory_mib(CPU)
    held = torch.ones(64 * 2**20)  # 256 MiB of float32
    during = peak_memory_mib(CPU)
    del held
    reset_peak_memory(CPU)
    # The heap gives blocks this large back to the system at once; 16 MiB are for all else.
    assert during - before > 240
    assert peak_memory_mib(CPU) < during - 240
