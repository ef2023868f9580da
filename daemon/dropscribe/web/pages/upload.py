"""Receive recordings into watched folders. The daemon takes them from there as any other file.

A recording is written to a hidden file in its folder, which the daemon ignores, and gets its name once it is whole. If the
connection is lost, what has arrived stays, and the sender goes on behind it. All is found by what the sender says of the file,
so a restart forgets nothing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from dropscribe.config import Folder
from dropscribe.escapes import readable
from dropscribe.files import close, open_beneath, open_folder, relative_to
from dropscribe.intake.names import Kind, Names
from dropscribe.transcript.placing.rename import place_new
from dropscribe.web.site import Site, site_of

#: Beginning of the names of unfinished files.
PREFIX = ".dropscribe-upload-"
#: Age at which an unfinished file is removed, seconds.
STALE_S = 3 * 86_400.0
#: Bytes that are written at a time.
PIECE = 1 << 20
#: Longest file name, bytes, with room for those of transcripts.
LONGEST = 230


@dataclass(frozen=True, slots=True)
class Sending:
    """A recording that is to be sent: `size` bytes; `key` tells versions of one name apart."""

    folder: Folder
    name: str
    size: int
    key: str

    @property
    def temporary(self) -> str:
        """Name of the unfinished file."""
        said = f"{self.name}\0{self.size}\0{self.key}".encode("utf-8", "surrogateescape")
        return PREFIX + hashlib.sha256(said).hexdigest()[:32]


def page(request: Request) -> Response:
    """The page from which recordings are sent."""
    site = site_of(request)
    demand_uploads(site)
    folders = [] if site.settings is None else site.settings.folders
    accepted = sorted({extension for folder in folders for extension in folder.recordings})
    return site.render(
        request,
        "upload.html",
        folders=[readable(f.path) for f in folders],
        most=site.rules.upload_bytes,
        accepted=accepted,
    )


async def offset(request: Request) -> Response:
    """How much of a recording has arrived, after everything that would refuse it: before a byte is sent."""
    site = site_of(request)
    sending = sending_of(site, request.query_params)
    return JSONResponse({"offset": await run_in_threadpool(arrived, site, sending), "size": sending.size})


async def receive(request: Request) -> Response:
    """Take a part of a recording from `offset` on; 201 when it is whole, 409 with the offset if it goes on elsewhere."""
    site = site_of(request)
    sending = sending_of(site, request.query_params)
    begin = _whole(request.query_params.get("offset", "0"))
    await run_in_threadpool(arrived, site, sending)
    directory, descriptor = await run_in_threadpool(open_unfinished, sending)
    try:
        at = os.fstat(descriptor).st_size
        if begin != at:
            return JSONResponse({"offset": at, "size": sending.size}, 409)
        held = bytearray()
        with contextlib.suppress(ClientDisconnect):  # what has arrived is kept
            async for piece in request.stream():
                held += piece
                if at + len(held) > sending.size:
                    raise _refused(413, "more arrived than was announced", "send the file again")
                if len(held) >= PIECE:
                    at = await run_in_threadpool(write, descriptor, held, at)
        at = await run_in_threadpool(write, descriptor, held, at)
        if at < sending.size:
            return JSONResponse({"offset": at, "size": sending.size})
        await run_in_threadpool(finish, sending, directory, descriptor)
    finally:
        close(descriptor)
        close(directory)
    return JSONResponse({"recording": readable(sending.folder.path / sending.name)}, 201)


def sending_of(site: Site, given: Mapping[str, str]) -> Sending:
    """What a request is about. Raises HTTPException for what would not be taken, with the reason."""
    demand_uploads(site)
    settings = site.settings
    named = given.get("folder", "")
    folder = (
        next((f for f in settings.folders if readable(f.path) == named), None)
        if settings is not None
        else None
    )
    if folder is None:
        raise _refused(404, "it is no watched folder", "choose one of the list")
    name, size = given.get("name", ""), _whole(given.get("size", ""))
    if not name or name.startswith(".") or "/" in name or not name.isprintable():
        raise _refused(400, "the file has a name that cannot be used", "rename it: no /, no leading dot")
    if len(name.encode("utf-8", "surrogateescape")) > LONGEST:
        raise _refused(400, "the name of the file is too long", "rename it")
    if Names(folder).kind(name) is not Kind.RECORDING:
        known = ", ".join(sorted(folder.recordings))
        raise _refused(415, "by its name it is no recording", f"recordings end in {known}")
    if size == 0:
        raise _refused(400, "the file is empty", "record or copy it again")
    if size > site.rules.upload_bytes:
        raise _refused(
            413,
            f"this page takes {site.rules.upload_bytes >> 20} MiB at most",
            "put the file into the folder directly",
        )
    return Sending(folder, name, size, given.get("key", "")[:200])


def arrived(site: Site, sending: Sending) -> int:
    """Bytes that have arrived. Raises HTTPException if the name is taken or the disk is full."""
    try:
        directory = open_folder(sending.folder.path)
    except OSError as e:
        raise _of_system(e) from e
    try:
        if sending.folder.path not in site.swept:
            site.swept.add(sending.folder.path)
            _sweep(directory)
        if _size(directory, sending.name) is not None:
            raise _refused(
                409, "there is a file of this name already", "rename it, or leave it if it is the same"
            )
        there = _size(directory, sending.temporary) or 0
        disk = os.fstatvfs(directory)
        floor = 0 if site.settings is None else site.settings.service.free_floor_mb << 20
        if disk.f_bavail * disk.f_frsize - (sending.size - there) < floor:
            raise _refused(507, "there is too little room on the disk", "ask who looks after this machine")
    except OSError as e:
        raise _of_system(e) from e
    finally:
        close(directory)
    return min(there, sending.size)


def _size(directory: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_size
    except FileNotFoundError:
        return None


def open_unfinished(sending: Sending) -> tuple[int, int]:
    """Descriptors of the folder and the unfinished file, which nobody else writes. Raises HTTPException."""
    try:
        directory = open_folder(sending.folder.path)
    except OSError as e:
        raise _of_system(e) from e
    try:
        name = relative_to(sending.folder.path / sending.temporary, sending.folder.path)
        descriptor = open_beneath(directory, name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    except OSError as e:
        close(directory)
        raise _of_system(e) from e
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        close(descriptor)
        close(directory)
        raise _refused(423, "this file is being sent already", "wait for it") from e
    except OSError:
        return directory, descriptor  # some network shares support no locks
    return directory, descriptor


def write(descriptor: int, held: bytearray, at: int) -> int:
    """Write what is held, which is empty then; returns the new end. Raises HTTPException."""
    left = memoryview(bytes(held))
    held.clear()
    try:
        while left:
            count = os.pwrite(descriptor, left, at)
            at, left = at + count, left[count:]
    except OSError as e:
        raise _of_system(e) from e
    return at


def finish(sending: Sending, directory: int, descriptor: int) -> None:
    """Give a whole file its name. Raises HTTPException."""
    try:
        os.fsync(descriptor)
        place_new(directory, sending.temporary, sending.name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(sending.temporary, dir_fd=directory)
        if sending.folder.done_marker:
            os.close(
                os.open(
                    f"{sending.name}.done", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666, dir_fd=directory
                )
            )
        os.fsync(directory)
    except FileExistsError as e:
        with contextlib.suppress(OSError):
            os.unlink(sending.temporary, dir_fd=directory)
        raise _refused(
            409, "there is a file of this name already", "rename it, or leave it if it is the same"
        ) from e
    except OSError as e:
        raise _of_system(e) from e


def _sweep(directory: int) -> None:
    """Remove unfinished files that nobody goes on with."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if (
                entry.name.startswith(PREFIX)
                and entry.stat(follow_symlinks=False).st_mtime < time.time() - STALE_S
            ):
                os.unlink(entry.name, dir_fd=directory)


def demand_uploads(site: Site) -> None:
    if not site.rules.upload_bytes:
        raise _refused(403, "recordings cannot be sent here", "set [web] upload = true")


def _whole(text: Any) -> int:
    if not (isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 16):
        raise _refused(400, "a size or offset cannot be read", "write a whole number of bytes")
    return int(text)


def _of_system(error: OSError) -> HTTPException:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _refused(507, "there is no room on the disk", "ask who looks after this machine")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return _refused(503, "this page may not write into the folder", "let its user write there")
    return _refused(503, f"the folder cannot be used: {error.strerror}", "ask who looks after this machine")


def _refused(status: int, reason: str, remedy: str) -> HTTPException:
    return HTTPException(status, f"{reason} ({remedy})")
