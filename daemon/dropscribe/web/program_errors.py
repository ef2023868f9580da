"""Errors as documents for programs: dropscribe/error/1, or as OpenAI's API has them."""

from __future__ import annotations

from starlette.responses import JSONResponse

from dropscribe.views.errors import ERROR_SCHEMA

#: Addresses that programs use; the last ones are those of OpenAI's API.
_PROGRAMS = ("/api/", "/metrics", "/v1/")


def for_program(path: str) -> bool:
    """True for addresses that programs use."""
    return path.startswith(_PROGRAMS)


def is_openai(path: str) -> bool:
    """True for addresses of OpenAI's API."""
    return path.startswith("/v1/")


def error_answer(path: str, status: int, code: str, reason: str, remedy: str = "") -> JSONResponse:
    """An error that is none of the product, in the shape that programs expect at this address."""
    if is_openai(path):
        message = f"{reason} ({remedy})" if remedy else reason
        kind = "server_error" if status >= 500 else "invalid_request_error"
        return JSONResponse(
            {"error": {"message": message, "type": kind, "param": None, "code": code}}, status
        )
    error = {
        "code": code,
        "operation": "answer",
        "path": None,
        "reason": reason,
        "remedy": remedy,
        "exit_code": 1,
    }
    return JSONResponse({"schema": ERROR_SCHEMA, "error": error}, status)
