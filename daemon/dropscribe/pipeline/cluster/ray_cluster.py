"""The only module that imports Ray: nodes of a cluster, and calls to the stations at them."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import re
import signal
import socket
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from dropscribe.config import Settings
from dropscribe.errors import EngineError
from dropscribe.pipeline.cluster.answers import Answers
from dropscribe.pipeline.cluster.cluster_executor import ClusterExecutor
from dropscribe.pipeline.cluster.likeness import fingerprints, versions
from dropscribe.pipeline.executor import Executor
from dropscribe.pipeline.local.local_executor import LocalExecutor
from dropscribe.pipeline.sizing import decoder_count
from dropscribe.pipeline.stations.hosted_station import HostedStation
from dropscribe.pipeline.stations.remote_station import Answer, OutOfReachError

#: Interval of asking which nodes there are, seconds.
NODES_S = 1.0
#: Longest wait of a report for news, seconds: an idle station is heard so often.
HEARTBEAT_S = 1.0
#: Longest wait for the end of the thread, seconds.
CLOSE_S = 5.0
#: Longest wait for a connection to the head of the cluster, seconds: Ray itself would wait for minutes.
REACH_S = 5.0
#: Longest error of Ray that is shown, characters.
MOST_REASON = 300
#: Environment variable of Ray.
_MODE = "RAY_AUTH_MODE"
#: What Ray says of an actor whose process was killed, or whose node is gone.
_DIED = "The actor died unexpectedly before finishing this task."
#: How Ray begins if something answers at the address, but does not let this machine in: it does not say why.
_NOT_LET_IN = "Failed to connect to Ray cluster"


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is alive. `gpus` 0: one station on the CPU, if it lends a CPU at all."""

    id: str
    name: str
    host: str
    gpus: int
    cpus: float

    @property
    def stations(self) -> int:
        """Number of stations that it can hold."""
        return self.gpus or int(self.cpus >= 1)


