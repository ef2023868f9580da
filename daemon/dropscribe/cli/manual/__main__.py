"""`python -m dropscribe.cli.manual DIR` writes manual pages and completion scripts below a directory."""

from __future__ import annotations

import sys
from pathlib import Path

from dropscribe.cli.manual.shared_files import write

if __name__ == "__main__":
    write(Path(sys.argv[1]))
