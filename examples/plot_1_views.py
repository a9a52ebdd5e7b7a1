"""
Several views of the same samples
=================================

A table whose columns fall into groups, views of different lengths, and views that are missing: one
clusterer takes them all.
"""

# %%
# A table with two groups of columns
# ----------------------------------
# Each group becomes a modality. Here the first tells apart three groups of samples, and so does the
# second, but not the same three.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skumc import MultimodalData, UMCClusterer

rng = np.random.default_rng(0)
group = rng.integers(0, 4, 400)
sound = rng.normal(np.minimum(group, 2)[:, None], 0.4, (400, 4))
shape = rng.normal(np.maximum(group, 2)[:, None], 0.4, (400, 3))
table = pd.DataFrame(
    np.hstack([sound, shape]),
    columns=[f"sound{i}" for i in range(4)] + [f"shape{i}" for i in range(3)],
)
columns = {"sound": list(table.columns[:4]), "shape": list(table.columns[4:])}

clusterer = UMCClusterer(4, modalities=columns, random_state=0)
labels = clusterer.fit_predict(table)
print(pd.crosstab(group, labels, rownames=["group"], colnames=["cluster"]))

# %%
# Neither view alone tells all four groups apart; together they do.

figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharex=True, sharey=True)
for axis, colour, title in zip(axes, (group, labels), ("group", "cluster found"), strict=True):
    axis.scatter(sound.mean(axis=1), shape.mean(axis=1), c=colour, cmap="tab10", vmax=9)
    axis.set(title=title, xlabel="mean of sound", ylabel="mean of shape")

# %%
# Sequences, some of them missing
# -------------------------------
# The same samples with frames: a recording has 3 to 11 of them, every fifth sample has no shape.

X = MultimodalData(
    {
        "sound": [rng.normal(min(g, 2), 0.8, (rng.integers(3, 12), 4)) for g in group],
        "shape": [None if i % 5 == 0 else row for i, row in enumerate(shape)],
    }
)
clusterer = UMCClusterer(4, random_state=0).fit(X[:300])
print(
    pd.crosstab(group[300:], clusterer.predict(X[300:]), rownames=["group"], colnames=["cluster"])
)

# %%
# The gates tell what each modality contributed, exactly nothing where it is missing.

weights = pd.DataFrame(clusterer.modality_weights(X[300:]), columns=X.names)
weights["shape is missing"] = ~X[300:].present[:, 1]
print(weights.groupby("shape is missing").mean().round(2))
