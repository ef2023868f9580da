"""How many words the network reads in one pass. Pure policy."""

from __future__ import annotations

#: Words of the recorded passes on CUDA; a pass of fewer words is filled up to the next of them, by a third at most.
SIZES = (1024, 1536, 2048, 3072, 4096, 6144, 8192, 12_288, 16_384, 24_576, 32_768, 49_152, 65_536)
#: Memory of a pass for each word and each of the network's dimensions, bytes: measured on ct-punc-mini, 31.
_BYTES = 32
#: A pass may take one part in so many of the memory. Once recorded, it keeps that.
_PARTS = 64


def most_words(memory_bytes: int, width: int) -> int:
    """Most words of a pass on a GPU with `memory_bytes` for this process; `width`: dimensions of the network."""
    fitting = (words for words in reversed(SIZES) if words * width * _BYTES * _PARTS <= memory_bytes)
    return next(fitting, SIZES[0])
