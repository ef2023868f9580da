"""Known voices: the embeddings that speakers are named by."""

from __future__ import annotations

import sqlalchemy as sa

from dropscribe.ledger.columns import storable
from dropscribe.ledger.records import EnrolledVoice
from dropscribe.ledger.sql.dialect import Database
from dropscribe.transcript.known_voices import KnownVoice

_KNOWN = sa.text("SELECT name, embedding FROM voices WHERE model = :model ORDER BY id")
_LIST = sa.text("SELECT name, model, made_at FROM voices ORDER BY name, model")
_ENROL = sa.text(
    "INSERT INTO voices (name, model, embedding, made_at) VALUES (:name, :model, :embedding, :now) "
    "ON CONFLICT (name, model) DO UPDATE SET embedding = excluded.embedding, made_at = excluded.made_at"
)
_REMOVE = sa.text("DELETE FROM voices WHERE name = :name")


class Voices:
    """The table of known voices."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def known(self, model: str) -> list[KnownVoice]:
        """See `Ledger.known_voices`."""
        with self._db.read("read known voices") as connection:
            return [
                KnownVoice(row.name, row.embedding) for row in connection.execute(_KNOWN, {"model": model})
            ]

    def enrolled(self) -> list[EnrolledVoice]:
        """See `Ledger.enrolled_voices`."""
        with self._db.read("list known voices") as connection:
            return [EnrolledVoice(row.name, row.model, row.made_at) for row in connection.execute(_LIST)]

    def enrol(self, name: str, model: str, embedding: bytes, now: float) -> None:
        """See `Ledger.enrol_voice`."""
        values = {"name": storable(name), "model": model, "embedding": embedding, "now": now}
        with self._db.write("enrol a voice") as connection:
            connection.execute(_ENROL, values)

    def remove(self, name: str) -> int:
        """See `Ledger.remove_voice`."""
        with self._db.write("remove a voice") as connection:
            return int(connection.execute(_REMOVE, {"name": storable(name)}).rowcount)
