"""
Look inside a fitted clusterer
==============================

What training did, how much each modality counts, and where the anchor looks in the other ones.
"""

# %%
# An event at an unknown place
# ----------------------------
# Each sample has a "text" of four frames and an "audio" of 12 to 24 frames. What tells the three
# kinds apart is a short event somewhere in the audio; the rest is noise.

import matplotlib.pyplot as plt
import numpy as np

from skumc import MultimodalData, UMCClusterer

rng = np.random.default_rng(0)
kind = rng.integers(0, 3, 150)
text, audio, event = [], [], []
for k in kind:
    n_frames, start = rng.integers(12, 25), rng.integers(0, 9)
    frames = rng.normal(0, 0.3, (n_frames, 6))
    frames[start : start + 3, k] += 4
    audio.append(frames)
    event.append(start)
    text.append(rng.normal(0, 0.3, (4, 5)) + 1.5 * np.eye(5)[k])
X = MultimodalData({"text": text, "audio": audio})
clusterer = UMCClusterer(3, random_state=0).fit(X)

# %%
# The history
# -----------
# One record an epoch; the epoch that the monitor liked best was restored.

main = clusterer.history_.phase("main")
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
axes[0].plot(main[:, "epoch"], main[:, "monitor"], label="monitor")
axes[0].plot(main[:, "epoch"], main[:, "selected_share"], label="share selected")
for name in ("supcon", "contrastive"):
    axes[1].plot(main[:-1, "epoch"], main[:-1, f"loss_{name}"], label=name)
for axis in axes:
    axis.set_xlabel("epoch")
    axis.legend()

# %%
# The gates
# ---------

gates = clusterer.modality_weights(X)
plt.figure(figsize=(6, 3), layout="constrained")
plt.hist(gates, bins=20, label=X.names)
plt.xlabel("share of the modality in a sample's embedding")
plt.ylabel("samples")
plt.legend()

# %%
# The attention
# -------------
# Weights of the cross-attention of the first samples, mean over heads: rows are the text's frames,
# columns the audio's. Between the lines is the event.

attention = clusterer.attention_weights(X[:4])["audio"]
figure, axes = plt.subplots(4, 1, figsize=(8, 6), layout="constrained")
for axis, weights, start in zip(axes, attention, event, strict=False):
    image = axis.imshow(weights.mean(axis=0), aspect="auto", cmap="viridis")
    for border in (start - 0.5, start + 2.5):
        axis.axvline(border, color="white", linestyle=":")
    axis.set(ylabel="text frame", yticks=range(4))
    figure.colorbar(image, ax=axis)
axes[-1].set_xlabel("audio frame")
