"""
Look inside a fitted clusterer
==============================

What training did, how much each modality counts, and where the anchor looks in the other ones.
"""

# %%
# An event at an unknown place
# ----------------------------
# Each sample has a "text" of four frames and an "audio" of 12 to 24 frames. Both tell the three
# kinds apart: in the text a feature is raised throughout, in the audio during three frames
# somewhere. The rest is noise.

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
# One record an epoch; the epoch that the monitor liked best was restored. Pseudo-labels teach the
# selected samples and those that labels surely reach along neighbours. The three kinds are so clear
# here that this is everybody: nobody is left for the contrastive loss, whose record is None.

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
# Either modality is enough to know the kind, so neither is shut out.

gates = clusterer.modality_weights(X)
plt.figure(figsize=(6, 3), layout="constrained")
plt.hist(gates, bins=20, label=X.names)
plt.xlabel("share of the modality in a sample's embedding")
plt.ylabel("samples")
_ = plt.legend()

# %%
# The attention
# -------------
# Weights of the cross-attention of the first samples, mean over heads: rows are the text's frames,
# columns the audio's. Between the lines is the event.

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
# Four panels prove little. Over all samples: how much of the attention falls on the three frames of
# the event, as a multiple of what evenly spread attention would give, with and without training.

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
axis.set(xlabel="attention on the event, 1 is evenly spread", ylabel="samples")
_ = axis.legend()
