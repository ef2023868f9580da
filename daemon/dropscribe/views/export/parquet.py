"""Write an export as Parquet. Needs pyarrow, which the extra `parquet` installs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

from dropscribe.errors import UsageError
from dropscribe.views.export.rows import FIELDS, INSTANTS, row_of

if TYPE_CHECKING:
    from dropscribe.ledger.records import JobSummary


class ParquetWriter:
    """Parquet, compressed; each call of `write` is a row group. Instants are timestamps (UTC, ms). See `rows.Writer`."""

    def __init__(self, out: IO[bytes]) -> None:
        """Raises UsageError without pyarrow."""
        try:
            import pyarrow as pa  # noqa: PLC0415 - optional
            import pyarrow.parquet as pq  # noqa: PLC0415 - optional
        except ImportError as e:
            raise UsageError(
                f"it needs pyarrow: {e}",
                operation="export jobs as Parquet",
                remedy="pip install 'dropscribe[parquet]', or choose csv or jsonl",
            ) from e
        types: dict[type, Any] = {
            int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string(), list: pa.list_(pa.string()),
        }  # fmt: skip
        instant = pa.timestamp("ms", tz="UTC")
        self._schema = pa.schema([(n, instant if n in INSTANTS else types[t]) for n, t in FIELDS.items()])
        self._table = pa.Table
        self._writer = pq.ParquetWriter(out, self._schema, compression="zstd")

    def write(self, jobs: Sequence[JobSummary]) -> None:
        """See `rows.Writer`."""
        rows = [row_of(job) for job in jobs]
        for row in rows:
            for name in INSTANTS:
                row[name] = None if row[name] is None else datetime.fromisoformat(row[name])
        self._writer.write_table(self._table.from_pylist(rows, schema=self._schema))

    def close(self) -> None:
        """See `rows.Writer`."""
        self._writer.close()
