"""Many channels to one, without a speaker cancelled on the way.

The channels are averaged. Where they would cancel one another out (one side of a cable or of a converter is inverted, so
that left = -right and their mean is silence), the channels that run against the loudest one are turned round first. Which
ones are turned stays as it is until the channels cancel again, so that ordinary recordings are a plain mean throughout.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: The power of the sum of n channels against the sum of their powers is 1 where they have nothing to do with each other,
#: n where they are the same, 0 where they cancel. Below this they are taken to cancel: 10 dB under unrelated ones.
_CANCELLED = 0.1

#: Mean square of a channel under which there is nothing to cancel: a fifth of one step of 16 bits.
_NOTHING = (0.2 / 32_768) ** 2


class Downmixer:
    """Averages the channels of one recording. Owned by its `Normaliser`."""

    def __init__(self) -> None:
        self._signs = np.ones(0, np.float32)
        #: Whether any channel had to be turned round so far.
        self.turned = False

    def mix(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """From finite samples of shape (frames, channels) to shape (frames,); decides once for all frames given."""
        channels = samples.shape[1]
        if channels == 1:
            return samples[:, 0]
        if len(self._signs) != channels:
            self._signs = np.ones(channels, np.float32)
        total: NDArray[np.float32] = samples @ self._signs
        power = float(np.vdot(samples, samples))
        if power > _NOTHING * samples.size and float(np.vdot(total, total)) < _CANCELLED * power:
            signs = _against_none(samples)
            self.turned = self.turned or bool((signs < 0).any())
            self._signs = signs
            total = samples @ signs
        mean: NDArray[np.float32] = total / np.float32(channels)
        return mean


def _against_none(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """A sign for each channel: -1 for those that run against the loudest."""
    loudest = samples[:, int(np.argmax(np.einsum("ij,ij->j", samples, samples)))]
    return np.where(loudest @ samples < 0, np.float32(-1), np.float32(1))
