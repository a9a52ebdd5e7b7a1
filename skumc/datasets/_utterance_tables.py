"""Read the utterances of a data set from its three tables of tab-separated values."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from skumc.datasets._errors import DatasetError

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Layout:
    """Columns of a data set's tables.

    Parameters
    ----------
    name : str
        Name of the data set, for messages.
    key_columns : tuple of int
        Columns, counted from 0, that are joined by "_" to the utterance's key in the pickles.
    text_column, label_column : int
        Columns of the text and of the label, counted from 0.
    description : str
        A few sentences about the data set.

    Examples
    --------
    >>> Layout("Toy", (0, 1), 2, 3, "A toy.").n_columns
    4
    """

    name: str
    key_columns: tuple[int, ...]
    text_column: int
    label_column: int
    description: str

    @property
    def n_columns(self) -> int:
        """Smallest number of columns in a row."""
        return max(*self.key_columns, self.text_column, self.label_column) + 1


class Utterances(NamedTuple):
    """Keys, texts and labels of all utterances, and the rows of each split."""

    keys: list[str]
    texts: list[str]
    labels: list[str]
    splits: dict[str, np.ndarray]


def _rows(path: Path, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each row below the header."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            next(reader, None)
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"{path} is missing. {layout.name} is read from a folder that holds "
            f"{', '.join(f'{split}.tsv' for split in SPLITS)}, video_data and audio_data; pass "
            "that folder."
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path}: got bytes that are not UTF-8. Save the table as UTF-8."
        ) from error
    except csv.Error as error:
        raise DatasetError(
            f"{path}: cannot read a row ({error}). Expected one utterance per line, its cells "
            "separated by tabs and not quoted."
        ) from error


def _utterance(path: Path, line: int, cells: Sequence[str], layout: Layout) -> tuple[str, str, str]:
    """Extract key, text and label of one row."""
    if len(cells) < layout.n_columns:
        raise DatasetError(
            f"{path}, line {line}: got {len(cells)} cells, expected {layout.n_columns} or more, "
            "separated by tabs."
        )
    key = "_".join(cells[column] for column in layout.key_columns)
    label = cells[layout.label_column].strip()
    if not label:
        raise DatasetError(
            f"{path}, line {line}: utterance {key!r} has an empty label in column "
            f"{layout.label_column}. Fill it, or delete the line."
        )
    return key, cells[layout.text_column], label


def read_utterances(folder: Path, layout: Layout) -> Utterances:
    """Read train.tsv, dev.tsv and test.tsv, in that order.

    Parameters
    ----------
    folder : Path
        Folder of the tables.
    layout : Layout
        Columns of the tables.

    Returns
    -------
    Utterances
        Of all three tables.

    Raises
    ------
    FileNotFoundError
        If one of the tables is missing.
    DatasetError
        If a row lacks cells or its label, a key occurs twice, or there are no rows at all.
    """
    found: dict[str, tuple[str, str]] = {}
    places: dict[str, str] = {}
    splits, n_before = {}, 0
    for split in SPLITS:
        path = folder / f"{split}.tsv"
        for line, cells in _rows(path, layout):
            key, text, label = _utterance(path, line, cells, layout)
            if key in found:
                raise DatasetError(
                    f"{path}, line {line}: utterance {key!r} occurred before, in {places[key]}. "
                    "Keep one of the two lines."
                )
            found[key], places[key] = (text, label), f"{path.name}, line {line}"
        splits[split], n_before = np.arange(n_before, len(found)), len(found)
    if not found:
        raise DatasetError(
            f"{folder}: the tables of {layout.name} hold no utterances below their header lines."
        )
    texts, labels = (list(column) for column in zip(*found.values(), strict=True))
    return Utterances(list(found), texts, labels, splits)
