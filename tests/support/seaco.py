"""A SeACo-Paraformer with random weights, and hotwords for it."""

from __future__ import annotations

import importlib.util
import warnings
import wave
from pathlib import Path

import numpy as np

from dropscribe.engine.core.interfaces import Pcm
from dropscribe.engine.models import store

Hotwords = tuple[str, ...]
ROOT = Path(__file__).resolve().parents[2]
CHARACTERS = [chr(0x4E00 + i) for i in range(300)]
#: A few hotwords (one of two words, two outside the vocabulary); one; more than the limit of the model.
FEW: Hotwords = ("乀乁", "上x", "hello", "一丁七 丈三")
ONE: Hotwords = ("丐",)
MANY: Hotwords = tuple(CHARACTERS[i] + CHARACTERS[2 * i + 1] + CHARACTERS[3 * i + 5] for i in range(90))
#: As many as the model takes without selecting among them: 50 with the start token.
BRIM: Hotwords = MANY[:49]


def random_seaco(folder: Path) -> Path:
    """A model directory with few narrow layers, but all six layers of the bias decoder."""
    place = ROOT / "benchmarks" / "random_model.py"
    spec = importlib.util.spec_from_file_location("random_model", place)
    assert spec is not None
    assert spec.loader is not None
    random_model = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        # FunASR and its dependencies warn about their own deprecated imports.
        warnings.simplefilter("ignore")
        spec.loader.exec_module(random_model)
        random_model.write(folder, family="seaco", small=True)
    return folder


def pieces() -> list[Pcm]:
    """Parts of the sample of very different lengths."""
    with wave.open(str(store.SAMPLE)) as file:
        said = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    cuts = ((0.28, 4.53), (5.29, 8.78), (0.0, 14.35), (5.3, 6.0), (10.0, 10.3))
    return [said[int(a * 16_000) : int(b * 16_000)] for a, b in cuts]
