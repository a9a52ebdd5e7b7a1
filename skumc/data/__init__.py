"""What X is: sequences of frames for each modality of each sample."""

from skumc.data._batches import inference_batches
from skumc.data._coerce import read_X, with_index
from skumc.data._container import MultimodalData
from skumc.data._frame_store import FrameStore, digest
from skumc.data._ragged import Ragged, frame_chunks, sample_chunks
from skumc.data._text import Strings, TokenIds

__all__ = [
    "FrameStore",
    "MultimodalData",
    "Ragged",
    "Strings",
    "TokenIds",
    "digest",
    "frame_chunks",
    "inference_batches",
    "read_X",
    "sample_chunks",
    "with_index",
]
