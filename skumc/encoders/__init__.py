"""From a batch of frames to one embedding a sample."""

from skumc.encoders._fusion import GatedFusion
from skumc.encoders._output import Batch, EncoderOutput, encode_views, hide_modalities
from skumc.encoders._plain import ProjectionEncoder, ProjectionNetwork
from skumc.encoders._projection import FrameStatistics, ModalityProjection, masked_mean

__all__ = [
    "Batch",
    "EncoderOutput",
    "FrameStatistics",
    "GatedFusion",
    "ModalityProjection",
    "ProjectionEncoder",
    "ProjectionNetwork",
    "encode_views",
    "hide_modalities",
    "masked_mean",
]
