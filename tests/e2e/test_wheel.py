"""The wheel in a new environment, beside another distribution with a top-level package `daemon`."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from dropscribe.cli.manual.shared_files import shared_files
from tests.support.daemon_process import BUNDLED
from tests.support.long_forms import IN_SOAK

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = BUNDLED / "sample" / "sample.wav"
#: Substitute for python-daemon, whose package has this name.
OTHER_PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "other-daemon"
version = "1"

[tool.hatch.build.targets.wheel]
packages = ["daemon"]
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wheel_of(project: Path, folder: Path) -> Path:
    before = set(folder.glob("*.whl"))
    run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("-w", folder, project),
        cwd=folder,
    )
    (made,) = set(folder.glob("*.whl")) - before
    return made


class Environment:
    """A virtual environment with the third-party packages of this one, but without this checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        run(sys.executable, "-m", "venv", "--without-pip", root, cwd=root.parent)
        self.python = root / "bin" / "python"
        (site,) = root.glob("lib/python*/site-packages")
        # .pth files in these folders are not read, so the one of the editable install has no effect.
        packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *_added_paths()}
        (site / "packages.pth").write_text("\n".join(sorted(packages)) + "\n", encoding="utf-8")

    def pip(self, *arguments: str | Path) -> str:
        return run(
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.python),
            *arguments,
            cwd=self.root,
        )

    def install(self, wheels: Sequence[Path]) -> None:
        self.pip("install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", *wheels)

    def remove(self, name: str) -> None:
        self.pip("uninstall", "--quiet", "--yes", name)

    def says(self, expression: str) -> str:
        return run(self.python, "-I", "-c", f"print({expression})", cwd=self.root).strip()


def _added_paths() -> list[str]:
    """Package folders that this environment adds by a .pth file."""
    return [p for p in sys.path if p.endswith("site-packages")]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    other = folder / "other"
    (other / "daemon").mkdir(parents=True)
    (other / "daemon" / "__init__.py").write_text('WHO = "another project"\n', encoding="utf-8")
    (other / "pyproject.toml").write_text(OTHER_PROJECT, encoding="utf-8")
    return wheel_of(ROOT, folder), wheel_of(other, folder)


ANOTHER = "__import__('daemon').WHO"
OURS = "__import__('dropscribe').__file__"


@IN_SOAK
def test_it_runs_beside_a_package_named_daemon_and_either_can_be_removed(
    wheels: tuple[Path, Path], tmp_path: Path
) -> None:
    ours, other = wheels
    environment = Environment(tmp_path / "environment")
    environment.install([other, ours])
    command = environment.root / "bin" / "dropscribe"

    text = run(command, "transcribe", SAMPLE, cwd=tmp_path)
    assert text.strip()
    assert environment.says(ANOTHER) == "another project"
    assert environment.says(OURS).startswith(str(environment.root))

    environment.remove("other-daemon")
    run(environment.python, "-m", "dropscribe", "config", cwd=tmp_path)
    assert run(command, "transcribe", SAMPLE, cwd=tmp_path) == text

    environment.install([other])
    environment.remove("dropscribe")
    assert environment.says(ANOTHER) == "another project"
    assert not command.exists()


def test_the_wheel_brings_migrations_and_unit_and_opens_a_database(
    wheels: tuple[Path, Path], tmp_path: Path
) -> None:
    environment = Environment(tmp_path / "environment")
    environment.install([wheels[0]])
    package = Path(environment.says("__import__('os').path.dirname(" + OURS + ")"))
    assert (package / "migrations" / "env.py").is_file()
    assert (package / "systemd" / "dropscribe.service").is_file()
    made = "__import__('dropscribe.ledger.sql.migrations', fromlist=['x']).migrations_folder()"
    assert environment.says(made) == str(package / "migrations")
    program = environment.root / "bin" / "dropscribe"
    run(program, "install-service", "--prefix", tmp_path / "root", cwd=tmp_path)
    unit = (tmp_path / "root/etc/systemd/system/dropscribe.service").read_text(encoding="utf-8")
    assert f"ExecStart={program} run" in unit
    share = environment.root / "share"
    assert {p.relative_to(share).as_posix() for p in share.rglob("*") if p.is_file()} == set(shared_files())


def test_wheel_and_source_distribution_are_complete(wheels: tuple[Path, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(wheels[0]) as wheel:
        packed = set(wheel.namelist())
    files = {
        f"dropscribe/{p.relative_to(folder).as_posix()}"
        for folder in (ROOT / "daemon" / "dropscribe", ROOT)
        for top in ((folder,) if folder != ROOT else (ROOT / "migrations", ROOT / "systemd"))
        for p in top.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert files - packed == set()
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=ROOT)
    (made,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(made) as source:
        names = {n.partition("/")[2] for n in source.getnames()}
    tracked = set(run("git", "ls-files", cwd=ROOT).splitlines()) if (ROOT / ".git").exists() else set()
    assert {name for name in tracked if not name.startswith(".")} <= names
