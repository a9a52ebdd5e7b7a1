"""Candidates of the benchmark of selection: those of the package, or random ones."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import ParameterGrid

from skumc.encoders import UMCEncoder
from skumc.model_selection import candidate_parameters

DEFAULT = "default"
EPOCHS = {"pretrain_epochs": (0, 5, 10, 20, 40), "max_epochs": (0, 6, 12, 25)}
RATES = ("learning_rate", "pretrain_learning_rate")
LOWEST_RATE, HIGHEST_RATE = 3e-4, 3e-2
PAIRS = ("neighbors", "dropout")
PAIRS_OF_VIEWS = ("views", "disjoint")  # need a second modality
PSEUDO_LABELS = ("propagated", "selected")
WIDTHS = (64, 128, 256)
N_SEGMENTS = (1, 4, 8)


def name(parameters):
    """Candidate as text, the same in each process."""
    if not parameters:
        return DEFAULT
    return ", ".join(f"{key}={' '.join(repr(value).split())}" for key, value in parameters.items())


def listed_candidates(X):
    """Candidates of the package for X, as dicts of parameters; the first one is the default."""
    return list(ParameterGrid(candidate_parameters(X)))


def _has_sequences(X):
    return None in X.widths.values() or X.lengths.max() > 1


def random_candidates(X, n_candidates, random_state=0):
    """Draw candidates independently, each parameter uniformly from its range.

    Parameters
    ----------
    X : MultimodalData
    n_candidates : int
    random_state : int

    Returns
    -------
    list of dict
        With these parameters:

        - ``pretrain_epochs``: 0, 5, 10, 20 or 40; ``max_epochs``: 0, 6, 12 or 25;
        - ``learning_rate`` and ``pretrain_learning_rate``: from 3e-4 to 3e-2, uniform in their
          logarithm, three digits;
        - ``pairs``: "neighbors", "dropout" and, with two or more modalities, "views", "disjoint";
        - ``pseudo_labels``: "propagated" or "selected";
        - ``encoder__hidden_width``: 64, 128 or 256;
        - for sequences and text in addition ``encoder__n_segments``, 1, 4 or 8, or, with the chance
          of one half, the frame-wise encoder of ``candidate_parameters`` with the drawn width.
    """
    rng = np.random.RandomState(random_state)
    pairs = PAIRS + (PAIRS_OF_VIEWS if len(X.names) > 1 else ())
    low, high = np.log([LOWEST_RATE, HIGHEST_RATE])

    def pick(choices):
        return choices[rng.randint(len(choices))]

    def draw():
        found = {key: pick(choices) for key, choices in EPOCHS.items()}
        found |= {key: float(f"{np.exp(rng.uniform(low, high)):.3g}") for key in RATES}
        found |= {"pairs": pick(pairs), "pseudo_labels": pick(PSEUDO_LABELS)}
        width = pick(WIDTHS)
        if _has_sequences(X) and rng.randint(2):
            encoder = UMCEncoder(
                hidden_width=width,
                cross_attention=False,
                guided_attention=False,
                n_self_attention_layers=0,
            )
            return found | {"encoder": encoder}
        found["encoder__hidden_width"] = width
        if _has_sequences(X):
            found["encoder__n_segments"] = pick(N_SEGMENTS)
        return found

    return [draw() for _ in range(n_candidates)]


def shortened(parameters, epochs):
    """Parameters with at most these numbers of epochs."""
    fewer = {key: min(parameters.get(key, most), most) for key, most in epochs.items()}
    return parameters | fewer
