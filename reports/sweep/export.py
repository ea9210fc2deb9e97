"""The rows of a sweep as CSV and Parquet, for other programs. Names of columns end in their units where they have one.

Numbers come back as they are: CSV has the shortest digits that stand for them, whole ones without a point.
"""

import csv
from pathlib import Path

import numpy as np

from hw.errors import need
from hw.files import replacing
from reports.sweep import columns
from reports.sweep.table import Column, Table


def write_csv(table: Table, path: Path) -> None:
    """Write all columns, atomically: a line of names, then a line a row; a number that is not there is empty.

    Raises:
        BadInput: the file cannot be written.
    """
    cells = [_cells(values) for values in table.columns.values()]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(zip(*cells, strict=True))


def write_parquet(table: Table, path: Path) -> None:
    """Write all columns, atomically: numbers as doubles, null where there is none, texts as strings.

    Units and what a column is are in the metadata of the file ("unit latency_ms": "ms") and, for those who read Arrow,
    in that of the column.

    Raises:
        BadInput: the file cannot be written.
        MissingTool: pyarrow is not installed.
    """
    pyarrow = need("pyarrow", "sweep", "a Parquet file")
    parquet = need("pyarrow.parquet", "sweep", "a Parquet file")
    arrays, fields = [], []
    units: dict[str, str] = {}
    for name, values in table.columns.items():
        text = values.dtype.kind != "f"
        arrays.append(pyarrow.array(values.tolist() if text else values, from_pandas=not text))
        told = _metadata(name)
        units |= {f"{key} {name}": value for key, value in told.items()}
        fields.append(pyarrow.field(name, arrays[-1].type, metadata=told))
    made = pyarrow.table(arrays, schema=pyarrow.schema(fields, metadata=units))
    with replacing(path) as temporary, temporary.open("wb") as file:
        # Doubles byte by byte, texts as numbers into a list: a third of the time and half of the size of pyarrow's own
        # choice (docs/decisions/0009-sweep-store.md).
        texts = [name for name, values in table.columns.items() if values.dtype.kind != "f"]
        numbers = [name for name in table.columns if name not in texts]
        parquet.write_table(made, file, compression="zstd", use_dictionary=texts, use_byte_stream_split=numbers)


def _metadata(name: str) -> dict[str, str]:
    column = columns.ALL.get(name)
    if column is None:
        return {}
    return {"unit": column.unit, "text": column.text} if column.unit else {"text": column.text}


def _cells(values: Column) -> Column:
    """Texts of a column; each different number is written out once."""
    if values.dtype.kind != "f":
        return values
    different, places = np.unique(values, return_inverse=True)
    return np.array([_cell(number) for number in different.tolist()], object)[places]


def _cell(number: float) -> str:
    if np.isnan(number):
        return ""
    return str(int(number)) if number.is_integer() and abs(number) < 2**63 else repr(number)
