"""Tiny random text models of several families, and a tokenizer that needs no files."""

from typing import Any

import torch
import transformers

SIZES: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}

FAMILIES = {
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**SIZES, pad_token_id=0)),
    "roberta": lambda: transformers.RobertaModel(
        transformers.RobertaConfig(**SIZES, pad_token_id=1)
    ),
    "distilbert": lambda: transformers.DistilBertModel(
        transformers.DistilBertConfig(
            vocab_size=99, dim=16, n_layers=3, n_heads=2, hidden_dim=24, max_position_embeddings=40
        )
    ),
    "minilm": lambda: transformers.BertModel(
        transformers.BertConfig(**SIZES | {"num_hidden_layers": 6}, pad_token_id=0)
    ),
    "mpnet": lambda: transformers.MPNetModel(transformers.MPNetConfig(**SIZES, pad_token_id=1)),
    "electra": lambda: transformers.ElectraModel(
        transformers.ElectraConfig(**SIZES, embedding_size=8, pad_token_id=0)
    ),
    "modernbert": lambda: transformers.ModernBertModel(
        transformers.ModernBertConfig(
            **SIZES
            | {
                "global_attn_every_n_layers": 2,
                "local_attention": 4,
                "pad_token_id": 0,
                "bos_token_id": 1,
                "eos_token_id": 2,
                "cls_token_id": 1,
                "sep_token_id": 2,
            }
        )
    ),
}


def make_model(family="bert"):
    """A random model, the same at every call, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = FAMILIES[family]().eval()
        with torch.no_grad():  # random biases and norms too, so that none hides a mistake
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def tokenize(texts, truncation=True, max_length=None):
    """Token ids of words by their letters, between 2 and 3."""
    ids = [[2, *(4 + sum(map(ord, word)) % 90 for word in text.split()), 3] for text in texts]
    return {"input_ids": [row[:max_length] for row in ids]}


def pair(family="bert"):
    """Make what ``TextModel`` takes as a name."""
    return make_model(family), tokenize
