"""The csv files that people make: read strictly, and what is wrong is said with the line it is in."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tclap.errors import InputError

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}


@dataclass(frozen=True)
class Row:
    """A line of a csv file: its number, as an editor counts them, and its values by column."""

    line: int
    values: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values[column]


def read_table(path: Path) -> tuple[tuple[str, ...], list[Row]]:
    """Columns and rows of a csv file in UTF-8, with or without a byte order mark. Blank lines are left out.

    A file called .tsv has tabs for commas.

    Raises InputError, naming the file and the line: it cannot be read, is in another encoding, has no header, names a
    column twice, leaves a quote open, or has a line with more or fewer values than columns. Empty values beyond the
    last column are no fault.
    """
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True, delimiter=_delimiter(path))
    rows: list[Row] = []
    columns: tuple[str, ...] = ()
    line = 1  # at which the row begins; a quoted value may hold line breaks
    try:
        for values in reader:
            if not any(value.strip() for value in values):
                pass
            elif not columns:
                columns = _columns(path, values, line)
            else:
                rows.append(Row(line, dict(zip(columns, _fitting(path, columns, values, line), strict=True))))
            line = reader.line_num + 1
    except csv.Error as error:
        what = "a quote is opened and not closed" if "end of data" in str(error) else str(error)
        if "limit" in str(error):
            what = "a quote is opened and not closed for 128 kB"
        raise InputError(f'{path} line {line}: {what}; a quote within a quoted value is written twice ("")') from error
    if not columns:
        raise InputError(f"{path} is empty: its first line should name its columns")
    return columns, rows


def require(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    """Raise InputError unless every one of `needed` is among `columns`; other columns may be there, too."""
    missing = [column for column in needed if column not in columns]
    if missing:
        check_separators(path, columns)
        raise InputError(
            f"{path} lacks the columns {', '.join(missing)}; it needs {', '.join(needed)}, and has {', '.join(columns)}"
        )


def check_separators(path: Path, columns: Sequence[str]) -> None:
    """Raise InputError if the header is one name that holds another separator: that is why no column is there."""
    for separator, name in SEPARATORS.items():
        if len(columns) == 1 and separator in columns[0] and separator != _delimiter(path):
            kind = ".tsv" if _delimiter(path) == "\t" else "csv"
            raise InputError(f"{path} has its values between {name}; a {kind} file has {SEPARATORS[_delimiter(path)]}")


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{path} is in UTF-16: save it as csv in UTF-8")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(f"{path} line {line} is not in UTF-8: save the file as csv in UTF-8") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError(f"{path} line {line} holds a NUL byte: it is no readable csv file, or a damaged one")
    return text


def _columns(path: Path, values: Sequence[str], line: int) -> tuple[str, ...]:
    columns = tuple(value.strip() for value in values)
    while columns and not columns[-1]:
        columns = columns[:-1]
    twice = [column for n, column in enumerate(columns) if column in columns[:n]]
    if twice:
        raise InputError(f"{path} line {line} names the column {twice[0]!r} twice")
    return columns


def _fitting(path: Path, columns: Sequence[str], values: list[str], line: int) -> list[str]:
    surplus = values[len(columns) :]
    if any(value.strip() for value in surplus):
        raise InputError(
            f"{path} line {line} has {len(values)} values for {len(columns)} columns: "
            'a value with a comma in it must stand in double quotes ("...")'
        )
    if len(values) < len(columns):
        raise InputError(
            f"{path} line {line} has {len(values)} value(s) for {len(columns)} columns: "
            'a value with a line break in it must stand in double quotes ("...")'
        )
    return values[: len(columns)]
