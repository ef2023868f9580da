"""Measure the peak memory of loading a model against the size of its weights file.

    .venv/bin/python benchmarks/loading_memory.py [--small] [--stock]

Writes a Paraformer of the official size (random weights) as a zip and as a legacy file, and loads each in a separate
process with dropscribe, and with --stock also with FunASR. Prints MiB: file size, and process memory before, peak,
after.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

#: Script for the separate process. Writing 5 to clear_refs resets Linux's peak of the resident memory.
CODE = """
import sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import torch
from funasr import AutoModel
from dropscribe.engine.models.loading import load

def status(name):
    return int(next(l for l in open("/proc/self/status") if l.startswith(name)).split()[1]) >> 10

before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
if sys.argv[1] == "stock":
    kept = AutoModel.build_model(model=sys.argv[2], device="cpu", ncpu=2, disable_update=True)
else:
    kept = load(Path(sys.argv[2]), torch.device("cpu"), 2)
print(before, status("VmHWM"), status("VmRSS"), file=sys.stderr)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="few narrow layers, to try it out")
    parser.add_argument("--stock", action="store_true", help="FunASR's own loading, too")
    options = parser.parse_args()
    import random_model  # noqa: PLC0415 - takes seconds
    import torch  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        random_model.write(folder, small=options.small)
        for legacy in (False, True):
            weights = torch.load(folder / "model.pt", weights_only=True)
            torch.save(weights, folder / "model.pt", _use_new_zipfile_serialization=not legacy)
            del weights
            size = (folder / "model.pt").stat().st_size >> 20
            for way in ("dropscribe", "stock")[: 1 + options.stock]:
                run = subprocess.run(
                    [sys.executable, "-c", CODE, way, folder], capture_output=True, text=True, check=True
                )
                before, highest, after = map(int, run.stderr.split()[-3:])
                form = "legacy" if legacy else "zip"
                print(
                    f"{way:10} {form:6} file {size:5}  before {before:5}  highest {highest:5}  after {after:5}"
                )


if __name__ == "__main__":
    main()
