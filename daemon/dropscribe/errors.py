"""Errors shared by all rooms.

Every error for a person has the attempted operation (`operation`), the file (`path`), the cause (`reason`) and what to
do (`remedy`). Whether a retry can help is a property of the type, so that the retry policy never parses messages. An
error that concerns no file has no path; one without operation or remedy has those of its type.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any, ClassVar, Self


class DropscribeError(Exception):
    """Base of every error dropscribe raises on purpose."""

    #: Stable machine-readable name, stored in the ledger (`jobs.reason_code`) and printed by `--json`.
    code: ClassVar[str] = "error"
    #: True when the same work may succeed later without a person doing anything.
    retryable: ClassVar[bool] = False
    #: Exit status of a command that ends with this error (see docs/command-line.md, Exit codes).
    exit_code: ClassVar[int] = 1
    #: Defaults of `operation` and `remedy` for errors of this type.
    usual_operation: ClassVar[str] = ""
    usual_remedy: ClassVar[str] = ""

    def __init__(
        self, reason: str, *, operation: str = "", path: Path | None = None, remedy: str = ""
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.operation = operation or self.usual_operation
        self.path = path
        self.remedy = remedy or self.usual_remedy

    @classmethod
    def from_system(cls, error: OSError, *, operation: str, path: Path | None = None, remedy: str) -> Self:
        """Error whose reason is that of a failed system call; the caller must chain it: `raise … from error`."""
        return cls(error.strerror or str(error), operation=operation, path=path, remedy=remedy)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it whole: the default of exceptions leaves out what was given by name."""
        return _unpickled, (type(self), self.reason, self.operation, self.path, self.remedy)

    def with_reason(self, reason: str) -> Self:
        """The same error with another reason."""
        return type(self)(reason, operation=self.operation, path=self.path, remedy=self.remedy)

    def __str__(self) -> str:
        where = f" {self.path}" if self.path is not None else ""
        what = f"{self.operation}{where}: " if self.operation or where else ""
        then = f" ({self.remedy})" if self.remedy else ""
        return f"{what}{self.reason}{then}"


def _unpickled(
    kind: type[DropscribeError], reason: str, operation: str, path: Path | None, remedy: str
) -> DropscribeError:
    return kind(reason, operation=operation, path=path, remedy=remedy)


class ConfigError(DropscribeError):
    """A setting is missing, unknown or out of range; the error names file, field and remedy."""

    code = "config"
    exit_code = 2


class LedgerError(DropscribeError):
    """The database cannot be used in its current state (newer version, corrupt, not writable)."""

    code = "ledger"
    exit_code = 3


class UnusableLedgerError(LedgerError):
    """The database is damaged, or its file was removed or replaced while it was open.

    The daemon stops; no job fails, since no recording is the cause.
    """


class AlreadyRunningError(DropscribeError):
    """Another daemon has locked this database."""

    code = "already_running"
    exit_code = 4


class EngineError(DropscribeError):
    """The engine cannot be started: model directory, device or versions are wrong."""

    code = "engine"
    exit_code = 5


class EngineDiedError(EngineError):
    """The engine process died with work under way, which returns to the queue."""

    code = "engine_died"
    retryable = True
    usual_remedy = (
        "it is replaced, and what it was working on is tried again; 'dropscribe doctor' checks the device"
    )


class DeviceFailedError(EngineDiedError):
    """The engine process went away because its device failed, or stopped answering: whatever it worked on then is not
    the cause until that is shown (`daemon/dropscribe/service/jobs/retry_policy.py`).
    """

    code = "device_failed"


class OutOfDeviceMemoryError(EngineError):
    """A batch did not fit the device; the engine halves it and continues. Never counts as a fault of a recording."""

    code = "device_memory"
    retryable = True
    usual_remedy = (
        "smaller batches are tried; if that does not help, lower [engine] batch_s or free the device"
    )


class ModelUnusableError(EngineError):
    """A model that a recording needs cannot be loaded. Jobs of its folder are held until it can; others are not affected."""

    code = "model_unusable"
    retryable = True


