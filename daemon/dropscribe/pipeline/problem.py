"""Why an attempt ended without a transcript: a record for people, and the kind of fault the retry policy decides by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Self

from dropscribe.errors import (
    DecoderKilledError,
    DeviceFailedError,
    DropscribeError,
    EngineDiedError,
    OutOfDeviceMemoryError,
    RecordingChangedError,
    RecordingGoneError,
    StorageError,
    UnansweredError,
)


class FaultKind(Enum):
    """Where a fault lies, as far as it decides what becomes of the job (`daemon/dropscribe/service/jobs/retry_policy.py`)."""

    RECORDING = "recording"  #: the recording, or what was asked of it: trying again changes nothing
    CHANGED = "changed"  #: the file was rewritten or removed since it was admitted
    TRANSIENT = "transient"  #: may pass by itself, and may be caused by the recording: each try counts
    STORAGE = "storage"  #: a file system refuses to read or write
    UNANSWERED = (
        "unanswered"  #: a file system does not answer: no other decoder is risked in that folder for a while
    )
    ENVIRONMENT = (
        "environment"  #: anything else outside the recording: device memory in use, the daemon stopped
    )
    DECODER_KILLED = "decoder_killed"  #: something outside killed the decoder
    ENGINE = "engine"  #: the engine process died; any recording in it may be the cause
    DEVICE = (
        "device"  #: the device failed or the engine hung; the recording is the cause only once that is shown
    )


#: Kinds of the errors that have one of their own; every other error is RECORDING or, where retrying may help, TRANSIENT.
_KINDS = {
    RecordingChangedError.code: FaultKind.CHANGED,
    RecordingGoneError.code: FaultKind.CHANGED,
    StorageError.code: FaultKind.STORAGE,
    UnansweredError.code: FaultKind.UNANSWERED,
    # The longest segment there is did fit at warm-up: something else takes the device's memory.
    OutOfDeviceMemoryError.code: FaultKind.ENVIRONMENT,
    DecoderKilledError.code: FaultKind.DECODER_KILLED,
    EngineDiedError.code: FaultKind.ENGINE,
    DeviceFailedError.code: FaultKind.DEVICE,
}


def kind_of(code: str, *, retryable: bool) -> FaultKind:
    """The kind of an error of `dropscribe.errors` by its `code` and `retryable`, as they travel between processes."""
    return _KINDS.get(code, FaultKind.TRANSIENT if retryable else FaultKind.RECORDING)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an attempt ended without a transcript. `code` as in `dropscribe.errors`; the ledger stores it and people see it."""

    code: str
    reason: str
    remedy: str
    kind: FaultKind

    @classmethod
    def of(cls, error: DropscribeError) -> Self:
        """The problem that `error` is."""
        kind = kind_of(error.code, retryable=error.retryable)
        return cls(error.code, error.reason, error.remedy, kind)
