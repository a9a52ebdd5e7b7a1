"""
Several views of the same samples
=================================

One clusterer for tables with groups of columns, for sequences of different lengths, and for missing
views.
"""

# %%
# A table with two groups of columns
# ----------------------------------
# Each group of columns becomes a modality. Here each modality separates three groups of samples,
# but not the same three.

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
# Neither modality alone separates all four groups; together they do.

figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharex=True, sharey=True)
for axis, color, title in zip(axes, (group, labels), ("group", "cluster found"), strict=True):
    axis.scatter(sound.mean(axis=1), shape.mean(axis=1), c=color, cmap="tab10", vmax=9)
    axis.set(title=title, xlabel="mean of sound", ylabel="mean of shape")

# %%
# Sequences, some of them missing
# -------------------------------
# The same samples as sequences: a recording has 3 to 11 frames, and every fifth shape is missing.

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
# The gates are the contribution of each modality, exactly 0 where it is missing.

weights = pd.DataFrame(clusterer.modality_weights(X[300:]), columns=X.names)
weights["shape is missing"] = ~X[300:].present[:, 1]
print(weights.groupby("shape is missing").mean().round(2))
