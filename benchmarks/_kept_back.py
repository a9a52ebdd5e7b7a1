"""Three data sets that were named before anything ran on them, read from installed packages.

``pip install --no-deps aeon palmerpenguins`` brings the files; nothing of the packages is run.
"""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import numpy as np

PACKAGES = {"penguins": "palmerpenguins", "osu_leaf": "aeon", "pickup_gestures": "aeon"}
_SERIES = {"osu_leaf": "OSULeaf", "pickup_gestures": "PickupGestureWiimoteZ"}
_BILL = ("bill_length_mm", "bill_depth_mm")
_BODY = ("flipper_length_mm", "body_mass_g")


def available():
    """Names of the sets that have their package installed."""
    return [name for name, package in PACKAGES.items() if importlib.util.find_spec(package)]


def load(name):
    """Read a set.

    Returns
    -------
    views : dict of str to list or ndarray
    y : ndarray of str, shape (n_samples,)
    """
    spec = importlib.util.find_spec(PACKAGES[name])
    if spec is None:
        raise FileNotFoundError(f"{name} needs pip install --no-deps {PACKAGES[name]}")
    folder = Path(next(iter(spec.submodule_search_locations)))
    if name == "penguins":
        return _penguins(folder / "data" / "penguins.csv")
    series, classes = [], []
    for part in ("TRAIN", "TEST"):
        file = folder / "datasets" / "data" / _SERIES[name] / f"{_SERIES[name]}_{part}.ts"
        for line in file.read_text().splitlines():
            if line and not line.startswith(("#", "@")):
                values, _, label = line.strip().rpartition(":")
                series.append(np.array(values.split(","), dtype=float)[:, None])
                classes.append(label)
    return {"series": series}, np.array(classes)


def _penguins(file):
    """Measures of bill and body; penguins without measures are left out."""
    with file.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row[_BILL[0]] not in ("", "NA")]
    views = {
        name: np.array([[float(row[column]) for column in columns] for row in rows])
        for name, columns in (("bill", _BILL), ("body", _BODY))
    }
    return views, np.array([row["species"] for row in rows])
