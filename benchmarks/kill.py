"""Kill the daemon with SIGKILL at every named point of a job's life, and check that nothing is lost or doubled.

    python benchmarks/kill.py --rounds 40 --jobs 2

A round has a new folder and database. In it the daemon, its engine, a decoder or a publishing process is killed once at every point of
`tests/support/killed_daemon.py`, in random order, at its first or a later passage; each run starts with the state left by the
previous one, and with new recordings. After every kill the database must be intact and every visible file complete;
at the end every recording must be done exactly once, with files equal to those of an undisturbed run and no others.
After the kill of a child, the daemon completes its work in half of the cases before it is killed, too. A violation
ends the benchmark with an error that has round, seed and point. With `--stations` decoders and engine are fed by a
station process, which is killed at its points, too. `--database postgresql` does it with databases of Debian's
PostgreSQL, which it starts (`tests/support/postgresql.py`).

    python benchmarks/kill.py --backlog 512 --kills 100

One folder with --backlog long recordings and two decoders; the daemon is killed --kills times at random moments, and
sometimes one of its decoders before it (`killed_backlog.py`). At the end every recording must be done exactly once.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import killed_backlog
import surroundings

sys.path.insert(0, str(surroundings.ROOT))

from tests.support.killed_daemon import POINTS
from tests.support.kills import Chain
from tests.support.postgresql import Server


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=2, help="rounds at the same time")
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the next has the next")
    parser.add_argument("--points", type=int, help="only so many of the points, chosen anew each round")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument(
        "--stations", action="store_true", help="decoders and engine are fed by a station process"
    )
    parser.add_argument("--backlog", type=int, default=0, help="recordings of the other mode")
    parser.add_argument("--kills", type=int, default=100, help="of the daemon, with --backlog")
    parser.add_argument(
        "--seconds", type=float, default=1_200.0, help="length of each recording of a backlog"
    )
    options = parser.parse_args()
    if options.backlog and options.database != "sqlite":
        parser.error("--backlog works with SQLite")
    if options.backlog:
        surroundings.report("kill-backlog", options, killed_backlog.run(options))
        return
    began = time.monotonic()
    with ExitStack() as stack, ThreadPoolExecutor(options.jobs) as pool:
        server = None
        if options.database == "postgresql":
            server = Server()
            stack.callback(server.stop)
        futures = [
            pool.submit(one_round, options.seed + i, options.points, server, stations=options.stations)
            for i in range(options.rounds)
        ]
        try:
            rounds = [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)
    total: Counter[str] = Counter()
    for one in rounds:
        total.update(one["ended"])
    surroundings.report(
        "kill",
        options,
        {
            "points": len({name for one in rounds for name in one["kills"]}),
            "kills": sum(len(one["kills"]) for one in rounds),
            "kills_of_children": sum(one["of_children"] for one in rounds),
            "minutes": round((time.monotonic() - began) / 60, 1),
            # Anything but zero would have ended it with an error.
            "lost": 0,
            "half_written": 0,
            "double": 0,
            "damaged_databases": 0,
            "totals": dict(total),
            "times_killed_at": dict(sorted(Counter(n for one in rounds for n in one["kills"]).items())),
        },
    )


def one_round(seed: int, points: int | None, server: Server | None, *, stations: bool) -> dict[str, Any]:
    """Run one round: a kill at each of the points. `server`: use a new database there."""
    chance = random.Random(seed)
    names = chance.sample(list(POINTS), points or len(POINTS))
    with tempfile.TemporaryDirectory(prefix="dropscribe-kill-") as root:
        chain = Chain(Path(root), server="" if server is None else server.database(), stations=stations)
        try:
            chain.prepare([POINTS[name] for name in names])
            for name in names:
                nth = chance.randint(1, POINTS[name].passages)
                chain.kill_at(name, nth, goes_on=chance.random() < 0.5)
            ended = chain.end()
        except AssertionError as e:
            raise SystemExit(f"round with seed {seed}, after {chain.runs} runs: {e!r}") from e
    print(f"seed {seed}: {len(names)} kills, {ended}", file=sys.stderr, flush=True)
    children = sum(not POINTS[name].is_of_daemon(stations=stations) for name in names)
    return {"kills": names, "of_children": children, "ended": ended}


if __name__ == "__main__":
    main()
