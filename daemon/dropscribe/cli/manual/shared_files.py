"""All manual pages and completion scripts, at their places below a `share` directory."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from dropscribe.cli.app import EXIT_CODES, build
from dropscribe.cli.manual import bash, fish, man, settings_page, zsh
from dropscribe.cli.manual.tree import read


@functools.cache
def shared_files() -> Mapping[str, str]:
    """`man/man1/dropscribe.1` → text. The places are those where man and the shells look below /usr/share."""
    program = read(build())
    pages = {f"man/{name}": text for name, text in man.pages(program, EXIT_CODES).items()}
    return {
        **pages,
        "man/man5/dropscribe.toml.5": settings_page.page(),
        "bash-completion/completions/dropscribe": bash.script(program),
        "zsh/site-functions/_dropscribe": zsh.script(program),
        "fish/vendor_completions.d/dropscribe.fish": fish.script(program),
    }


def write(directory: Path) -> list[Path]:
    """Write them below a directory; returns their paths."""
    written = []
    for name, text in shared_files().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written
