"""Find and download models of FunASR's hub, ModelScope, with the hub's own client.

The client's storage layout is not assumed: local copies are found through the client (`local_files_only`). Its log
lines, prints and progress bars are suppressed; messages for people go to `note` or into an EngineError of one line.

Importing this module imports neither funasr nor the client; finding a model imports the client and torch (seconds).
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import io
import json
import logging
import os
import re
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dropscribe.engine.models import funasr_parts
from dropscribe.engine.models.hub import receipt
from dropscribe.engine.models.hub.known import KNOWN
from dropscribe.engine.models.hub.receipt import FileFacts
from dropscribe.errors import EngineError

#: Limits of the client, set through its own environment variables unless they are set already. By default it waits ten
#: minutes for a hub that does not respond, and also for another process that downloads the same file.
CLIENT_LIMITS: Mapping[str, str] = MappingProxyType(
    {
        "MODELSCOPE_DOWNLOAD_TIMEOUT": "20",  # seconds without data
        "MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS": "3",  # requests for the list of files, 15 s each
        "MODELSCOPE_DOWNLOAD_FILE_LOCK_TIMEOUT_SECONDS": "3600",
    }
)
#: Interval of progress notes, seconds.
PROGRESS_S = 5.0
#: The only form of a name on the hub: owner and model.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.+-]*/[A-Za-z0-9][\w.+-]*", re.ASCII)
#: The client's default.
_DEFAULT_HOST = "www.modelscope.cn"
#: Longest part of an unknown error message that is passed on, characters.
_MESSAGE_CHARS = 200

_ELSEWHERE = "set MODELSCOPE_ENDPOINT to a mirror, or copy the model's directory from another machine and give its path as the model"
_NO_NETWORK = f"connect this machine, {_ELSEWHERE}"
_LATER = f"try again later (what has arrived is kept), {_ELSEWHERE}"
_OTHER_HOME = "set HOME to a directory that this user may write to (MODELSCOPE_CACHE alone is not enough)"
_OTHER_CACHE = "let this user write there, or set MODELSCOPE_CACHE to a directory it may write to"


@dataclass(frozen=True, slots=True)
class Copy:
    """A local copy of a model of the hub. `whole`: all its files are there."""

    directory: Path
    whole: bool


def locate(name: str, note: Callable[[str], None], shown: Callable[[int, int], None] | None = None) -> Path:
    """Directory of a model of the hub, by its FunASR name or hub id; it is downloaded unless a complete copy exists.

    `note` is called with one line when a copy is found, before a download and every few seconds during it, from any
    thread. `shown` is called instead with the bytes that have arrived and their total. Raises EngineError.
    """
    hub_id = hub_id_of(name)
    with _client(name, hub_id) as client:
        stored = _stored(client, hub_id)
        if stored is not None and receipt.is_whole(stored):
            note(f"{_both(name, hub_id)} is in {stored}")
            return stored
        note(f"fetching {_both(name, hub_id)} from {host()} into {cache_directory()}; this happens once")
        progress = _Progress(name, note, shown=shown)
        directory = Path(client(hub_id, progress_callbacks=[progress.of_file]))
        if not any(directory.iterdir()):
            raise _error(name, hub_id, "it lists no files of this model", _LATER)
        receipt.write(directory)
        note(f"fetched {_both(name, hub_id)}: {progress.done / 1e6:.0f} MB, in {directory}")
        return directory


def find(name: str) -> Path | None:
    """Complete local copy of a model of the hub, or None. Does not use the network. Raises EngineError."""
    stored = copy_of(name)
    return stored.directory if stored is not None and stored.whole else None


def copy_of(name: str) -> Copy | None:
    """Local copy of a model of the hub, complete or not, or None. Does not use the network. Raises EngineError."""
    hub_id = hub_id_of(name)
    with _client(name, hub_id, offline=True) as client:
        stored = _stored(client, hub_id)
        return None if stored is None else Copy(stored, receipt.is_whole(stored))


def files_of(name: str) -> Mapping[str, FileFacts]:
    """Files of a model as the hub lists them. Uses the network. Raises EngineError."""
    hub_id = hub_id_of(name)
    with _client(name, hub_id):
        from modelscope_hub import HubApi  # noqa: PLC0415 - comes with the client

        listed = HubApi().list_repo_files(hub_id, "model")
        return {f.path: FileFacts(f.size, f.sha256 or None) for f in listed if f.type == "blob"}


def repair(name: str) -> dict[str, str]:
    """Remove the damaged files of a local copy, so that `locate` fetches them again; file → what was wrong.

    Only files whose content was recorded at their download are read. Raises EngineError.
    """
    hub_id = hub_id_of(name)
    with _client(name, hub_id, offline=True) as client:
        stored = _stored(client, hub_id)
        recorded = None if stored is None else receipt.read(stored)
        if stored is None or recorded is None:
            return {}
        damaged = receipt.damage(stored, recorded)
        for file in damaged:
            (stored / file).unlink(missing_ok=True)
        return damaged


def hub_id_of(name: str) -> str:
    """Hub id (`owner/model`) of a FunASR name or of a hub id. Raises EngineError for anything else."""
    if _HUB_ID.fullmatch(name) and ".." not in name:
        return name
    known = next((m.hub_id for m in KNOWN if m.name == name and m.hub_id), None)
    if known is not None:
        return known
    with _quiet():
        names = funasr_parts.hub_names()
    if name in names:
        return str(names[name])
    near = difflib.get_close_matches(name, names, n=1)
    raise EngineError(
        f"'{name}' is neither a bundled model, nor a directory, nor a model FunASR knows",
        operation="find model",
        remedy=(f"did you mean '{near[0]}'? " if near else "")
        + "Give the directory of a model, its hub id (owner/model), or a name like paraformer-zh",
    )


def host() -> str:
    """The hub's host (and port), for messages."""
    endpoint = os.environ.get("MODELSCOPE_ENDPOINT") or os.environ.get("MODELSCOPE_DOMAIN") or _DEFAULT_HOST
    # Without scheme, path and credentials. An invalid address is reported when it is used.
    return endpoint.split("://")[-1].split("/")[0].rpartition("@")[2] or endpoint


