"""Samples with several modalities: the container, and every form of X that becomes one.

``__all__`` names what users meet. The other names serve this package; its modules import them from
here.
"""

from skumc.data._container import MultimodalData
from skumc.data._folders import digest as digest
from skumc.data._folders import memory_folder as memory_folder
from skumc.data._folders import versioned as versioned
from skumc.data._frame_cache import FrameCache as FrameCache
from skumc.data._frame_store import FrameStore as FrameStore
from skumc.data._inference_batches import inference_batches as inference_batches
from skumc.data._missing import is_blank as is_blank
from skumc.data._ragged import Ragged
from skumc.data._ragged import sample_chunks as sample_chunks
from skumc.data._read_x import read_X as read_X
from skumc.data._read_x import with_index as with_index
from skumc.data._text import Strings as Strings
from skumc.data._text import TokenIds as TokenIds

__all__ = ["MultimodalData", "Ragged"]
