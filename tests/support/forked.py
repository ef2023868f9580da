"""Start a Python program as a copy of a process that has imported dropscribe already.

The imports take more than a second of processor time, hundreds of times in the tests. What runs is the whole program from
its first line in a process of its own, with its own arguments, environment, directory and standard streams. Tests of
imports, of the interpreter's options and of variables that are read when the interpreter starts use a new one.

The processes that a daemon or a test starts itself, by multiprocessing, are copies, too: see `forked_children`. With
DROPSCRIBE_NEW_INTERPRETERS=1, as in `make soak`, and on machines with a GPU nothing is a copy.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any, NoReturn

from tests.support import forked_children

#: Imported before the copies are made. None of these starts a thread.
_IMPORTS = (
    "dropscribe.cli.app",
    "dropscribe.cli.arguments.settings",
    "dropscribe.engine.registry",
    "dropscribe.ledger.backend",
    "dropscribe.ledger.sql.ledger",
    "dropscribe.media.decode",
    "dropscribe.media.sources.source_av",
    "dropscribe.media.sources.source_soundfile",
    "dropscribe.service.daemon",
    "dropscribe.views.jobs",
)
#: Imported besides where models are loaded, after torch.
_IMPORTS_OF_MODELS = (
    "dropscribe.engine.models.loading",
    "dropscribe.engine.models.paraformer.recogniser",
    "dropscribe.engine.models.punctuation.stage",
    "dropscribe.engine.models.sense_voice.recogniser",
    "dropscribe.engine.vad.model",
)
#: Commands that start processes, and modules that run them and replace nothing that others have imported by name.
_STARTING = frozenset({"run", "transcribe"})
_STARTED = frozenset({"dropscribe", "tests.support.faulty_engine"})
#: By name of a process: it loads models.
_ENGINE = "dropscribe-engine"
#: Longest message: arguments, environment, directory.
_MESSAGE = 1 << 20
#: Variables that an interpreter reads when it starts or while it imports.
_OF_START = ("PYTHON", "LC_", "LANG", "LD_", "OPENBLAS")


class Forked:
    """A process made by `popen`; what is used of `subprocess.Popen`."""

    def __init__(self, pid: int, ends: socket.socket, stdout: IO[str] | None, stderr: IO[str] | None) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout = stdout
        self.stderr = stderr
        self._ends = ends
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; returns the exit status. Raises subprocess.TimeoutExpired."""
        with self._lock:
            if self.returncode is None:
                # A timeout of 0 would make it a socket that never waits, with other errors.
                self._ends.settimeout(None if timeout is None else max(timeout, 1e-6))
                try:
                    told = self._ends.recv(64)
                except TimeoutError:
                    raise subprocess.TimeoutExpired("dropscribe", timeout or 0.0) from None
                assert told, "the process that started it has ended"
                self.returncode = int(told)
                self._ends.close()
            return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            # It may have ended since, and the process that made it waits for its end at once.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Copied:
    """A process that makes copies of itself, as messages on a socket say."""

    def __init__(self, ours: socket.socket) -> None:
        """`ours`: the other end of its socket."""
        self._ours = ours
        self._lock = threading.Lock()
        self._inherited = forked_children.inherited()

    def start(self, message: dict[str, Any], streams: Sequence[int]) -> tuple[int, socket.socket]:
        """Process id of a copy, 0 if there is none, and the socket on which its exit status arrives."""
        sent = json.dumps(message).encode("ascii")
        assert len(sent) < _MESSAGE
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, self._lock:
            socket.send_fds(self._ours, [sent], [theirs.fileno(), *streams])
        return int(ours.recv(64) or 0), ours

    def start_child(self, message: dict[str, Any], descriptors: Sequence[int]) -> int:
        """Process id of a copy that is a child of this process; 0 if there is none. See `forked_children`."""
        if (
            _of_start(message["environment"]) != _of_start(_ENVIRONMENT)
            or forked_children.inherited() != self._inherited
        ):
            return 0
        try:
            pid, ends = self.start({"child": message}, descriptors)
        except OSError:  # it was killed with others
            return 0
        ends.close()
        return pid


