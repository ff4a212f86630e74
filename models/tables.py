"""Tables in bytes: CSV (its separator found out) and Parquet, read in chunks, wanted columns only."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .storage import DataError, Fault

if TYPE_CHECKING:
    import pandas as pd

_SEPARATORS = ";,\t|"
_CHUNK = 100_000  # rows parsed at a time
_LONGEST_HEADER = 1 << 20
_BYTES_PER_CELL = 8


@dataclass(frozen=True, slots=True)
class Table:
    """All column names, and `chunks(names)`: the rows of some of them, in the order of `names`. Reading a
    chunk raises DataError where the rows make no table."""

    columns: tuple[str, ...]
    chunks: Callable[[list[str]], Iterator[pd.DataFrame]]


Open = Callable[[bytes, Sequence[str], int], Table]
"""The content, the column names that are wanted, and how many bytes their cells may unfold to."""


# --- CSV -------------------------------------------------------------------------------------------------
def _csv(content: bytes, wanted: Sequence[str], _: int) -> Table:
    _check_utf8(content)
    lines = content[:_LONGEST_HEADER].decode("utf-8-sig", errors="replace").lstrip("\r\n").split("\n", 1)
    header = lines[0].rstrip("\r")
    splits = {sign: _fields(header, sign) for sign in _SEPARATORS}
    sign = max(splits, key=lambda one: (len(set(wanted) & set(splits[one])), len(splits[one])))
    return Table(tuple(splits[sign]), partial(_csv_chunks, content, sign))


def _fields(header: str, sign: str) -> list[str]:
    try:
        return next(csv.reader([header], delimiter=sign), [])
    except csv.Error:
        return []


def _csv_chunks(content: bytes, sign: str, names: list[str]) -> Iterator[pd.DataFrame]:
    import pandas as pd

    # Exact floats, so that the fingerprint does not depend on the format. All columns are parsed, although
    # few are kept: with `usecols` pandas would cut rows that have too many fields, and decimal commas shift.
    options: dict[str, Any] = {"float_precision": "round_trip", "chunksize": _CHUNK, "low_memory": False}
    try:
        with pd.read_csv(io.BytesIO(content), sep=sign, encoding="utf-8-sig", **options) as chunks:
            for chunk in chunks:
                if not isinstance(chunk.index, pd.RangeIndex):  # the first fields became an index
                    raise ValueError("the first rows have more fields than the header")
                yield chunk[names]
    except ValueError as error:  # pandas' ParserError and EmptyDataError are such
        said = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        mend = "give every row as many fields as the header"
        raise DataError(Fault("rows", f"no table ({said[:200]})", mend)) from None


def _check_utf8(content: bytes) -> None:
    """Raises DataError naming the first byte that is no UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(content)
    for start in range(0, len(view), 1 << 20):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(view[start : start + (1 << 20)], final=start + (1 << 20) >= len(view))
        except UnicodeDecodeError as error:
            at = start - pending + error.start
            value = f"0x{content[at]:02x} at byte {at}, which is no UTF-8"
            raise DataError(Fault("text", value, "save the file with the encoding UTF-8")) from None


# --- Parquet ---------------------------------------------------------------------------------------------
def _parquet(content: bytes, _: Sequence[str], max_bytes: int) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise _corrupt(error) from None
    return Table(tuple(map(str, file.schema_arrow.names)), partial(_parquet_chunks, file, max_bytes))


def _parquet_chunks(file: Any, max_bytes: int, names: list[str]) -> Iterator[pd.DataFrame]:
    import pyarrow as pa

    rows = 0
    try:
        for batch in file.iter_batches(_CHUNK, columns=names):
            rows += batch.num_rows
            # A few bytes can stand for billions of equal cells; what counts is what they unfold to.
            if rows * len(names) * _BYTES_PER_CELL > max_bytes:
                mend = "split the file or raise HOMEOSTAT_MAX_OBJECT_BYTES"
                raise DataError(Fault("rows", f"more than {rows - batch.num_rows}", mend))
            yield batch.to_pandas()[names]
    except (pa.ArrowException, OSError) as error:
        raise _corrupt(error) from None


def _corrupt(error: Exception) -> DataError:
    return DataError(Fault("content", "no readable Parquet", f"write the file again ({str(error)[:200]})"))


FORMATS: Mapping[str, Open] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".txt": _csv,
    ".parquet": _parquet,
    ".pq": _parquet,
}
"""How to open a file, by its suffix."""
