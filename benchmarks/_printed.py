"""The network of the method with all its stages, and nothing that the source does not have."""

from __future__ import annotations

from skumc.encoders import UMCEncoder


def printed_encoder(**parameters):
    """Specify the printed network, except for standardized features and absent modalities."""
    printed = {
        "hidden_width": 256,
        "guided_attention": True,
        "n_self_attention_layers": 2,
        "max_positions": None,
        "shortcuts": False,
    }
    return UMCEncoder(**printed | parameters)
