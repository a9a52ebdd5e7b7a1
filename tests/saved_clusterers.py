"""Fitted clusterers to save, and folders to load."""

import json
from pathlib import Path

import numpy as np
import torch
import transformers
from sklearn.utils import check_random_state

from skumc import UMCClusterer
from skumc.encoders import EncoderOutput, masked_mean
from skumc.persistence import _strict_json
from text_models import SIZES

QUICK = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}
SMALL = QUICK | {"encoder__hidden_width": 8}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"sun moon star cat dog bird".split()]
SENTENCES = [
    " ".join(check_random_state(row).choice(WORDS[4 + 3 * (row % 2) : 7 + 3 * (row % 2)], 4))
    for row in range(24)
]


def fit(X, n_clusters=2, **parameters):
    return UMCClusterer(n_clusters).set_params(**(SMALL | parameters)).fit(X)


def make_text_model(folder):
    """Write a tiny BERT with a fast tokenizer to a folder, as a stand-in for one of the hub."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", model_max_length=30
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        config = transformers.BertConfig(**SIZES | {"vocab_size": len(WORDS)}, pad_token_id=0)
        model = transformers.BertModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


class OwnEncoder(torch.nn.Module):
    """A ready module: mean of the frames of each modality, mapped to one width, and added."""

    def __init__(self, widths, width=4):
        super().__init__()
        self.names = tuple(widths)
        self.maps = torch.nn.ModuleList(torch.nn.Linear(w, width) for w in widths.values())

    def forward(self, batch):
        parts = [m(masked_mean(*batch[n])) for n, m in zip(self.names, self.maps, strict=True)]
        h = torch.nn.functional.normalize(torch.stack(parts).sum(dim=0), dim=-1)
        present = torch.stack([batch[name][1] > 0 for name in self.names], dim=1).float()
        return EncoderOutput(h, present / present.sum(dim=1, keepdim=True), {})


def assert_same(loaded, fitted, X, attention=False):
    """Equal results bit for bit, and equal attributes."""
    for method in ("predict", "transform", "modality_weights"):
        expected, found = getattr(fitted, method)(X), getattr(loaded, method)(X)
        np.testing.assert_array_equal(found, expected, strict=True)
    if attention:
        expected, found = fitted.attention_weights(X), loaded.attention_weights(X)
        assert expected.keys() == found.keys()
        for name, cells in expected.items():
            for one, other in zip(cells, found[name], strict=True):
                assert (one is None) == (other is None)
                if one is not None:
                    np.testing.assert_array_equal(other, one, strict=True)
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X), strict=True)
    if hasattr(loaded, "references_"):
        expected, found = fitted.score_samples(X), loaded.score_samples(X)
        np.testing.assert_array_equal(found, expected, strict=True)
    for name in ("counts_", "cluster_radii_", "matched_from_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(fitted, name), strict=True)
    assert loaded.modality_trust_ == fitted.modality_trust_
    assert loaded.n_clusters_ == fitted.n_clusters_
    assert set(vars(fitted)) - set(vars(loaded)) <= {"embedding_", "references_"}
    assert set(vars(loaded)) <= set(vars(fitted))


def manifest_of(folder):
    return json.loads((Path(folder) / "skumc.json").read_text())


def rewrite(folder, change):
    """Change the manifest of a folder, with a checksum as if save had written it."""
    content = manifest_of(folder)
    content.pop("checksum")
    content = change(content) or content
    (Path(folder) / "skumc.json").write_bytes(_strict_json.dumps(content))


def replace_weights(folder, content):
    """Put other bytes in the place of the weights, with the checksum of these."""
    import hashlib

    def change(manifest):
        (old,) = [name for name in manifest["files"] if name.startswith("weights-")]
        manifest["files"][old] = {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        (Path(folder) / old).write_bytes(content)

    rewrite(folder, change)
