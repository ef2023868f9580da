"""`dropscribe` whose engine waits before it delivers a batch: `python -m tests.support.slow_engine run …`.

With the null model a recording of minutes is then under way for seconds, at no cost.
"""

from __future__ import annotations

import multiprocessing
import sys
import time

#: Command of such a daemon.
SLOW = (sys.executable, "-m", "tests.support.slow_engine")
#: Multiprocessing name of the engine.
_ENGINE = "dropscribe-engine"
#: Delay of each batch, seconds.
_DELAY_S = 1.0


def _slow_down() -> None:
    from dropscribe.engine.core.scheduler import Scheduler  # noqa: PLC0415 - of the engine process only

    deliver = Scheduler._deliver

    def late(*arguments: object, **named: object) -> object:
        time.sleep(_DELAY_S)
        return deliver(*arguments, **named)  # type: ignore[arg-type]

    vars_of: object = Scheduler
    setattr(vars_of, "_deliver", late)  # noqa: B010 - a method is replaced


if __name__ == "__main__":
    from dropscribe.cli.app import main

    main()
elif __name__ == "__mp_main__" and multiprocessing.current_process().name == _ENGINE:
    _slow_down()