class _Parent(_Copied):
    """The process that has imported the program and makes copies of itself."""

    def __init__(self, *, models: bool) -> None:
        """`models`: it has imported torch, too."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(ours)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forked", str(theirs.fileno()), *(["models"] if models else [])],
                # One thread: what libraries start when they are imported does not exist in copies.
                pass_fds=[theirs.fileno()], env={**_ENVIRONMENT, "OMP_NUM_THREADS": "1"},
                cwd=Path(__file__).resolve().parents[2],
            )  # fmt: skip

        atexit.register(self.end)

    def end(self) -> None:
        self._ours.close()
        self._process.wait()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None


#: By process, and whether it has imported what models need.
_parents: dict[tuple[int, bool], _Parent] = {}
#: As it was before any test changed it.
_ENVIRONMENT = dict(os.environ)
#: Also where a GPU is: what its libraries do when they are imported may not be copied.
_NEW_INTERPRETERS = os.environ.get("DROPSCRIBE_NEW_INTERPRETERS") == "1" or Path("/dev/nvidiactl").exists()


def _parent(*, models: bool) -> _Parent:
    key = os.getpid(), models
    parent = _parents.get(key)
    if parent is None or not parent.alive:
        parent = _parents[key] = _Parent(models=models)
    return parent


def copy_children() -> None:
    """From now on the processes that this one starts by multiprocessing are copies."""
    if not _NEW_INTERPRETERS:
        forked_children.install(lambda name: _parent(models=name == _ENGINE).start_child)


@dataclass(frozen=True)
class _Program:
    """What runs in the copy: a module by its name, a file by its path, or code."""

    way: str
    target: str
    arguments: tuple[str, ...]
    environment: dict[str, str]


def _program(command: Sequence[str], environment: Mapping[str, str]) -> _Program | None:
    """The program of `[env NAME=VALUE …] python …` where a copy runs as a new interpreter would; else None."""
    whole = dict(environment)
    rest = list(command)
    if rest[0] == "env":
        rest.pop(0)
        while "=" in rest[0]:
            name, _, value = rest.pop(0).partition("=")
            whole[name] = value
    if _NEW_INTERPRETERS or rest.pop(0) != sys.executable or _of_start(whole) != _of_start(_ENVIRONMENT):
        return None
    if rest[0] in ("-m", "-c"):
        return _Program(rest[0], rest[1], tuple(rest[2:]), whole)
    return None if rest[0].startswith("-") else _Program("", rest[0], tuple(rest[1:]), whole)


def _of_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_OF_START)}


def popen(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    cwd: str | Path | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    models: bool = False,
) -> Forked | subprocess.Popen[str]:
    """Start a command: as a copy where that is the same, else as any process.

    `stdin`, `stdout`, `stderr`: descriptors, or DEVNULL; the latter two may be PIPE. `models`: its engine loads models.
    """
    words = [os.fspath(one) for one in command]
    program = _program(words, environment)
    if program is None:
        return subprocess.Popen(
            words, stdin=stdin, stdout=stdout, stderr=stderr, encoding="utf-8", env=environment, cwd=cwd
        )
    message = {"program": asdict(program), "directory": os.fspath(cwd or Path.cwd())}
    with contextlib.ExitStack() as opened:
        streams = []
        readers: list[IO[str] | None] = []
        for one in (stdin, stdout, stderr):
            readers.append(None)
            if one == subprocess.PIPE:
                read, one = os.pipe()  # noqa: PLW2901
                readers[-1] = os.fdopen(read, encoding="utf-8")
                opened.callback(os.close, one)
            elif one == subprocess.DEVNULL:
                one = os.open(os.devnull, os.O_RDWR)  # noqa: PLW2901
                opened.callback(os.close, one)
            streams.append(one)
        pid, ends = _parent(models=models).start(message, streams)
    return Forked(pid, ends, readers[1], readers[2])


def run(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    timeout_s: float = 300.0,
) -> subprocess.CompletedProcess[str]:
    """Run a command as `popen` starts it, to its end, and read what it prints."""
    process = popen(
        command, environment=os.environ if environment is None else environment, cwd=cwd,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout as out, process.stderr as errors, ThreadPoolExecutor(1) as other:
        end = threading.Timer(timeout_s, process.kill)
        end.start()
        try:
            complaints = other.submit(errors.read)
            printed = out.read()
            status = process.wait()
            return subprocess.CompletedProcess(command, status, printed, complaints.result())
        finally:
            end.cancel()


def _serve(requests: socket.socket) -> None:
    """Make a copy for each request, until the other end is closed."""
    running: dict[int, socket.socket] = {}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    gc.freeze()
    while True:
        ready, _, _ = select.select([requests.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _tell_ended(running)
        if requests.fileno() in ready:
            message, descriptors = _receive(requests)
            if message is None:
                return
            if "child" in message:
                _make_child(message["child"], descriptors)
                continue
            ends = socket.socket(fileno=descriptors[0])
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for other in (requests, ends, *running.values()):
                    other.close()
                os.close(woken)
                os.close(wake)
                _become(_Program(**message["program"]), message["directory"], descriptors[1:])
            for one in descriptors[1:]:
                os.close(one)
            running[pid] = ends
            with contextlib.suppress(OSError):
                ends.send(b"%d" % pid)


def _receive(requests: socket.socket) -> tuple[dict[str, Any] | None, Sequence[int]]:
    """The next message with its descriptors; None after the last."""
    message, descriptors, _, _ = socket.recv_fds(requests, _MESSAGE, 64)
    return json.loads(message) if message else None, descriptors


def _make_child(message: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Make a copy that is a child of this process's parent, and tell its process id."""
    with socket.socket(fileno=descriptors[0]) as asking:
        pid = forked_children.fork_sibling()
        if pid == 0:
            _become_child(message, descriptors[1:])
        for one in descriptors[1:]:
            os.close(one)
        with contextlib.suppress(OSError):
            asking.send(b"%d" % max(pid, 0))


