"""What X is: sequences of frames for each modality of each sample."""

from skumc.data._coerce import read_X, with_index
from skumc.data._container import MultimodalData
from skumc.data._ragged import Ragged, frame_chunks, sample_chunks

__all__ = ["MultimodalData", "Ragged", "frame_chunks", "read_X", "with_index", "sample_chunks"]
