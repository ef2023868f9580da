"""Punctuation in packed half precision on CUDA sets the marks of fp32, also with widths that are padded."""

# ruff: noqa: PLC0415 - torch takes seconds and warns at import: only where a test runs it

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dropscribe.engine.models.model_config import read_model_config
from tests.support.engines import ON_GPU
from tests.support.punctuation import CHARACTERS, LARGE, MINI, random_model

pytestmark = ON_GPU


@pytest.mark.parametrize("sizes", [None, CHARACTERS, LARGE], ids=["mini", "c", "large"])
def test_fp16_sets_the_same_marks(sizes: tuple[int, int, int, int] | None, tmp_path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    from dropscribe.engine.models.punctuation import pass_sizes
    from dropscribe.engine.models.punctuation.model import PunctuationModel

    config = read_model_config(MINI if sizes is None else random_model(tmp_path / "model", sizes))
    exact = PunctuationModel(config, torch.device("cpu"))
    half = PunctuationModel(config, torch.device("cuda:0"), half=True)
    rng = np.random.default_rng(1)
    lengths = [1, 20, 37, 250, *rng.integers(20, 80, 100)]
    windows = [rng.integers(0, exact._size, length, dtype=np.int32) for length in lengths]
    want, made = exact.read(windows), half.read(windows)
    assert len(made) == sum(lengths)
    # Random weights have marks that are nearly equal, of which rounding may choose another.
    assert sum(a != b for a, b in zip(want, made, strict=True)) / sum(lengths) < 0.01
    assert half.read(windows[:3]) == made[: sum(lengths[:3])]
    # Recorded passes set the same marks, whatever a pass before has left behind the last window.
    half.warm_up()
    half.record()
    assert half._packed is not None
    assert [one.words for one in half._packed._recorded] == list(pass_sizes.SIZES)
    for chosen in (
        windows,
        windows[:3],
        windows[5:30],
        [ids[:20] for ids in windows],
        [ids[:1] for ids in windows],
    ):
        recorded, eager = half.read(chosen), half._packed._recorded
        half._packed._recorded = []
        plain = half.read(chosen)
        half._packed._recorded = eager
        words = sum(map(len, chosen))
        assert len(plain) == words
        assert sum(a != b for a, b in zip(recorded, plain, strict=True)) <= words / 500
