"""The kernels of the front end and of the output layer give what torch's operations give."""

# ruff: noqa: PLC0415 - torch takes seconds and warns at import: only where a test runs it

from __future__ import annotations

import mmap
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.engines import ON_GPU

pytestmark = ON_GPU


@pytest.fixture(autouse=True)
def cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_log_mel_frames_are_those_of_the_processor(dtype: str) -> None:
    import torch

    from dropscribe.engine.layers.fbank import LogMel

    torch.manual_seed(1)
    pcm = (torch.randn(70_000) * 3_000).round().clamp(-32_768, 32_767).to(getattr(torch, dtype))
    pcm[20_000:21_000] = 0
    starts = torch.arange(0, 69_600, 160)
    expected = LogMel(torch.device("cpu"))(pcm, starts)
    found = LogMel(torch.device("cuda"))(pcm.cuda(), starts.cuda()).cpu()
    # The Fourier transforms of the two differ; little energy in a filter makes their difference large in its logarithm.
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=5e-3)


@pytest.fixture
def arena(monkeypatch: pytest.MonkeyPatch) -> Iterator[NDArray[np.int16]]:
    """Memory that the GPU reads itself: 100,000 samples, each other than its neighbours."""
    import torch

    from dropscribe.engine.layers import transfer

    monkeypatch.setattr(transfer, "_shared", [])
    memory = mmap.mmap(-1, 200_000)
    samples = np.frombuffer(memory, np.int16)
    samples[:] = np.arange(100_000) % 30_011
    assert transfer.share(samples.view(np.uint8)) is None
    yield samples
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaHostUnregister(samples.ctypes.data)  # type: ignore[no-untyped-call]


def test_the_gpu_reads_shared_memory_itself_and_other_samples_between(arena: NDArray[np.int16]) -> None:
    import torch

    from dropscribe.engine.layers.transfer import Upload

    upload = Upload(torch.device("cuda"))
    nothing, other = np.zeros(0, np.int16), np.arange(-333, 0, dtype=np.int16)
    parts = [nothing, arena[10:20_010], arena[:1], other, arena[50_001:99_999], nothing, other[5:6]]
    assert upload.samples(parts).tolist() == np.concatenate(parts).tolist()
    arena[10:20_010] = 7
    assert upload.samples(parts).tolist() == np.concatenate(parts).tolist(), "as it is now"
    for alone in ([other], [nothing, other, other], [arena[5:6]]):
        assert upload.samples(alone).tolist() == np.concatenate(alone).tolist()


def test_memory_that_cuda_does_not_accept_is_copied_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from dropscribe.engine.layers import transfer

    monkeypatch.setattr(transfer, "_shared", [])
    read_only = np.frombuffer(mmap.mmap(-1, 8_192, prot=mmap.PROT_READ), np.uint8)
    assert transfer.share(read_only)
    assert torch.ones(3, device="cuda").sum().item() == 3.0, "the error is not reported to others"
    samples = read_only.view(np.int16)
    assert transfer.Upload(torch.device("cuda")).samples([samples]).tolist() == samples.tolist()


@pytest.mark.parametrize("width", [5, 4_096, 8_404])
def test_best_token_and_its_probability(width: int) -> None:
    import torch

    from dropscribe.engine.layers.best import best_of, in_steps
    from dropscribe.engine.layers.frame_kernels import best

    torch.manual_seed(2)
    scores, bias = (
        torch.randn(300, width + 4, device="cuda")[:, :width] * 4,
        torch.randn(width, device="cuda"),
    )
    # The first of equals, also where they lie far apart.
    scores[0] = 1.0 - bias
    scores[1, -1] = 90.0
    expected = best_of(scores + bias)
    ids, share = best(scores, bias)
    assert ids.tolist() == expected.ids.tolist()
    assert (in_steps(share).int() - expected.sure.int()).abs().max() <= 1
