import time

import pytest
import torch

from patchcanvas.accounting import NFECounter, memory_source, peak_memory_mib, reset_peak_memory

CPU = torch.device("cpu")


class Slow:
    """A denoiser that takes its time."""

    patch_size, multiple, channels, takes_noise_maps = 16, 8, 3, True

    def __call__(self, x_t, sigma, context=None):
        time.sleep(0.02)
        return x_t / (1 + sigma.square())


def test_what_is_asked_is_counted_and_reset():
    metered = NFECounter(Slow())
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
    metered = NFECounter(Slow())
    x_t, sigma = torch.randn(1, 3, 16, 16, requires_grad=True), torch.ones(1, 1, 1, 1)
    x0_hat = metered(x_t, sigma)
    assert torch.equal(x0_hat, x_t / 2)
    assert metered.backward_passes == 0
    x0_hat.sum().backward()
    assert metered.backward_passes == 1
    assert torch.equal(x_t.grad, torch.full_like(x_t, 0.5))


class FakeClock:
    """A clock that stands still but when told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Halved(torch.autograd.Function):
    """Half of an image, in given seconds of a clock on the way up and on the way back."""

    @staticmethod
    def forward(ctx, image, clock, forward, backward):
        ctx.clock, ctx.backward_seconds = clock, backward
        clock.now += forward
        return image / 2

    @staticmethod
    def backward(ctx, gradient):
        ctx.clock.now += ctx.backward_seconds
        return gradient / 2, None, None, None


class Waiting(torch.autograd.Function):
    """The same image; on the way back time passes that is not the network's."""

    @staticmethod
    def forward(ctx, image, clock):
        ctx.clock = clock
        return image.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.clock.now += 1000.0
        return gradient, None


class Clocked:
    """Takes `forward` seconds an image, and `backward` seconds an image for gradients."""

    patch_size, multiple, channels, takes_noise_maps = 16, 8, 3, True

    def __init__(self, clock, forward=1.0, backward=10.0):
        self.clock, self.forward, self.backward = clock, forward, backward

    def __call__(self, x_t, sigma, context=None):
        n = len(x_t)
        return Halved.apply(x_t, self.clock, n * self.forward, n * self.backward)


def test_backward_passes_are_timed_and_counted_and_nothing_around_them():
    clock = FakeClock()
    metered = NFECounter(Clocked(clock), clock=clock)
    x_t, sigma = torch.randn(2, 3, 16, 8, requires_grad=True), torch.ones(1, 1, 1, 1)
    x0_hat = metered(Waiting.apply(x_t, clock), sigma)
    assert metered.seconds == 2.0
    clock.now += 100.0
    (gradient,) = torch.autograd.grad(Waiting.apply(x0_hat, clock).sum(), x_t)
    assert torch.equal(gradient, torch.full_like(x_t, 0.5))
    assert clock.now == 2.0 + 100.0 + 1000.0 + 20.0 + 1000.0
    assert metered.seconds == 22.0
    assert (metered.backward_passes, metered.backward_pixels) == (1, 2 * 16 * 8)
    metered.reset()
    assert (metered.backward_passes, metered.backward_pixels, metered.seconds) == (0, 0, 0.0)


def test_several_calls_of_one_graph_are_timed_apart():
    # As in a canvas denoiser with a gradient through it: windows and halves of them.
    clock = FakeClock()
    metered = NFECounter(Clocked(clock), clock=clock)
    x_t, sigma = torch.randn(2, 3, 16, 16, requires_grad=True), torch.ones(1, 1, 1, 1)
    windows = metered(x_t, sigma)
    halves = metered(Waiting.apply(x_t[..., 8:], clock), sigma)
    chained = metered(Waiting.apply(windows[:1], clock), sigma)
    (windows.sum() + Waiting.apply(halves, clock).sum() + chained.sum()).backward()
    assert metered.backward_passes == 3
    assert metered.backward_pixels == 2 * 16 * 16 + 2 * 16 * 8 + 16 * 16
    # 5 images, 1 s forwards and 10 s backwards.
    assert metered.seconds == 55.0


def test_calls_on_the_same_image_are_timed_apart():
    # As the two branches of guidance. The first call's gradient waits for the second's.
    clock = FakeClock()
    metered = NFECounter(Clocked(clock), clock=clock)
    x_t, sigma = torch.randn(1, 3, 16, 16, requires_grad=True), torch.ones(1, 1, 1, 1)
    first = Waiting.apply(metered(x_t, sigma), clock)
    second = Waiting.apply(metered(x_t, sigma), clock)
    (first + second).sum().backward()
    torch.testing.assert_close(x_t.grad, torch.ones_like(x_t))
    assert (metered.backward_passes, metered.seconds) == (2, 22.0)


def test_a_graph_that_is_walked_twice_is_timed_twice():
    clock = FakeClock()
    metered = NFECounter(Clocked(clock), clock=clock)
    x_t = torch.randn(1, 3, 16, 16, requires_grad=True)
    x0_hat = metered(x_t, torch.ones(1, 1, 1, 1)).sum()
    for _ in range(2):
        torch.autograd.grad(x0_hat, x_t, retain_graph=True)
    assert (metered.backward_passes, metered.seconds) == (2, 21.0)


def test_without_gradients_nothing_is_watched():
    metered = NFECounter(Slow())
    x_t = torch.randn(1, 3, 16, 16, requires_grad=True)
    with torch.no_grad():
        assert not metered(x_t, torch.ones(1, 1, 1, 1)).requires_grad
    assert metered.backward_passes == 0


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
