"""Speakers in half precision on CUDA: the embeddings of the CPU, and the same speakers in any batch."""

# ruff: noqa: PLC0415 - torch takes seconds and warns at import: only where a test runs it

from __future__ import annotations

import numpy as np

from tests.support.engines import ON_GPU, sample

pytestmark = ON_GPU


def test_fp16_embeddings_are_those_of_the_cpu() -> None:
    import pytest
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    from dropscribe.engine.models.model_config import read_model_config
    from dropscribe.engine.models.speakers.embedder import LEAST_BATCH, LENGTHS, load_embedder
    from dropscribe.engine.models.store import BUNDLED

    config = read_model_config(BUNDLED / "campplus-zh-en")
    exact = load_embedder(config, torch.device("cpu"), half=False)
    half = load_embedder(config, torch.device("cuda:0"), half=True)
    half.warm_up()
    half.record()
    frames = exact.frames(sample())
    lengths = [*LENGTHS, 20, 40, 99, 148]
    windows = [frames[20 * i : 20 * i + n] for i, n in enumerate(lengths * 5)]
    on_gpu = [w.to("cuda:0") for w in windows]
    torch.cuda.synchronize()
    want, made = exact(windows).astype(np.float32), half(on_gpu).astype(np.float32)
    assert (want * made).sum(axis=1).min() > 0.999
    # Batches of full windows are recorded, and may follow each other on the same memory.
    assert min(half._recorded) == LEAST_BATCH
    full = [frames[5 * i : 5 * i + 148] for i in range(3 * LEAST_BATCH)]
    on_gpu_too = [w.to("cuda:0") for w in full]
    torch.cuda.synchronize()
    recorded = half(on_gpu_too).astype(np.float32)
    assert (exact(full).astype(np.float32) * recorded).sum(axis=1).min() > 0.999
    # The frames of a sound are those of the CPU, and a batch of one gives what a large one gives.
    assert torch.allclose(half.frames(sample()).cpu(), frames, atol=1e-2)
    alone = np.concatenate([half([w]) for w in on_gpu[:9]]).astype(np.float32)
    assert (alone * made[:9]).sum(axis=1).min() > 0.9995
