"""
Thresholds and sample selection
===============================

The threshold is the share of samples to select from each cluster. It rises along a curve and
is adjusted by the monitor and the loss. The selector takes the densest samples of each cluster.
"""

# %%
# Three thresholds
# ----------------
# Each is updated with a monitor that rises and then fluctuates, and a loss that falls.

import matplotlib.pyplot as plt
import numpy as np

from skumc.curriculum import AdaptiveThreshold, DensitySelector, LinearThreshold

n_epochs = 50
epochs = np.arange(n_epochs)
rng = np.random.default_rng(0)
monitor = 0.4 * (1 - np.exp(-epochs / 8)) + np.where(epochs > 30, rng.normal(0, 0.06, n_epochs), 0)
loss = 1 + 2 * np.exp(-epochs / 10)
thresholds = {
    "adaptive": AdaptiveThreshold(),
    "adaptive, continuous curve": AdaptiveThreshold(rescale_phases=True),
    "linear (ACL 2024)": LinearThreshold(),
}
for name, threshold in thresholds.items():
    values = [
        threshold.update(epoch, n_epochs, monitor[epoch], loss[epoch]) for epoch in range(n_epochs)
    ]
    plt.step(epochs, values, where="post", label=name)
plt.xlabel("epoch")
plt.ylabel("selected share of each cluster")
_ = plt.legend()

# %%
# Dense samples first
# -------------------
# Two clusters of different spread at three thresholds.

points = np.vstack([rng.normal(0, 1, (200, 2)), rng.normal([7, 0], [2.5, 1], (200, 2))])
cluster = np.repeat([0, 1], 200)
figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained", sharey=True)
for axis, threshold in zip(axes, (0.05, 0.25, 0.5), strict=True):
    selected = DensitySelector().select(points, cluster, threshold)
    axis.scatter(*points.T, c="0.85", s=8)
    axis.scatter(*points[selected].T, c=cluster[selected], cmap="tab10", vmax=9, s=12)
    axis.set(title=f"threshold {threshold}: {selected.sum()} of 400")