class StationActor:
    """What runs at a node, as a Ray actor. Takes and gives built-in types only, so that any two versions understand each other
    up to the point at which they are compared.
    """

    def __init__(self, settings: bytes, share: int) -> None:
        """`settings`: pickled once the versions are known to be equal; `share`: number of stations on this node."""
        os.environ.pop("OMP_NUM_THREADS", None)  # Ray sets it to 1
        self._settings, self._share = settings, share
        self._station: HostedStation | None = None
        threading.Thread(target=self._end_if_abandoned, name="abandoned", daemon=True).start()

    def examine(self) -> tuple[dict[str, str], dict[str, str], str]:
        """Versions, models (only if they can be read), and the mode of authentication."""
        here = versions()
        try:
            models = fingerprints(pickle.loads(self._settings))
        except Exception as e:
            models = {"?": str(e)}
        return here, models, os.environ.get(_MODE, "")

    def feed(self, orders: bytes) -> None:
        """See `HostedStation.feed`."""
        self._opened().feed(pickle.loads(orders))

    def report(self, confirmed: int, orders: bytes) -> bytes:
        """See `HostedStation.report`; `orders`: b"" if there are none."""
        given = pickle.loads(orders) if orders else None
        return pickle.dumps(self._opened().report(confirmed, given, HEARTBEAT_S))

    def _opened(self) -> HostedStation:
        if self._station is None:
            settings: Settings = pickle.loads(self._settings)
            decoders = max(2, decoder_count(settings, self._share) // self._share)
            media = settings.media.model_copy(update={"decoders": settings.media.decoders or decoders})
            # Ray shows the process one GPU, if the node has any.
            device = "cpu" if not os.environ.get("CUDA_VISIBLE_DEVICES") else "cuda:0"
            engine = settings.engine.model_copy(update={"device": device})
            mine = settings.model_copy(update={"media": media, "engine": engine})
            self._station = HostedStation(partial(self.executor, mine))
        return self._station

    def executor(self, settings: Settings) -> Executor:
        """Start what does the work; benchmarks override it."""
        return LocalExecutor(settings)

    def _end_if_abandoned(self) -> None:
        while self._station is None or not self._station.abandoned:
            time.sleep(1.0)
        os._exit(1)


class RayLink:
    """`Link` to one actor. Methods are called on the head's main thread."""

    def __init__(self, cluster: RayCluster, node: Node) -> None:
        self._cluster = cluster
        self._node = node
        self._actor: Any = None
        self._killed = False

    def examine(self, answer: Answer) -> None:
        """See `Link`."""
        self._cluster.do(partial(self._create, answer))

    def feed(self, orders: bytes, answer: Answer) -> None:
        """See `Link`."""
        self._call("feed", answer, orders)

    def report(self, confirmed: int, orders: bytes, answer: Answer) -> None:
        """See `Link`."""
        self._call("report", answer, confirmed, orders)

    def kill(self) -> None:
        """See `Link`."""
        self._killed = True
        self._cluster.do(self._kill)

    def _create(self, answer: Answer) -> None:
        if self._killed:
            return
        try:
            if self._actor is None:
                self._actor = self._cluster.create(self._node)
        except Exception as e:
            self._cluster.said(partial(answer, None, e))
            return
        self._call("examine", answer)

    def _kill(self) -> None:
        if self._actor is not None:
            self._cluster.ray.kill(self._actor)

    def _call(self, method: str, answer: Answer, *arguments: Any) -> None:
        try:
            future = getattr(self._actor, method).remote(*arguments).future()
        except Exception as e:
            self._cluster.said(partial(answer, None, e))
            return
        future.add_done_callback(partial(self._done, answer))

    def _done(self, answer: Answer, future: Any) -> None:
        """Runs on a thread of Ray."""
        error = future.exception()
        if isinstance(error, self._cluster.ray.exceptions.ActorUnavailableError):
            error = OutOfReachError(str(error))
        elif error is not None:
            error = RuntimeError(plain(str(error)))
        value = None if error is not None else future.result()
        self._cluster.said(partial(answer, value, error))


class RayCluster:
    """Nodes of a cluster. Whatever may wait for the cluster is done on a thread of its own."""

    def __init__(self, address: str, settings: Settings, actor: type[StationActor] = StationActor) -> None:
        """`actor`: what runs at the nodes. Raises EngineError without Ray, or without token authentication."""
        if os.environ.get(_MODE) != "token":
            raise EngineError(
                "token authentication is off: whoever reaches the cluster could run programs on its machines",
                operation="join the cluster",
                remedy="set RAY_AUTH_MODE=token for 'ray start' on every machine and for dropscribe; 'ray get-auth-token --generate' "
                "makes a token",
            )
        try:
            # A module constant would make the whole product need it.
            import ray  # noqa: PLC0415
        except ImportError as e:
            raise EngineError(
                "Ray is not installed",
                operation="join the cluster",
                remedy="pip install 'dropscribe[ray]', on every machine of the cluster",
            ) from e
        # It would warn that it takes no signals on the thread below, which is why it is joined there.
        logging.getLogger("ray").setLevel(logging.ERROR)
        self.ray: Any = ray
        self._address = address
        self._actor = actor
        self._settings = pickle.dumps(_for_nodes(settings))
        self._answers = Answers()
        self._todo: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        #: Nodes as of the newest answer; set by the thread.
        self.nodes: tuple[Node, ...] = ()
        #: How many times the nodes were counted; set by the thread. Ray may wait for long if its head is gone.
        self.counts = 0
        #: Why the cluster cannot be joined.
        self.failure: EngineError | None = None
        #: Ray takes these signals for itself when it is joined.
        self._handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Descriptor that is readable when there are answers."""
        return self._answers.fileno()

    def hear(self) -> None:
        """Give all answers that have arrived, on the calling thread."""
        self._answers.give()

    def link(self, node: Node) -> RayLink:
        """Link to a new station at a node."""
        return RayLink(self, node)

    def said(self, answer: Callable[[], None]) -> None:
        """Queue an answer for `hear`. May be called on any thread."""
        self._answers.add(answer)

    def do(self, call: Callable[[], None]) -> None:
        """Do something on the thread of the cluster."""
        self._todo.put(call)

    def create(self, node: Node) -> Any:
        """Create the actor of a station; does not wait for its process."""
        ray = self.ray
        methods = {name: ray.method(concurrency_group=name)(getattr(self._actor, name)) for name in ("feed", "report")}  # fmt: skip
        kind = ray.remote(
            num_cpus=0 if node.gpus else 1, num_gpus=int(node.gpus > 0), max_restarts=0, max_task_retries=0,
            # One thread each: with several, calls overtake each other.
            concurrency_groups={"feed": 1, "report": 1},
        )(type("StationActor", (self._actor,), {**methods, "__module__": __name__}))  # fmt: skip
        where = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
        return kind.options(scheduling_strategy=where).remote(self._settings, node.stations)

    def close(self) -> bool:
        """Leave the cluster, which ends all stations; False if it does not answer."""
        self._todo.put(None)
        self._thread.join(CLOSE_S)
        return not self._thread.is_alive()

    def _take_signals_back(self) -> None:
        """On the main thread: only there Python sets handlers."""
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def _run(self) -> None:
        # It would print what befalls nodes between the lines of the log, in colours. Stations that are lost are logged anyway.
        with contextlib.suppress(AttributeError):  # a version of Ray that has no such switch
            self.ray._private.worker._worker_logs_enabled = False  # noqa: SLF001
        try:
            _reach(self._address)
            # On this thread, because on the main thread Ray would take the signals of the daemon.
            self.ray.init(
                address=self._address,
                log_to_driver=False,
                configure_logging=False,
                logging_level=logging.ERROR,
            )
        except Exception as e:
            self.failure = not_joined(e, self._address)
            return
        self.said(self._take_signals_back)
        look_at = 0.0
        while True:
            try:
                call = self._todo.get(timeout=max(0.0, look_at - time.monotonic()))
                if call is None:
                    break
                call()
            except queue.Empty:
                look_at = time.monotonic() + NODES_S
                with contextlib.suppress(Exception):
                    self.nodes = tuple(sorted((_node(n) for n in self.ray.nodes() if n["Alive"]), key=lambda n: n.id))  # fmt: skip
                    self.counts += 1
        self.ray.shutdown()


def not_joined(error: Exception, address: str) -> EngineError:
    """Why the cluster cannot be joined, and what to do."""
    said = str(error)
    remedy = "start Ray on this machine, too ('ray start --head', or 'ray start --address=...'), with the same token"
    if said.startswith(_NOT_LET_IN):
        remedy = (
            "its token is probably another one: copy the head's ~/.ray/auth_token (or the file that RAY_AUTH_TOKEN_PATH "
            "names) to this machine and this user; else see whether Ray runs at the head, in the same version"
        )
    return EngineError(shortened(said), operation=f"join the cluster at {address}", remedy=remedy)


def _node(said: dict[str, Any]) -> Node:
    resources = said["Resources"]
    name = f"{said['NodeManagerHostname']}/{said['NodeID'][:6]}"
    return Node(
        said["NodeID"],
        name,
        said["NodeManagerHostname"],
        int(resources.get("GPU", 0)),
        resources.get("CPU", 0.0),
    )


def plain(said: str) -> str:
    """What is to be read of an error of Ray, in one line: it comes with colours and tracebacks."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", said).splitlines() if line.strip()]
    if not lines:
        return "it died"
    # An error at the node stands last; of a death the first line is a sentence, and details follow.
    told = lines[-1] if "Traceback" in said or "creation task" in lines[0] or len(lines) == 1 else lines[0]
    if "ModuleNotFoundError" in told:
        told += " there; install the same version of dropscribe, with [ray], for the Python that Ray was started with"
    return shortened(told.replace(_DIED, "its process or its machine has died"))


def shortened(text: str) -> str:
    """An error of Ray in one line, without an end that is too long."""
    return textwrap.shorten(text, MOST_REASON, placeholder=" …", break_on_hyphens=False)


def _for_nodes(settings: Settings) -> Settings:
    """What stations need to know of the settings: not where the database is, nor who is notified."""
    return Settings(
        engine=settings.engine, media=settings.media, profiles=settings.profiles, service=settings.service
    ).model_copy(update={"engine": settings.engine})


def _reach(address: str) -> None:
    """Raise OSError if nobody listens at the address."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()


def join(settings: Settings) -> ClusterExecutor:
    """The executor of the cluster that the settings name; `wait_ready` must follow. Raises EngineError as `RayCluster`."""
    assert settings.cluster.address is not None
    return ClusterExecutor(RayCluster(settings.cluster.address, settings))
