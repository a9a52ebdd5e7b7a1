"""Data sets of the benchmark of doubt and return, each with foreign samples from another set.

``SHIPPED`` are the sets by which the scores and the temperature were designed. ``JUDGES`` were
named in a commit of their own before anything of this benchmark ran on them. ``HARD`` was named in
the same commit: its foreign samples are descriptors of the same kind in the same units.

Foreign samples of all other sets have the host's widths, and the mean and the deviation of each of
its columns, so that units do not give them away.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from skumc.datasets import make_multimodal_blobs

SHIPPED = {
    "digits": "breast_cancer",
    "wine": "breast_cancer",
    "breast_cancer": "digits",
    "blobs": "digits",
}
JUDGES = {
    "uci_digits": "scene15",
    "image_segments": "landuse21",
    "japanesevowels": "spoken_intents",
    "snips": "banking77",
}
HARD = {"scene15": "landuse21"}
DONORS = SHIPPED | JUDGES | HARD
_AUDIO = "audio"


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(name, folder=None):
    """Read a set.

    Returns
    -------
    views : dict of str to ndarray, list of ndarray or list of str
    y : ndarray of shape (n_samples,)
    """
    if name == "digits":
        return {"pixels": load_digits().data}, load_digits().target
    if name == "wine":
        table, y = load_wine(return_X_y=True)
        return dict(zip(("acids", "phenols", "color"), np.split(table, [5, 9], 1), strict=True)), y
    if name == "breast_cancer":
        table, y = load_breast_cancer(return_X_y=True)
        return dict(zip(("mean", "error", "worst"), np.split(table, 3, axis=1), strict=True)), y
    if name == "blobs":
        X, y = make_multimodal_blobs(600, 6, random_state=0)
        return {view: X.sequences(view) for view in X.names}, y
    folder = Path(folder)
    if name in ("uci_digits", "spoken_intents"):
        read = _module(folder / "loader.py").load(name)
        parts = read["train"], read["test"]
        views = {view: [*parts[0][view], *parts[1][view]] for view in read["modalities"]}
        if name == "uci_digits":
            views = {view: np.array(rows) for view, rows in views.items()}
        return views, np.concatenate([part["y"] for part in parts])
    views, y, _ = _module(folder / "wild" / "sets.py").load(name)
    return views, y


def _cells(views):
    """Numbers of each sample in one row: vectors, and means over frames."""
    columns = []
    for cells in views.values():
        if isinstance(cells, np.ndarray):
            columns.append(cells)
        elif not isinstance(cells[0], str):
            columns.append(np.array([np.mean(frames, axis=0) for frames in cells]))
    return np.concatenate(columns, axis=1)


def _matched(rows, host):
    """Shift and scale columns to the mean and the deviation of another set's columns."""
    scale = rows.std(axis=0)
    standard = (rows - rows.mean(axis=0)) / np.where(scale > 1e-9, scale, 1.0)
    return standard * host.std(axis=0) + host.mean(axis=0)


def foreign(name, n_samples, seed, folder=None):
    """Draw samples of the donor in the widths of the host, as views.

    Columns of the donor are repeated where it is narrower.
    """
    host, donor = load(name, folder)[0], load(DONORS[name], folder)[0]
    rng = np.random.default_rng(seed)
    if name in HARD:
        chosen = rng.choice(len(next(iter(donor.values()))), n_samples, replace=False)
        return {view: cells[chosen] for view, cells in donor.items()}
    if isinstance(next(iter(host.values()))[0], str):
        texts = next(iter(donor.values()))
        chosen = rng.choice(len(texts), n_samples, replace=False)
        return {view: [texts[row] for row in chosen] for view in host}
    views, start, donor_rows = {}, 0, None
    donor_rows = _cells(donor)
    chosen = rng.choice(len(donor_rows), n_samples, replace=len(donor_rows) < n_samples)
    for view, cells in host.items():
        frames = cells if isinstance(cells, np.ndarray) else np.concatenate(cells)
        width = frames.shape[1]
        if isinstance(cells, np.ndarray):
            places = np.arange(start, start + width) % donor_rows.shape[1]
            views[view] = _matched(donor_rows[:, places], frames)[chosen]
            start += width
        else:
            views[view] = _sequences(donor, cells, frames, chosen, rng)
    return views


def _sequences(donor, cells, frames, chosen, rng):
    """Draw sequences of the donor, or rows of its table as frames, in the host's lengths."""
    width, lengths = frames.shape[1], [len(cells[i]) for i in rng.integers(len(cells), size=9999)]
    if _AUDIO in donor:
        stacked = [
            np.asarray(donor[_AUDIO][row])[:length, :width]
            for row, length in zip(chosen, lengths, strict=False)
        ]
    else:
        table = _cells(donor)
        places = np.arange(width) % table.shape[1]
        stacked = [
            table[rng.integers(len(table), size=length)][:, places]
            for _, length in zip(chosen, lengths, strict=False)
        ]
    matched = _matched(np.concatenate(stacked), frames)
    return np.split(matched, np.cumsum([len(one) for one in stacked])[:-1])
