"""What a release consists of: packages of its environment, models and files of others in the wheel, with their licences."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
#: Kind of a part, as CycloneDX names it.
MODEL = "machine-learning-model"
BUNDLED = ROOT / "daemon/dropscribe/engine/bundled"
#: Licences of packages whose metadata name none.
KNOWN = {"kaldiio": "MIT", "pysqlite3": "Zlib"}
#: Names that package authors use, as SPDX writes them.
SPDX = {
    "The MIT License": "MIT", "MIT License": "MIT", "BSD": "BSD-3-Clause", "BSD License": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause", "3-Clause BSD License": "BSD-3-Clause", "ISC License": "ISC",
    "Apache Software License": "Apache-2.0", "Apache 2.0": "Apache-2.0", "Python Software Foundation License": "PSF-2.0",
}  # fmt: skip
#: The optional dependencies that people do not install.
FOR_DEVELOPERS = "dev"
#: In the wheel, unchanged, of others: name → (file, licence, page that states its version).
VENDORED = {"htmx": ("daemon/dropscribe/web/static/htmx.min.js", "0BSD", "docs/web.md")}


@dataclass(frozen=True, slots=True)
class Part:
    """A package, model or file of others.

    `licence`: an SPDX expression; `digest`: SHA-256 of what is in the wheel, empty for a package that pip downloads; `note`: its
    origin, or the extra that needs it; `optional`: only with that extra.
    """

    name: str
    version: str
    licence: str
    digest: str = ""
    note: str = ""
    kind: str = "library"
    optional: bool = False


class ReleaseError(Exception):
    """A release cannot be made; the message says why."""


def packages(root: Path = ROOT) -> list[Part]:
    """What requirements.txt and torch bring, in the versions of this environment. Raises ReleaseError."""
    lines = (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = [line for line in lines if line and not line.startswith(("#", "-"))]
    needed = [_package(name) for name in sorted([*names, "torch"], key=str.lower)]
    return needed + _optional(root, {normal(p.name) for p in needed})


def vendored(root: Path = ROOT) -> list[Part]:
    """Files of others in the wheel. Raises ReleaseError if the version of one is not stated."""
    parts = []
    for name, (file, licence, page) in VENDORED.items():
        stated = re.search(rf"`{name}` ([\d.]+) \(", (root / page).read_text(encoding="utf-8"))
        if stated is None:
            raise ReleaseError(f"{page} does not state the version of {name}")
        digest = hashlib.sha256((root / file).read_bytes()).hexdigest()
        parts.append(Part(name, stated[1], licence, digest, "in the wheel, unchanged"))
    return parts


def models() -> list[Part]:
    """Models and recordings in the wheel. Raises ReleaseError if the licence of one is not stated."""
    stated = tomllib.loads((ROOT / "packaging/release/bundled.toml").read_text(encoding="utf-8"))
    found = {p.name: p for p in BUNDLED.iterdir() if p.is_dir() and p.name != "__pycache__"}
    if found.keys() != stated.keys():
        raise ReleaseError(f"bundled.toml states {sorted(stated)}, the wheel has {sorted(found)}")
    return [
        Part(name, "1", stated[name]["licence"], _digest(found[name]), stated[name]["from"], MODEL)
        for name in sorted(found)
    ]


def inventory(parts: list[Part]) -> str:
    """A table for people, as Markdown."""
    rows = [
        f"| {p.name} | {p.version if p.kind != MODEL else 'in the wheel'} | {p.licence} | {p.note} |"
        for p in parts
    ]
    head = [
        "# Licences",
        "",
        "dropscribe itself: MIT. The wheel contains the models and htmx; pip downloads the packages, those of an extra if asked to.",
        "",
    ]
    return "\n".join([*head, "| part | version | licence | origin |", "|---|---|---|---|", *rows]) + "\n"


def bill_of_materials(version: str, parts: list[Part], epoch: int) -> str:
    """CycloneDX 1.6 as JSON; the same parts give the same bytes."""
    components = list(_components(parts))
    content = json.dumps([version, components], sort_keys=True)
    main = {"type": "application", "bom-ref": "dropscribe", "name": "dropscribe", "version": version,
            "purl": f"pkg:pypi/dropscribe@{version}", "licenses": [{"expression": "MIT"}]}  # fmt: skip
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": main,
        },
        "components": components,
        "dependencies": [{"ref": "dropscribe", "dependsOn": [c["bom-ref"] for c in components]}],
    }
    return json.dumps(document, indent=1) + "\n"


def changes(text: str, version: str) -> str:
    """Section of a version in the changelog. Raises ReleaseError if there is none, or if it has no date."""
    found = re.search(
        rf"^## \[{re.escape(version)}\] - (\d{{4}}-\d\d-\d\d)$\n(.*?)(?=^## |\Z)",
        text,
        re.MULTILINE | re.DOTALL,
    )
    if found is None:
        raise ReleaseError(
            f"CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD': name the version there, and in "
            "daemon/dropscribe/__init__.py"
        )
    if not found[2].strip():
        raise ReleaseError(f"the section of {version} in CHANGELOG.md is empty")
    return found[2].strip() + "\n"


def _components(parts: list[Part]) -> Iterator[dict[str, Any]]:
    for part in parts:
        licences = [{"expression": part.licence}]
        if part.digest:
            yield {
                "type": part.kind, "bom-ref": f"{'model' if part.kind == MODEL else 'file'}:{part.name}", "name": part.name,
                "version": part.version, "licenses": licences, "hashes": [{"alg": "SHA-256", "content": part.digest}],
            }  # fmt: skip
        else:
            # A local version, such as +cpu, is no part of the name in the registry.
            purl = f"pkg:pypi/{normal(part.name)}@{part.version.partition('+')[0]}"
            scope = "optional" if part.optional else "required"
            yield {"type": part.kind, "bom-ref": purl, "name": part.name, "version": part.version, "purl": purl,
                   "scope": scope, "licenses": licences}  # fmt: skip


def normal(name: str) -> str:
    """Name of a package as the registry compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _optional(root: Path, known: set[str]) -> list[Part]:
    """Packages of the extras, with what they need themselves, that are not `known`."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted: dict[str, set[str]] = {}
    for extra, lines in project["optional-dependencies"].items():
        if extra == FOR_DEVELOPERS:
            continue
        todo = [one for line in lines if _applies(one := Requirement(line))]
        seen: set[str] = set()
        while todo:
            one = todo.pop()
            if normal(one.name) in known | seen:
                continue
            seen.add(normal(one.name))
            needed = map(Requirement, _metadata(one.name).get_all("Requires-Dist") or ())
            todo += [needs for needs in needed if _applies(needs, one.extras)]
        for name in seen:
            wanted.setdefault(name, set()).add(extra)
    return [
        replace(_package(name), note=f"extra {', '.join(sorted(extras))}", optional=True)
        for name, extras in sorted(wanted.items())
    ]


def _applies(requirement: Requirement, extras: Collection[str] = ()) -> bool:
    """True on this machine, with these extras of the package that requires it."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _metadata(name: str) -> metadata.PackageMetadata:
    try:
        return metadata.metadata(name)
    except metadata.PackageNotFoundError as e:
        raise ReleaseError(f"{name} is not installed here: make the environment again") from e


def _package(name: str) -> Part:
    about = _metadata(name)
    licence = about["License-Expression"] or ""
    if not licence:
        stated = (about["License"] or "").strip()
        classifiers = [
            c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or [] if c.startswith("License")
        ]
        first = stated if stated and len(stated.splitlines()) == 1 else next(iter(classifiers), "")
        licence = SPDX.get(first, first) or KNOWN.get(normal(name), "")
    if not licence:
        raise ReleaseError(f"{name} states no licence: look it up, and add it to KNOWN in contents.py")
    return Part(name, about["Version"], licence)


def _digest(folder: Path) -> str:
    weights = next((p for n in ("model.pt", "sample.wav") if (p := folder / n).exists()), None)
    if weights is None:
        raise ReleaseError(f"{folder} has neither model.pt nor sample.wav")
    return hashlib.sha256(weights.read_bytes()).hexdigest()