class ModelsBusyError(EngineError):
    """The models of a recording are being loaded, or have no room beside those in use; it is tried again."""

    code = "models_busy"
    retryable = True
    usual_operation = "load model"
    usual_remedy = (
        "nothing to do: it is tried again; a higher engine.model_memory_mb holds more models at a time"
    )


class StaleLeaseError(LedgerError):
    """The job was taken over by a newer generation (or cancelled); the late result is refused."""

    code = "stale_lease"
    usual_remedy = "nothing to do: the job belongs to a newer attempt"


class RecordingError(DropscribeError):
    """The recording cannot be transcribed, and a retry cannot help."""

    code = "recording"
    usual_operation = "transcribe"
    usual_remedy = "listen to the recording, and copy or export it again"


class UnreadableMediaError(RecordingError):
    """No decoder recognises the file, or it is too damaged to yield any audio."""

    code = "unreadable_media"


class NoAudioError(RecordingError):
    """The container is readable but has no audio."""

    code = "no_audio"


class MediaLimitError(RecordingError):
    """Decoding exceeded a limit (duration, memory, time): a malicious file, or a limit set too low."""

    code = "media_limit"


class DecoderDiedError(DropscribeError):
    """The decoder process crashed or was killed during this recording."""

    code = "decoder_died"
    retryable = True
    usual_operation = "decode"
    usual_remedy = "it is tried again; if it stays so, convert the recording to wav and drop that"


class DecoderKilledError(DecoderDiedError):
    """The decoder process was killed from outside (out of memory, an administrator); rarely the recording's fault."""

    code = "decoder_killed"


class RecordingChangedError(DropscribeError):
    """The file changed while it was being read; the new content becomes a job of its own."""

    code = "recording_changed"
    retryable = True
    usual_operation = "read"
    usual_remedy = "nothing to do: the new content becomes a job of its own once it is complete"


class RecordingGoneError(DropscribeError):
    """The file was removed before it was transcribed; the job is cancelled."""

    code = "recording_gone"
    usual_operation = "read"
    usual_remedy = "put the recording back if it is to be transcribed"


class StorageError(DropscribeError):
    """Reading or writing failed for a reason outside the recording (disk full, I/O, permission)."""

    code = "storage"
    retryable = True


class DatabaseLockedError(StorageError):
    """A transaction of another writer kept the database locked for longer than the call may wait."""


class UnansweredError(StorageError):
    """A file system does not respond: a disk that hangs, a network share whose server is away."""

    code = "unanswered"


class UnwritableError(StorageError):
    """The daemon may not write into the folder of the transcripts; `path` is that folder."""

    code = "unwritable"


class OutputNameError(DropscribeError):
    """No transcript can have the name it would get: its path is too long, or the file system does not allow it."""

    code = "output_name"


class OutputTakenError(StorageError):
    """The name of a transcript file has been taken by a foreign file; the caller must plan another one."""

    code = "output_taken"


class PublishingLostError(DropscribeError):
    """The process that wrote the transcript ended meanwhile; its files are recognised when they are published again."""

    code = "publishing_lost"
    retryable = True
    usual_operation = "publish"
    usual_remedy = "nothing to do: it is published again"


class LostSegmentError(DropscribeError):
    """The engine returned no hypothesis for a speech segment: the job fails, since its text would be incomplete."""

    code = "lost_segment"
    retryable = True
    usual_operation = "assemble"
    usual_remedy = "the job is tried again; if it stays so, run 'dropscribe doctor'"


class UsageError(DropscribeError):
    """A command was called with arguments that cannot work (no such file, job or database)."""

    code = "usage"
    exit_code = 2


def release_traceback(error: Exception) -> Exception:
    """Drop the frames an error holds on to, with their local variables, and return the error.

    Without it the tensors of a batch that did not fit into memory would leave no room for its parts.
    """
    one: BaseException | None = error
    while one is not None:
        traceback.clear_frames(one.__traceback__)
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error
