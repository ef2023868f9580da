"""Mix channels down to mono without phase cancellation.

The channels are averaged. Where they would cancel (one lead of a cable or converter is inverted, so that left = -right
and the mean is silence), channels in antiphase to the loudest one are inverted first. The chosen signs stay until the
channels cancel again, so an ordinary recording is a plain mean throughout.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Threshold of (power of the sum) / (sum of the powers) for cancellation: 10 dB below uncorrelated channels. The ratio
#: of n channels is 1 if they are uncorrelated, n if identical, 0 if they cancel.
_CANCELLED = 0.1

#: Mean square below which a channel counts as silent: a fifth of one 16-bit step.
_SILENT = (0.2 / 32_768) ** 2


class Downmixer:
    """Averages the channels of one recording. Owned by its `Normaliser`."""

    def __init__(self) -> None:
        self._signs = np.ones(0, np.float32)
        #: True once a channel has been inverted.
        self.turned = False

    def mix(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mix finite samples of shape (frames, channels) to shape (frames,), with the same signs for all frames."""
        channels = samples.shape[1]
        if channels == 1:
            return samples[:, 0]
        if len(self._signs) != channels:
            self._signs = np.ones(channels, np.float32)
        total: NDArray[np.float32] = samples @ self._signs
        power = float(np.vdot(samples, samples))
        if power > _SILENT * samples.size and float(np.vdot(total, total)) < _CANCELLED * power:
            signs = _in_phase_signs(samples)
            self.turned = self.turned or bool((signs < 0).any())
            self._signs = signs
            total = samples @ signs
        mean: NDArray[np.float32] = total / np.float32(channels)
        return mean


def _in_phase_signs(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """A sign for each channel: -1 for those in antiphase to the loudest."""
    loudest = samples[:, int(np.argmax(np.einsum("ij,ij->j", samples, samples)))]
    return np.where(loudest @ samples < 0, np.float32(-1), np.float32(1))
