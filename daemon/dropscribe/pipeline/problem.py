"""Problem that ended an attempt without a transcript: message for people, and fault kind for the retry policy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Self

from dropscribe.errors import (
    DecoderKilledError,
    DeviceFailedError,
    DropscribeError,
    EngineDiedError,
    ModelsBusyError,
    ModelUnusableError,
    OutOfDeviceMemoryError,
    PublishingLostError,
    RecordingChangedError,
    RecordingGoneError,
    StorageError,
    UnansweredError,
    UnwritableError,
)
from dropscribe.records import sent


class FaultKind(Enum):
    """Where a fault lies; the basis of `service/jobs/retry_policy.py`."""

    RECORDING = "recording"  #: the recording or its options; a retry would fail again
    CHANGED = "changed"  #: the file was rewritten or removed since it was admitted
    TRANSIENT = "transient"  #: possibly temporary, possibly caused by the recording; each attempt counts
    STORAGE = "storage"  #: a file system refuses to read or write
    UNWRITABLE = "unwritable"  #: the daemon may not write into the folder of the outputs
    UNANSWERED = "unanswered"  #: a file system does not answer; nothing of that folder is decoded for a while
    ENVIRONMENT = (
        "environment"  #: anything else outside the recording: device memory in use, the daemon stopped
    )
    MODEL = "model"  #: a model that its profile names cannot be loaded
    DECODER_KILLED = "decoder_killed"  #: something outside killed the decoder
    NODE = "node"  #: the machine that worked on it was lost
    PUBLISHING = "publishing"  #: the process that wrote its files was lost
    ENGINE = "engine"  #: the engine process died; any recording in it may be the cause
    DEVICE = (
        "device"  #: the device failed or the engine hung; the recording is the cause only if that is proven
    )


#: Fault kind by error code; other errors are TRANSIENT if retryable, else RECORDING.
_KINDS = {
    RecordingChangedError.code: FaultKind.CHANGED,
    RecordingGoneError.code: FaultKind.CHANGED,
    StorageError.code: FaultKind.STORAGE,
    UnansweredError.code: FaultKind.UNANSWERED,
    UnwritableError.code: FaultKind.UNWRITABLE,
    # The longest possible segment fitted at warm-up, so another process uses the device's memory.
    OutOfDeviceMemoryError.code: FaultKind.ENVIRONMENT,
    ModelsBusyError.code: FaultKind.ENVIRONMENT,
    ModelUnusableError.code: FaultKind.MODEL,
    DecoderKilledError.code: FaultKind.DECODER_KILLED,
    PublishingLostError.code: FaultKind.PUBLISHING,
    EngineDiedError.code: FaultKind.ENGINE,
    DeviceFailedError.code: FaultKind.DEVICE,
}


def kind_of(code: str, *, retryable: bool) -> FaultKind:
    """Fault kind of an error in `dropscribe.errors` by the attributes of it that are sent between processes."""
    return _KINDS.get(code, FaultKind.TRANSIENT if retryable else FaultKind.RECORDING)


@sent
@dataclass(frozen=True, slots=True)
class Problem:
    """Problem that ended an attempt. `code` as in `dropscribe.errors`; stored in the ledger and shown to people."""

    code: str
    reason: str
    remedy: str
    kind: FaultKind

    @classmethod
    def of(cls, error: DropscribeError) -> Self:
        """Problem for an error."""
        kind = kind_of(error.code, retryable=error.retryable)
        return cls(error.code, error.reason, error.remedy, kind)
