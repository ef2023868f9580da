"""What a release states of itself: licences, bill of materials, changelog."""

from __future__ import annotations

import functools
import json
import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from dropscribe.config import load
from tests.support.documentation import ROOT

CONTENTS: dict[str, Any] = runpy.run_path(str(ROOT / "packaging/release/contents.py"))
LOG = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-12-01\n\n- more\n\n## [1.1.0] - 2026-11-01\n\n"


@functools.cache
def all_parts() -> list[Any]:
    parts: list[Any] = [*CONTENTS["packages"](), *CONTENTS["models"](), *CONTENTS["vendored"]()]
    return parts


def test_every_package_and_model_has_a_licence_that_permits_commercial_use() -> None:
    parts = all_parts()
    assert len(parts) > 60
    refused = ("GPL-2", "GPL-3", "AGPL", "NC", "Proprietary", "UNKNOWN")
    for part in parts:
        assert part.licence
        # The LGPL of soxr and psycopg permits it: pip installs them as packages of their own.
        assert not any(r in re.sub(r"LGPL-\d", "", part.licence) for r in refused), part


def test_the_packages_of_every_extra_for_users_are_listed_with_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = project["optional-dependencies"].keys()
    notes = [part.note.removeprefix("extra ") for part in all_parts() if part.optional]
    assert {name for note in notes for name in note.split(", ")} == named - {"dev"}
    assert {"psycopg", "psycopg-binary", "ray"} <= {part.name for part in all_parts()}


def test_the_bill_of_materials_names_all_parts_and_is_always_the_same() -> None:
    parts = all_parts()
    text = CONTENTS["bill_of_materials"]("1.2.0", parts, 0)
    assert text == CONTENTS["bill_of_materials"]("1.2.0", parts, 0)
    document = json.loads(text)
    assert document["bomFormat"] == "CycloneDX"
    assert len(document["components"]) == len({c["bom-ref"] for c in document["components"]}) == len(parts)
    torch = next(c for c in document["components"] if c["name"] == "torch")
    assert torch["purl"].startswith("pkg:pypi/torch@")
    assert "+" not in torch["purl"]
    model = next(c for c in document["components"] if c["name"] == "paraformer-mini")
    assert len(model["hashes"][0]["content"]) == 64
    assert next(c for c in document["components"] if c["name"] == "starlette")["scope"] == "optional"
    assert next(c for c in document["components"] if c["name"] == "pydantic")["scope"] == "required"
    listed = CONTENTS["inventory"](parts)
    for line in ("| paraformer-mini | in the wheel | MIT |", "| htmx | 4.0.1 | 0BSD |", "| uvicorn |"):
        assert line in listed


def test_a_release_needs_its_dated_section_in_the_changelog() -> None:
    assert CONTENTS["changes"](LOG, "1.2.0") == "- more\n"
    for version in ("1.3.0", "1.1.0", "Unreleased"):
        with pytest.raises(Exception, match=version):
            CONTENTS["changes"](LOG, version)


def test_what_a_wheel_is_built_from_reaches_the_container() -> None:
    """The list of what is sent to the builder names all that the build needs."""
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in ("daemon", "migrations", "systemd", "packaging", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE",
                 "constraints.txt", "requirements.txt"):  # fmt: skip
        assert f"!{name}" in sent
        assert (ROOT / name).exists()


def test_the_container_is_configured_for_its_own_folders() -> None:
    folder = ROOT / "packaging/container"
    settings = load(folder / "dropscribe.toml").settings
    volumes = {str(settings.folders[0].path), str(settings.database.parent), "/models"}
    file = (folder / "Containerfile").read_text(encoding="utf-8")
    named = re.search(r"^VOLUME (\[.*\])$", file, re.MULTILINE)
    assert named is not None
    assert set(json.loads(named[1])) == volumes
    compose = yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8"))
    mounted = {v.removesuffix(":ro").rpartition(":")[2] for v in compose["services"]["dropscribe"]["volumes"]}
    assert mounted == volumes | {"/etc/dropscribe/dropscribe.toml"}
    assert compose["services"]["dropscribe"]["network_mode"] == "none"
    cuda = yaml.safe_load((folder / "compose.cuda.yaml").read_text(encoding="utf-8"))
    assert cuda["services"].keys() == compose["services"].keys()


def test_a_container_for_postgresql_has_its_driver_and_its_clients() -> None:
    """Each stage knows the argument, by which both are installed together or not at all."""
    folder = ROOT / "packaging/container"
    build, final = (folder / "Containerfile").read_text(encoding="utf-8").split("FROM ${BASE}")[1:]
    assert "\nARG POSTGRESQL=\n" in build
    assert "\nARG POSTGRESQL=\n" in final
    assert re.search(
        r"""\[ -z "\$\{POSTGRESQL\}" \][^#]*-c /src/constraints.txt 'psycopg\[binary\]'""", build
    )
    assert "${POSTGRESQL:+postgresql-client}" in final
    compose = yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8"))
    assert compose["services"]["dropscribe"]["build"]["args"]["POSTGRESQL"] == "${POSTGRESQL:-}"


def test_the_scripts_of_the_debian_package_stop_all_units() -> None:
    script = (ROOT / "packaging/deb/prerm").read_text(encoding="utf-8")
    for unit in (ROOT / "systemd").iterdir():
        if (
            unit.suffix in {".service", ".socket", ".path"}
            and "user" not in unit.name
            and "share.service" not in unit.name
        ):
            assert unit.name in script


def test_nothing_downloads_while_the_package_is_installed() -> None:
    text = Path(ROOT / "packaging/deb/postinst").read_text(encoding="utf-8")
    assert "--no-index" in text
    assert "make-environment" not in text