def _serve_program(requests: socket.socket) -> NoReturn:
    """Make copies that are children of the program that this process is a copy for, until it ends."""
    # Ends with the program alone, whose standard streams are not kept open here.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    try:
        while True:
            message, descriptors = _receive(requests)
            if message is None:
                break
            _make_child(message["child"], descriptors)
    finally:
        os._exit(0)


def _tell_ended(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as ends, contextlib.suppress(OSError):
            ends.send(b"%d" % os.waitstatus_to_exitcode(status))


def _run_as_main(program: _Program) -> None:
    if program.way == "-m":
        runpy.run_module(program.target, run_name="__main__", alter_sys=True)
    elif program.way == "-c":
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(program.target, "<string>", "exec"), vars(main))
    else:
        # As the interpreter does: a file's folder is looked in first.
        sys.path.insert(0, str(Path(program.target).resolve().parent))
        runpy.run_path(program.target, run_name="__main__")


def _become(program: _Program, directory: str, streams: Sequence[int]) -> NoReturn:
    """Run the program in this copy, as a new interpreter would."""
    status = 1
    try:
        for number, one in enumerate(streams):
            os.dup2(one, number)
            os.close(one)
        os.environ.clear()
        os.environ.update(program.environment)
        os.chdir(directory)
        if program.target in _STARTED and _STARTING.intersection(program.arguments):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            if os.fork() == 0:
                ours.close()
                _serve_program(theirs)
            theirs.close()
            helper = _Copied(ours)
            forked_children.install(lambda _: helper.start_child)
        _open_streams()
        sys.argv = [program.target if program.way != "-c" else "-c", *program.arguments]
        status = _exit_status(lambda: _run_as_main(program))
    finally:
        _end(status)


def _become_child(message: dict[str, Any], descriptors: Sequence[int]) -> NoReturn:
    """Run a child of multiprocessing in this copy, as a new interpreter would."""
    status = 1
    try:
        forked_children.become(message, descriptors)
        _open_streams()
        sys.argv = ["-c", "--multiprocessing-fork"]
        status = _exit_status(lambda: forked_children.run(message))
    finally:
        _end(status)


def _open_streams() -> None:
    """As in a new interpreter: tied to what the descriptors are now."""
    sys.stdin, sys.stdout, sys.stderr = open(0, closefd=False), _stream(1), _stream(2)  # noqa: SIM115


def _end(status: int) -> NoReturn:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(status)


def _stream(number: int) -> IO[str]:
    errors = "backslashreplace" if number == 2 else "strict"
    buffering = 1 if number == 2 or os.isatty(number) else -1
    return open(number, "w", buffering=buffering, errors=errors, closefd=False)


def _exit_status(run: Callable[[], object]) -> int:
    try:
        run()
        status = 0
    except SystemExit as e:
        status = e.code if isinstance(e.code, int) else int(e.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    for one in threading.enumerate():
        if one is not threading.main_thread() and not one.daemon:
            one.join()
    atexit._run_exitfuncs()
    return status


def _import(*, models: bool) -> None:
    for name in _IMPORTS:
        importlib.import_module(name)
    if models:
        importlib.import_module("dropscribe.engine.layers.torch_import").light()
        for name in _IMPORTS_OF_MODELS:
            importlib.import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1, "an import has started a thread"  # noqa: PTH208


if __name__ == "__main__":
    _import(models="models" in sys.argv[2:])
    _serve(socket.socket(fileno=int(sys.argv[1])))
