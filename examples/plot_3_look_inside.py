"""
Look inside a fitted clusterer
==============================

The training history, the weight of each modality, and the attention of the anchor to the others.
"""

# %%
# An event at an unknown time
# ---------------------------
# Each sample has a "text" of four frames and an "audio" of 12 to 24 frames. Both distinguish three
# kinds of samples: one feature is raised in all frames of the text, and in three consecutive frames
# of the audio. The rest is noise.

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
clusterer = UMCClusterer(3, encoder="umc", random_state=0).fit(X)

# %%
# The history
# -----------
# There is one record per epoch; the epoch with the best monitor was restored. The supervised losses
# train on the selected samples, and on those that label propagation reaches with enough confidence.
# The three kinds are so distinct here that these are all samples: none is left for the contrastive
# loss, and its record is None.

main = clusterer.history_.phase("main")
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
axes[0].plot(main[:, "epoch"], main[:, "monitor"], label="monitor")
axes[0].plot(main[:, "epoch"], main[:, "selected_share"], label="share selected")
axes[0].plot(main[:, "epoch"], main[:, "taught_share"], label="share taught")
axes[1].plot(main[:-1, "epoch"], main[:-1, "loss_supcon"], label="SupCon loss")
for axis in axes:
    axis.set_xlabel("epoch")
    _ = axis.legend()

# %%
# The gates
# ---------
# Either modality identifies the kind, so neither gate closes.

gates = clusterer.modality_weights(X)
plt.figure(figsize=(6, 3), layout="constrained")
plt.hist(gates, bins=20, label=X.names)
plt.xlabel("share of the modality in a sample's embedding")
plt.ylabel("samples")
_ = plt.legend()

# %%
# The attention
# -------------
# Cross-attention weights of the first samples, mean over heads: rows are frames of the text,
# columns frames of the audio. The event is between the lines.

attention = clusterer.attention_weights(X)["audio"]
figure, axes = plt.subplots(4, 1, figsize=(8, 6), layout="constrained")
for axis, weights, start in zip(axes, attention, event, strict=False):
    image = axis.imshow(weights.mean(axis=0), aspect="auto", cmap="viridis")
    for border in (start - 0.5, start + 2.5):
        axis.axvline(border, color="white", linestyle=":")
    axis.set(ylabel="text frame", yticks=range(4))
    figure.colorbar(image, ax=axis)
_ = axes[-1].set_xlabel("audio frame")

# %%
# Four panels prove little. Over all samples: the attention to the three frames of the event, as a
# multiple of that under uniform attention, with and without training. For two of the three kinds it
# goes to the event, for one it goes to all frames but these. The clusters are the three kinds
# nevertheless: by default the encoder also reads each frame on a path of its own, and attention
# only adds to it. Weights of attention show where it looks, they do not explain a cluster.

untrained = UMCClusterer(3, encoder="umc", pretrain_epochs=0, max_epochs=0, random_state=0).fit(X)
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for name, fitted in (("untrained", untrained), ("trained", clusterer)):
    cells = fitted.attention_weights(X)["audio"]
    multiples = [
        weights[:, :, start : start + 3].sum(axis=2).mean() * weights.shape[2] / 3
        for weights, start in zip(cells, event, strict=True)
    ]
    axis.hist(multiples, bins=np.linspace(0, 8, 41), alpha=0.7, label=name)
axis.axvline(1, color="black", linestyle=":")
axis.set(xlabel="attention to the event, 1 is uniform", ylabel="samples")
_ = axis.legend()
