"""The packages of requirements.txt, with torch, are all that transcribing needs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from dropscribe.engine.models.store import SAMPLE
from tests.support.documentation import ROOT

#: Python runs this at its start, in every process: imports of other packages fail as if they were not installed.
BLOCKER = """
import json, os, sys

class Blocker:
    allowed = frozenset(json.loads(os.environ["ALLOWED"])) | sys.stdlib_module_names
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.allowed and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""


def required() -> set[str]:
    """Names of the distributions in requirements.txt, normalised."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return {normal(line) for line in lines if line and not line.startswith(("#", "-"))}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_requirement_has_a_tested_version() -> None:
    pinned = {
        normal(line.partition("==")[0])
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    assert required() <= pinned


def test_every_declared_dependency_is_among_them() -> None:
    """Otherwise `dropscribe doctor` fails in an environment that was made from them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {normal(re.split(r"[^\w.-]", d)[0]) for d in project["dependencies"]}
    assert declared - {"torch"} <= required()


#: As a model of punctuation with a dictionary of its own does it, for example the official ct-punc.
CUT = """
from pathlib import Path
from dropscribe.engine.models.punctuation.dictionary import Dictionary
print(Dictionary(Path("dictionary.txt")).cut("机器学习的会议"))
"""


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        pytest.param(
            ["-m", "dropscribe", "transcribe", "--format", "srt", str(SAMPLE)], "会议", id="transcribe"
        ),
        # The host refuses the connection, which only the client of the hub finds out.
        pytest.param(
            ["-m", "dropscribe", "transcribe", "--model", "paraformer-zh", str(SAMPLE)],
            "cannot be fetched",
            id="fetch",
        ),
        pytest.param(["-c", CUT], "['机器学习', '的', '会议']", id="punctuation"),
    ],
)
def test_nothing_else_is_imported(arguments: list[str], shown: str, tmp_path: Path) -> None:
    distributions = required() | {"torch", "dropscribe"}
    allowed = {
        package
        for package, owners in metadata.packages_distributions().items()
        if distributions & {normal(owner) for owner in owners}
    }
    (tmp_path / "sitecustomize.py").write_text(BLOCKER, encoding="utf-8")
    (tmp_path / "dropscribe.toml").write_text(
        f'database = "{tmp_path}/jobs.db"\n[engine]\nmodel = "paraformer-mini"\nvad_model = "vad-mini"\n'
        f'[[folder]]\npath = "{tmp_path}"\n',
        encoding="utf-8",
    )
    (tmp_path / "dictionary.txt").write_text("机器学习\n", encoding="utf-8")
    environment = os.environ | {
        "ALLOWED": json.dumps(sorted({*allowed, "dropscribe", "__main__", "__mp_main__", "sitecustomize"})),
        "PYTHONPATH": str(tmp_path),
        "OMP_NUM_THREADS": "1",
        "HOME": str(tmp_path),
        "MODELSCOPE_ENDPOINT": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False, timeout=300,
    )  # fmt: skip
    assert "No module named" not in done.stderr + done.stdout
    assert shown in done.stdout + done.stderr
