"""A loaded punctuation model: words to numbers, and windows of words to marks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch

from dropscribe.engine.layers.memory import usable_bytes
from dropscribe.engine.models.loading import cannot_build, device_faults
from dropscribe.engine.models.model_config import ModelConfig
from dropscribe.engine.models.punctuation.config import read_config
from dropscribe.engine.models.punctuation.network import Ids, Network, PaddedNetwork, Parameters
from dropscribe.engine.models.punctuation.pass_sizes import SIZES, most_words
from dropscribe.engine.models.punctuation.words import (
    CharacterSplitter,
    DictionarySplitter,
    Splitter,
    Vocabulary,
)
from dropscribe.engine.models.weights import load_weights
from dropscribe.errors import OutOfDeviceMemoryError

if TYPE_CHECKING:
    from dropscribe.engine.models.punctuation.packed_network import PackedNetwork

#: Windows at warm-up, words: from the shortest to an unusually long one, four of each.
_WARM_WORDS = (1, 20, 60, 250) * 4
#: The same on a CPU, where each new shape costs little.
_WARM_WORDS_CPU = (20,)


class PunctuationModel:
    """A CT-Transformer on its device. Owned by the worker's thread."""

    def __init__(self, config: ModelConfig, device: torch.device, *, half: bool = False) -> None:
        """Load the model. `half`: float16 products, on CUDA only.

        Raises EngineError if it is not supported or its weights do not match.
        """
        found = read_config(config)
        try:
            module = Parameters(found).eval()
        except Exception as e:
            raise cannot_build(config, e) from e
        load_weights(module, config.weights, config.directory)
        self._codes = found.codes + bytes(256 - len(found.codes))
        self._size = len(found.vocabulary)
        vocabulary = Vocabulary(found.vocabulary, found.unknown)
        #: Of the texts that this model reads.
        self.splitter: Splitter = CharacterSplitter(vocabulary)
        if found.dictionary is not None:
            from dropscribe.engine.models.punctuation.dictionary import Dictionary  # noqa: PLC0415 - large

            self.splitter = DictionarySplitter(vocabulary, Dictionary(found.dictionary))
        self._on_cpu = device.type == "cpu"
        #: Words of the windows that the device reads in one pass; halved for good when they do not fit its memory.
        self._most_words = SIZES[-1] if self._on_cpu else most_words(usable_bytes(device), found.width)
        self._network: Network
        self._packed: PackedNetwork | None = None
        if half:
            # Triton comes only with CUDA builds of torch.
            from dropscribe.engine.models.punctuation.packed_network import PackedNetwork  # noqa: PLC0415

            self._packed = PackedNetwork(module, device)
            self._network = self._packed
        else:
            self._network = PaddedNetwork(module.to(device))

    def read(self, windows: Sequence[Ids]) -> bytes:
        """The mark after each word of all windows, one after another, codes of `dropscribe.transcript.written.marks`.

        The marks of a window do not depend on the others. Raises OutOfDeviceMemoryError if a single window does not
        fit the device, EngineDiedError if the device is unusable.
        """
        marks: list[bytes] = []
        at = done = 0
        words = [*accumulate(map(len, windows))]
        while at < len(windows):
            count = max(1, bisect_right(words, done + self._most_words) - at)
            try:
                with device_faults(), torch.inference_mode():
                    made = self._network(windows[at : at + count])
            except OutOfDeviceMemoryError:
                if count == 1:
                    raise
                self._most_words //= 2
                continue
            marks.append(made.translate(self._codes))
            at += count
            done = words[at - 1]
        return b"".join(marks)

    def warm_up(self) -> None:
        """Read windows of usual sizes, so that the first text is as fast as later ones."""
        rng = np.random.default_rng(0)
        sizes = _WARM_WORDS_CPU if self._on_cpu else _WARM_WORDS
        self.read([rng.integers(0, self._size, size, dtype=np.int32) for size in sizes])

    def record(self) -> None:
        """Record the launches of common passes on CUDA, after `warm_up`: optional. Raises RuntimeError if that fails."""
        if self._packed is not None:
            with torch.inference_mode():
                self._packed.record(self._most_words)
