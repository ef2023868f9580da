"""The daemon, paused before a function call: `python -m tests.support.paused_daemon FOLDER run …`.

Before a call of a function in POINTS whose arguments contain a file named after the point ("hash.wav") it creates
`FOLDER/hash.waits` and waits until that is removed. The defining module is patched before other modules import from it.
"""

from __future__ import annotations

import functools
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Functions by the stem of the recording that pauses them.
POINTS = {
    "examine": "dropscribe.intake.scan:examine",
    "inspect": "dropscribe.media.inspector:Inspector.inspect_each",
    "hash": "dropscribe.files:content_hash",
    "decode": "dropscribe.media.pool:DecoderPool.start",
    "plan_outputs": "dropscribe.service.publishing.output_plan:plan_outputs",
    "place": "dropscribe.transcript.placing.publish:Publication.place",
    "naming": "dropscribe.transcript.placing.rename:place_new",
}


def _pause(point: str, where: str, folder: Path) -> None:
    module, _, name = where.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, function = name.split(".")
    for one in classes:
        owner = getattr(owner, one)
    real: Callable[..., Any] = getattr(owner, function)
    waited: list[bool] = []

    @functools.wraps(real)
    def waiting(*arguments: Any, **named: Any) -> Any:
        if not waited and f"{point}." in repr((arguments, named)):
            waited.append(True)
            mark = folder / f"{point}.waits"
            mark.touch()
            while mark.exists():
                time.sleep(0.02)
        return real(*arguments, **named)

    setattr(owner, function, waiting)


if __name__ == "__main__":
    # In reverse order: a function is patched before a module that calls it imports it.
    for _point, _where in reversed(POINTS.items()):
        _pause(_point, _where, Path(sys.argv[1]))
    from dropscribe.cli.app import main
    from dropscribe.service.jobs import retry_policy

    # A job whose folder was swapped is tried again soon.
    retry_policy.BLAMELESS_WAIT_S = 1.0
    sys.argv = ["dropscribe", *sys.argv[2:]]
    main()