def _both(name: str, hub_id: str) -> str:
    return name if name == hub_id else f"{name} ({hub_id})"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress log lines, prints and warnings of libraries."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _client(name: str, hub_id: str, *, offline: bool = False) -> Iterator[Callable[..., str]]:
    """The client's `snapshot_download`, silenced and with limits. Errors inside are raised as EngineError.

    `offline`: only the cache is read.
    """
    for variable, value in CLIENT_LIMITS.items():
        os.environ.setdefault(variable, value)
    try:
        with _quiet():
            from modelscope_hub.compat.snapshot_download import (  # noqa: PLC0415 - takes 0.5 s to import
                snapshot_download,
            )
            from tqdm import tqdm  # noqa: PLC0415 - comes with the client

            # By default tqdm creates a multiprocessing lock, and Python warns of a leaked semaphore at exit.
            tqdm.set_lock(threading.RLock())
            yield snapshot_download
    except EngineError:
        raise
    except Exception as e:
        reason, remedy = _explain(e)
        if offline:
            raise EngineError(
                f"the cache of models cannot be read: {reason}", operation=f"find model {name}", remedy=remedy
            ) from e
        raise _error(name, hub_id, reason, remedy) from e


def _error(name: str, hub_id: str, reason: str, remedy: str) -> EngineError:
    return EngineError(
        f"{_both(name, hub_id)} is not on this machine and cannot be fetched from {host()}: {reason}",
        operation="fetch model",
        remedy=f"{remedy}; then run 'dropscribe models fetch {name}'",
    )


def _stored(client: Callable[..., str], hub_id: str) -> Path | None:
    """Directory in which the client has files of this model, possibly incomplete."""
    from modelscope_hub.errors import CacheNotFound  # noqa: PLC0415 - comes with the client

    try:
        return Path(client(hub_id, local_files_only=True))
    except CacheNotFound:
        return None


def cache_directory() -> Path:
    """Directory in which the client stores models."""
    from modelscope_hub import get_default_config  # noqa: PLC0415 - comes with the client

    return Path(get_default_config().cache_dir)


class _Progress:
    """Progress of the download of all files of a model. Called from the client's threads."""

    def __init__(
        self,
        name: str,
        note: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        shown: Callable[[int, int], None] | None = None,
    ) -> None:
        self.done = 0
        self._shown = shown
        self._name = name
        self._note = note
        self._clock = clock
        self._total = 0
        self._due = clock() + PROGRESS_S
        self._lock = threading.Lock()

    def of_file(self, _file: str, size: int) -> _FileProgress:
        """Progress callback of one file; `size` in bytes."""
        with self._lock:
            self._total += size
        return _FileProgress(self)

    def add(self, size: int) -> None:
        """Count bytes; negative when a file is restarted."""
        with self._lock:
            self.done += size
            if self._shown is not None:
                self._shown(self.done, max(self.done, self._total))
                return
            now = self._clock()
            if now < self._due:
                return
            self._due = now + PROGRESS_S
            done, total = self.done, max(self.done, self._total)
        part = f" of {total / 1e6:.0f} MB ({100 * done // total} %)" if total else " MB"
        self._note(f"fetching {self._name}: {done / 1e6:.0f}{part}")


