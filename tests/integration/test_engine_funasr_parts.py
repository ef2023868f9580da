"""Importing only parts of FunASR gives the same classes, models and options as importing all of it."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dropscribe.engine.models.families import Kind, families_of
from dropscribe.engine.models.funasr_parts import MODULES, build_model
from dropscribe.engine.models.model_config import read_model_config
from tests.support import sense_voice
from tests.support.engines import FUNASR_WARNS
from tests.support.long_forms import IN_SOAK
from tests.support.models import MINI, VAD, change, copy_of
from tests.support.seaco import random_seaco

pytestmark = FUNASR_WARNS

#: Prints the classes in FunASR's registry, by table and name.
TABLES = """
import json
from funasr.register import tables
found = {
    table: {name: f"{c.__module__}.{c.__qualname__}" for name, c in classes.items()}
    for table, classes in {**vars(type(tables)), **vars(tables)}.items() if table.endswith("_classes")
}
print(json.dumps(found))
"""
#: Prints the same, and further state of the package.
STATE = (
    TABLES
    + """
import funasr
state = {"version": funasr.__version__, "errors": sorted(funasr.get_import_errors()), "names": sorted(funasr.__all__)}
print(json.dumps(found | {"package": state}))
"""
)
#: Loads models as an engine process does.
ENGINE = """
from dropscribe.config import EngineSettings
from tests.support.engines import assembled
settings = EngineSettings(model="paraformer-mini", vad_model="vad-mini", device="cpu", threads=1)
assembled(settings)
"""
EVERY_PART = """
from dropscribe.engine.models import funasr_parts
for names in funasr_parts.MODULES.values():
    for modules in names.values():
        for module in modules:
            funasr_parts._part(module)
"""


def printed(code: str) -> list[str]:
    """Run a script in a new process; returns the lines of its output."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def fresh(code: str) -> Any:
    """Run a script in a new process; returns its last line, parsed as JSON."""
    return json.loads(printed(code)[-1])


@pytest.fixture(scope="module")
def whole() -> dict[str, dict[str, str]]:
    """Registry and package state after `import funasr`."""
    found: dict[str, dict[str, str]] = fresh("import funasr\n" + STATE)
    return found


@pytest.fixture(scope="module")
def parts() -> tuple[dict[str, Any], dict[str, Any]]:
    """Registry after every part, and registry and package state after `import funasr` after them."""
    lines = printed(f"{EVERY_PART}{TABLES}\nfrom funasr import AutoModel\n{STATE}")
    return json.loads(lines[-3]), json.loads(lines[-1])


def test_an_engine_with_the_bundled_models_imports_no_other_models() -> None:
    imported = fresh(f"{ENGINE}\nimport json, sys\nprint(json.dumps(list(sys.modules)))")
    families = {name.split(".")[2] for name in imported if name.startswith("funasr.models.")}
    # Of other families only modules of layers, which these import.
    assert {"bicif_paraformer", "fsmn_vad_streaming", "paraformer", "sanm"} <= families
    assert len(families) < 15, families
    models = {n for n in imported if n.startswith("funasr.models.") and n.endswith(".model")}
    assert "funasr.models.seaco_paraformer.model" not in models
    assert "funasr.models.conformer.model" not in models
    assert not {"sklearn", "transformers", "matplotlib", "funasr.auto.auto_model"} & set(imported)
    # torch's compiler, and one that only a GPU needs.
    assert not {"torch._decomp.decompositions", "torch._refs", "torch._dynamo", "numba"} & set(imported)


def test_what_torch_is_imported_without_runs_when_it_is_used() -> None:
    names = "import json\nfrom torch import _meta_registrations as m\nm.activate_meta\nprint(json.dumps(sorted(vars(m))))"
    without = "from dropscribe.engine.layers.torch_import import leave_out_compiler\nleave_out_compiler()\nimport torch\n"
    used = "from torch._meta_registrations import activate_meta\n"
    assert fresh(f"{without}{used}{names}") == fresh(names)


@IN_SOAK
def test_each_part_registers_the_class_that_the_whole_has(
    whole: dict[str, dict[str, str]], parts: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    for option, names in MODULES.items():
        table = f"{option.removeprefix('seaco_')}_classes"
        for name in names:
            assert parts[0][table][name] == whole[table][name], name


def test_after_the_parts_the_whole_is_the_same(
    whole: dict[str, dict[str, str]], parts: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    assert parts[1] == whole


def test_every_family_is_among_the_parts_or_in_the_whole(whole: dict[str, dict[str, str]]) -> None:
    of_their_own = {f for kind in (Kind.PARAFORMER, Kind.SENSE_VOICE, Kind.VAD) for f in families_of(kind)}
    assert set(MODULES["model"]) == of_their_own
    assert set(families_of(Kind.AUTO_MODEL)) <= whole["model_classes"].keys()


def paraformer(folder: Path) -> Path:
    """Plain Paraformer with narrow layers."""
    copy_of(MINI, folder)
    change(folder, lambda c: c.update(model="Paraformer", predictor="CifPredictorV2"))
    return change(
        folder, lambda c: c.update(predictor_conf={"idim": 320, "threshold": 1.0, "l_order": 1, "r_order": 1})
    )


def small_sense_voice(folder: Path) -> Path:
    sense_voice.write(folder)
    return folder


def with_unusual_encoder(folder: Path) -> Path:
    """A Paraformer with an encoder outside the imported parts."""
    paraformer(folder)
    conf = {"output_size": 320, "attention_heads": 4, "linear_units": 64, "num_blocks": 1}
    return change(folder, lambda c: c.update(encoder="ConformerEncoder", encoder_conf=conf))


MADE: dict[str, Callable[[Path], Path]] = {
    "BiCifParaformer": lambda folder: copy_of(MINI, folder),
    "FsmnVADStreaming": lambda folder: copy_of(VAD, folder),
    "Paraformer": paraformer,
    "SeacoParaformer": random_seaco,
    "SenseVoiceSmall": small_sense_voice,
    "another encoder": with_unusual_encoder,
}


def plain(value: Any) -> Any:
    """Comparable form of an option: objects as class and fields."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, (str, int, float, type(None))):
        return value
    fields = {key: inner for key, inner in vars(value).items() if not key.startswith("_")}
    return type(value), {k: plain(v) for k, v in fields.items() if isinstance(v, (str, int, float, list))}


@pytest.mark.parametrize("name", MADE)
def test_a_model_is_built_as_by_funasr(name: str, tmp_path: Path) -> None:
    import torch
    from funasr import AutoModel

    options = read_model_config(MADE[name](tmp_path / "m")).options
    module, resolved = build_model(options, 2)
    assert torch.get_num_threads() == 2
    theirs, expected = AutoModel.build_model(**options, device="cpu", ncpu=2, disable_update=True)
    assert type(module) is type(theirs)
    assert [(n, type(m)) for n, m in module.named_modules()] == [
        (n, type(m)) for n, m in theirs.named_modules()
    ]
    assert not module.training
    assert plain(resolved) == plain(expected)
    ours, initial = module.state_dict(), theirs.state_dict()
    assert list(ours) == list(initial)
    # Both are initialised from the same seed.
    assert all(torch.equal(initial[key], value) for key, value in ours.items())
