"""The kernels of the front end and of the output layer give what torch's operations give."""

# ruff: noqa: PLC0415 - torch takes seconds and warns at import: only where a test runs it

from __future__ import annotations

import pytest

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
