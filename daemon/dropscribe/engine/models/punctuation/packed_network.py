"""The network on CUDA: windows packed without padding, float16 products, float32 residual stream.

Its passes run on a CUDA stream of high priority, so that they do not wait for the batches of the recogniser that are
already queued.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from dropscribe.engine.layers.packed import HALF, PackedLayers, aligned, placed, rows_of
from dropscribe.engine.models.punctuation.network import Ids, Parameters


class PackedNetwork:
    """Owned by the worker's thread."""

    def __init__(self, module: Parameters, device: torch.device) -> None:
        """`module`: on the CPU, in evaluation mode; it is not kept."""
        self._device = device
        self._embedding = module.embed.weight.detach().to(HALF).to(device)
        encoder = module.encoder.to(device)
        self._scale = float(encoder.output_size()) ** 0.5
        self._layers = PackedLayers([*encoder.encoders0, *encoder.encoders], encoder.after_norm)
        # So few outputs cost nothing in float32, in which close marks are ranked as on a CPU.
        weight, bias = module.decoder.weight.detach(), module.decoder.bias.detach()
        self._weight = F.pad(weight, (0, aligned(weight.shape[1]) - weight.shape[1])).to(device).float()
        self._bias = bias.to(device).float()
        self._stream = torch.cuda.Stream(device, priority=-1)
        # The weights were copied on another stream.
        torch.cuda.synchronize(device)

    def __call__(self, windows: Sequence[Ids]) -> list[bytes]:
        """See `dropscribe.engine.models.punctuation.network.Network`."""
        lengths = [len(ids) for ids in windows]
        with torch.cuda.stream(self._stream):
            host = torch.from_numpy(np.concatenate(windows)).pin_memory()
            rows = rows_of(lengths, self._device)
            embedded = F.embedding(host.to(self._device, non_blocking=True), self._embedding).float()
            _, hidden = self._layers(placed(embedded, self._scale, rows), rows)
            best = F.linear(hidden.float(), self._weight, self._bias).argmax(dim=-1).to(torch.uint8)
            marks = best.cpu().numpy().tobytes()
        ends = np.cumsum(lengths).tolist()
        return [marks[end - length : end] for end, length in zip(ends, lengths, strict=True)]