class _FileProgress:
    """Progress of one file, as the client's `ProgressCallback`."""

    def __init__(self, progress: _Progress) -> None:
        self._progress = progress

    def update(self, size: int) -> None:
        """Count `size` more bytes."""
        self._progress.add(size)

    def end(self) -> None:
        """Called after the last attempt at the file."""


def _explain(error: Exception) -> tuple[str, str]:
    """Reason and remedy of an error of the client."""
    if isinstance(error, ImportError):
        return (
            f"the hub's client cannot be imported: {_in_short(error)}",
            "pip install --force-reinstall modelscope-hub",
        )
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return (
            "this user has no home directory, which the hub's client needs",
            "set HOME to a directory of this user",
        )
    from modelscope_hub import errors  # noqa: PLC0415 - comes with the client

    chain = list(_chain(error))
    failed = next(
        (f"{file}: " for e in chain for file in getattr(e, "failed_files", {})),
        "",
    )
    for found in (_of_disk, _of_connection):
        explained = found(chain)
        if explained is not None:
            return explained
    statuses = [s for e in chain if isinstance(s := getattr(e, "status_code", None), int)]
    if statuses:
        return _of_status(statuses[0], failed)
    if any(isinstance(e, errors.FileSizeMismatchError) for e in chain):
        return f"{failed}its size is not the one the hub lists", _LATER
    if any(isinstance(e, errors.FileIntegrityError) for e in chain):
        return f"{failed}it arrives damaged (its checksum is not the one the hub lists)", _LATER
    if any(isinstance(e, TimeoutError) or "Timeout" in type(e).__name__ for e in chain):
        return f"{failed}the hub does not answer in time", _NO_NETWORK
    if any(isinstance(e, json.JSONDecodeError) for e in chain):
        return "the response is not from a model hub (a proxy or a login page?)", _NO_NETWORK
    if any(isinstance(e, errors.NetworkError) for e in chain):
        return f"{failed}the connection breaks off", _LATER
    return f"{failed}{_in_short(chain[-1])}", _LATER


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and its distinct causes; of several failed files only the errors of the first."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        e = waiting.pop(0)
        if not isinstance(e, BaseException) or id(e) in seen:
            continue
        seen.add(id(e))
        yield e
        waiting += [*list(getattr(e, "failed_files", {}).values())[:1], e.__cause__, e.__context__]
        waiting += [getattr(e, "reason", None), *e.args]


def _of_disk(chain: list[BaseException]) -> tuple[str, str] | None:
    for e in chain:
        if not isinstance(e, OSError) or isinstance(e, ConnectionError | TimeoutError | socket.gaierror):
            continue
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"no space is left in {cache_directory()}",
                "make room, or set MODELSCOPE_CACHE to another disk",
            )
        if e.filename is not None or e.errno in (errno.EROFS, errno.EIO, errno.EFBIG):
            place = cache_directory() if e.filename is None else os.fsdecode(e.filename)
            # The client also keeps a file of its own in the home directory.
            return f"{place}: {e.strerror}", _OTHER_HOME if "/.modelscope/" in str(place) else _OTHER_CACHE
    return None


def _of_connection(chain: list[BaseException]) -> tuple[str, str] | None:
    kinds = {type(e).__name__ for e in chain}
    if "ProxyError" in kinds:
        return (
            "the proxy of the environment cannot be used",
            "correct HTTPS_PROXY, or add the host to NO_PROXY",
        )
    if "SSLError" in kinds or "SSLCertVerificationError" in kinds:
        return (
            "its certificate is not accepted",
            "check the clock, or set REQUESTS_CA_BUNDLE to the authority's file",
        )
    if kinds & {"InvalidURL", "InvalidSchema", "LocationParseError", "MissingSchema"}:
        return "MODELSCOPE_ENDPOINT is not the address of a hub", "give it as https://host, or unset it"
    for e in chain:
        if isinstance(e, socket.gaierror):
            return "the name of the host cannot be resolved: no network, or no such host", _NO_NETWORK
        if isinstance(e, ConnectionRefusedError):
            return "connection refused", _NO_NETWORK
        if isinstance(e, OSError) and e.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
            return f"{os.strerror(e.errno)}", _NO_NETWORK
    return None


def _of_status(status: int, failed: str) -> tuple[str, str]:
    if status == 404 and not failed:
        return (
            "it has no model of this name, and there is no such directory here",
            f"check the name, {_ELSEWHERE}",
        )
    if status in (401, 403):
        return (
            f"{failed}access is refused (HTTP {status})",
            "set MODELSCOPE_API_TOKEN to a token that may read it",
        )
    return f"{failed}the hub answers with HTTP {status}", _LATER


def _in_short(error: BaseException) -> str:
    text = " ".join(str(error).split())[:_MESSAGE_CHARS]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
