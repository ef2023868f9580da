"""Build hook of the wheel: manual pages and completion scripts, made from the commands, go into `share`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualPages(BuildHookInterface[Any]):
    """Adds the files that `python -m dropscribe.cli.manual` writes; not to an editable installation."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write them into a temporary folder, which `finalize` removes."""
        if version == "editable":
            return
        self.made = tempfile.TemporaryDirectory(prefix="dropscribe-share-")
        folder = Path(self.made.name)
        # Another interpreter: this one may have another `dropscribe` among its modules.
        command = [sys.executable, "-m", "dropscribe.cli.manual", str(folder)]
        subprocess.run(command, check=True, cwd=Path(self.root) / "daemon")
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            build_data["shared_data"][str(path)] = f"share/{path.relative_to(folder).as_posix()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the temporary folder."""
        if version != "editable":
            self.made.cleanup()
