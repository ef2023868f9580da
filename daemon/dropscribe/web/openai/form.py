"""A form (RFC 7578, multipart/form-data) in pieces as they arrive: never as a whole in memory."""

from __future__ import annotations

from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

#: Most parts of a form; those of OpenAI's API have about ten.
MOST_PARTS = 50
#: Longest head of a part, bytes.
MOST_HEAD = 8 << 10


class FormError(ValueError):
    """The form is damaged, or has too much in it; the text says what."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A part begins. `filename`: None for a field."""

    name: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class Data:
    """More content of the part that began last."""

    content: bytes


class Form:
    """Divide a form into its parts. Each `feed` is one call; not thread-safe."""

    def __init__(self, content_type: str) -> None:
        """Raises FormError if it is no form."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:
            raise FormError("the body is no multipart/form-data")
        self._events: list[Begin | Data] = []
        self._parts = 0
        self._head = 0
        self._header = self._value = b""
        self._disposition = b""
        self._whole = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._add_name,
                "on_header_value": self._add_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_head,
                "on_part_data": self._data,
                "on_end": self._end,
            },
        )

    def feed(self, piece: bytes) -> list[Begin | Data]:
        """What is in the next piece of the body. Raises FormError."""
        self._events = []
        try:
            self._parser.write(piece)
        except FormParserError as e:
            raise FormError("the form is damaged") from e
        return self._events

    def end(self) -> None:
        """Raise FormError unless the form is whole."""
        if not self._whole:
            raise FormError("the form has no end")

    def _begin(self) -> None:
        self._parts += 1
        self._head = 0
        self._header = self._value = self._disposition = b""
        if self._parts > MOST_PARTS:
            raise FormError(f"the form has more than {MOST_PARTS} parts")

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._grow(end - start)
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._grow(end - start)
        self._value += data[start:end]

    def _grow(self, count: int) -> None:
        self._head += count
        if self._head > MOST_HEAD:
            raise FormError("a part of the form has too long a head")

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _end_head(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise FormError("a part of the form has no name")
        filename = options.get(b"filename")
        self._events.append(Begin(_text(options[b"name"]), None if filename is None else _text(filename)))

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(Data(data[start:end]))

    def _end(self) -> None:
        self._whole = True


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
