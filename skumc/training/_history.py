"""Records of the epochs."""

from __future__ import annotations

from typing import Any


class History(list):
    """List of epoch records, plain dicts, with columns: ``history[:, "monitor"]``.

    A record has only the keys of its phase; a column is None elsewhere.

    Examples
    --------
    >>> history = History([{"phase": "pretrain"}, {"phase": "main", "monitor": 0.5}])
    >>> history[:, "monitor"], history[-1, "monitor"]
    ([None, 0.5], 0.5)
    >>> len(history.phase("main"))
    1
    """

    def __getitem__(self, key: Any) -> Any:
        """Return a record, a History of records or, with a second index, a column of them."""
        if isinstance(key, tuple):
            rows, column = key
            if not any(column in record for record in self):
                known = sorted({name for record in self for name in record})
                raise KeyError(f"No record has {column!r}; there are {', '.join(known)}.")
            if isinstance(rows, slice):
                return [record.get(column) for record in list(self)[rows]]
            return list(self)[rows].get(column)
        records = super().__getitem__(key)
        return History(records) if isinstance(key, slice) else records

    def phase(self, name: str) -> History:
        """Return the records of one phase: ``"start"``, ``"pretrain"`` or ``"main"``."""
        return History(record for record in self if record["phase"] == name)
