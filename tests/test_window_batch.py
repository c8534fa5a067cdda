import pytest
import torch

from denoisers.precond import EDMPrecond
from denoisers.unet import UNet
from patchcanvas.window_batch import ExactBatch, FittingBatch, Memory, out_of_memory, with_batch


class Small:
    """Holds so many pixels at a time and no more; remembers the sizes of its calls."""

    patch_size, multiple, channels, takes_noise_maps = 8, 8, 3, True

    def __init__(self, most_pixels: int | None = None) -> None:
        self.most_pixels = most_pixels
        self.sizes = []
        self.failures = 0

    def __call__(self, x_t, sigma, context=None):
        if self.most_pixels is not None and x_t[:, 0].numel() > self.most_pixels:
            self.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        self.sizes.append(len(x_t))
        extra = 0 if context is None else context.view(-1, 1, 1, 1)
        return x_t / (1 + sigma.square()) + extra


@pytest.fixture
def memory(tmp_path):
    return Memory(tmp_path / "window_batch.json", "an abacus")


def inputs(count: int):
    x_t = torch.randn(count, 3, 8, 8)
    return x_t, torch.rand(count, 1, 1, 1), torch.arange(float(count))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("count", [1, 3, 7, 16])
def test_parts_are_the_whole(memory, count, shared):
    x_t, sigma, context = inputs(count)
    if shared:
        sigma = sigma[:1]
    whole = Small()(x_t, sigma, context)
    for denoiser in (FittingBatch(Small(5 * 64), memory), ExactBatch(Small(), 3)):
        assert torch.equal(denoiser(x_t, sigma, context), whole)


def test_noise_maps_go_with_their_windows(memory):
    x_t, sigma = torch.randn(5, 3, 8, 8), torch.rand(5, 1, 8, 8)
    for denoiser in (FittingBatch(Small(2 * 64), memory), ExactBatch(Small(), 3)):
        assert torch.equal(denoiser(x_t, sigma), Small()(x_t, sigma))


def test_what_did_not_fit_is_not_tried_again(memory):
    small = Small(5 * 64)
    fitting = FittingBatch(small, memory)
    for _ in range(3):
        fitting(*inputs(16))
    # 16 fails, then 8 does, 4 fits: found once and for all.
    assert small.failures == 2
    assert set(small.sizes) == {4}


def test_what_was_learnt_is_remembered_for_the_device_and_no_other(memory):
    FittingBatch(Small(5 * 64), memory)(*inputs(16))
    again, elsewhere = Small(5 * 64), Small()
    FittingBatch(again, Memory(memory.path, memory.key))(*inputs(16))
    FittingBatch(elsewhere, Memory(memory.path, "a slide rule"))(*inputs(16))
    assert again.failures == 0
    assert elsewhere.sizes == [16]


def test_a_damaged_memory_is_learnt_again(memory):
    memory.path.write_text("{half")
    FittingBatch(Small(5 * 64), memory)(*inputs(16))
    assert memory.most_pixels() == 4 * 64


def test_a_batch_that_fits_is_one_call(memory):
    small = Small(1000 * 64)
    FittingBatch(small, memory)(*inputs(16))
    assert small.sizes == [16]
    assert not memory.path.exists()


def test_a_single_window_that_does_not_fit_is_an_error(memory):
    with pytest.raises(torch.OutOfMemoryError):
        FittingBatch(Small(10), memory)(*inputs(4))


def test_a_limit_that_no_smaller_call_confirmed_is_not_remembered(memory):
    with pytest.raises(torch.OutOfMemoryError):
        FittingBatch(Small(10), memory)(*inputs(4))
    assert memory.most_pixels() is None


def test_memory_that_a_graph_takes_is_not_blamed_on_the_windows(memory):
    fitting = FittingBatch(Small(5 * 64), memory)
    x_t, sigma, context = inputs(16)
    with pytest.raises(torch.OutOfMemoryError):
        fitting(x_t.requires_grad_(), sigma, context)
    assert fitting.most_pixels is None
    assert memory.most_pixels() is None


def test_a_memory_that_cannot_be_written_costs_a_warning(tmp_path):
    (tmp_path / "file").write_text("a file, not a folder")
    memory = Memory(tmp_path / "file" / "window_batch.json", "an abacus")
    with pytest.warns(UserWarning, match="could not be remembered"):
        FittingBatch(Small(5 * 64), memory)(*inputs(16))


def test_other_errors_pass(memory):
    class Broken(Small):
        def __call__(self, x_t, sigma, context=None):
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        FittingBatch(Broken(), memory)(*inputs(4))


def test_exact_calls_have_one_size():
    small = Small()
    exact = ExactBatch(small, 3)
    for count in (1, 3, 7):
        exact(*inputs(count))
    assert set(small.sizes) == {3}


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_exact_calls_make_windows_independent_of_their_company(dtype):
    # Bit by bit: this is what the number is for.
    denoiser = EDMPrecond(UNet(channels=(32, 64), blocks=(1, 1)), 16)
    for parameter in denoiser.parameters():
        parameter.data.normal_(std=0.1)  # a fresh network ends in zeros
    denoiser.autocast_dtype = dtype
    exact = ExactBatch(denoiser, 4)
    x_t, sigma = torch.randn(9, 3, 16, 16), torch.rand(9, 1, 1, 1)
    with torch.no_grad():
        whole = exact(x_t, sigma)
        for parts in ([1] * 9, [2, 7], [5, 4], [3, 3, 3]):
            pairs = zip(x_t.split(parts), sigma.split(parts), strict=True)
            assert torch.equal(torch.cat([exact(*pair) for pair in pairs]), whole)
        shared = [exact(part, sigma[:1]) for part in x_t.split(2)]
        assert torch.equal(torch.cat(shared), exact(x_t, sigma[:1]))


def test_gradients_flow_through_parts(memory):
    memory.remember(2 * 64)
    for denoiser in (FittingBatch(Small(2 * 64), memory), ExactBatch(Small(), 2)):
        x_t, sigma, context = inputs(5)
        x_t.requires_grad_()
        denoiser(x_t, sigma, context).sum().backward()
        torch.testing.assert_close(x_t.grad, (1 / (1 + sigma.square())).expand_as(x_t))


def test_sizes_below_one_are_refused(memory):
    with pytest.raises(ValueError, match="auto or at least 1, got 0"):
        with_batch(Small(), 0, memory)


def test_out_of_memory_has_many_faces():
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"))
    assert out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"))
    assert out_of_memory(
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")
    )
    assert not out_of_memory(RuntimeError("shapes do not match"))
    assert not out_of_memory(ValueError("out of memory"))
