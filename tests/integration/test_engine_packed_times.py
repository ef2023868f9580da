"""The timestamp branch without padding gives the weights of the one with padding, which is FunASR's."""

# ruff: noqa: PLC0415 - torch takes seconds at import: only where a test runs it

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

WIDTH, TIMES = 8, 3


def predictor(*, recurrent: bool, from_conv: bool) -> Any:
    """Parts of FunASR's `CifPredictorV3` with random weights."""
    import torch

    torch.manual_seed(7)
    return SimpleNamespace(
        upsample_times=TIMES,
        upsample_cnn=torch.nn.ConvTranspose1d(WIDTH, WIDTH, TIMES, TIMES),
        upsample_type="cnn_blstm" if recurrent else "cnn",
        use_cif1_cnn=from_conv,
        blstm=torch.nn.LSTM(WIDTH, WIDTH, 1, bias=True, batch_first=True, bidirectional=True),
        cif_output2=torch.nn.Linear(2 * WIDTH if recurrent else WIDTH, 1),
        smooth_factor2=0.9,
        noise_threshold2=0.01,
    )


@pytest.mark.parametrize("lengths", [[5], [1, 9, 4, 9, 2], [3, 3, 3], [7, 1]])
@pytest.mark.parametrize(("recurrent", "from_conv"), [(True, True), (True, False), (False, True)])
def test_it_is_equal_to_the_padded_branch(lengths: list[int], recurrent: bool, from_conv: bool) -> None:
    import torch

    from dropscribe.engine.models.paraformer.cif import Timestamps
    from dropscribe.engine.models.paraformer.packed_times import PackedTimestamps

    module = predictor(recurrent=recurrent, from_conv=from_conv)
    shape = (len(lengths), max(lengths), WIDTH)
    keep = torch.arange(shape[1])[None] < torch.tensor(lengths)[:, None]
    with torch.inference_mode():
        encoded, hidden = torch.randn(shape), torch.randn(shape)
        expected = Timestamps(module, torch.float32).weights(encoded, hidden, keep)
        found = PackedTimestamps(module, torch.float32).weights(encoded, hidden, lengths)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert (found[~keep.repeat_interleave(TIMES, dim=1)] == 0).all()
