"""Errors as JSON documents."""

from __future__ import annotations

from typing import Any

from dropscribe.errors import DropscribeError
from dropscribe.escapes import readable

ERROR_SCHEMA = "dropscribe/error/1"


def error_document(error: DropscribeError) -> dict[str, Any]:
    """`{"schema": "dropscribe/error/1", "error": {code, operation, path (null or text), reason, remedy, exit_code}}`."""
    return {
        "schema": ERROR_SCHEMA,
        "error": {
            "code": error.code,
            "operation": error.operation,
            "path": None if error.path is None else readable(error.path),
            "reason": error.reason,
            "remedy": error.remedy,
            "exit_code": error.exit_code,
        },
    }
