"""From a batch of frames to one embedding a sample."""

from skumc._packed import Sequences
from skumc.encoders._attention import MultiHeadAttention
from skumc.encoders._causal import CausalEncoder, CausalNetwork
from skumc.encoders._dual import DualProjection, LinearProjection
from skumc.encoders._fusion import ConcatenationFusion, GatedFusion
from skumc.encoders._guided import (
    AttentionPooling,
    GuidedStream,
    SelfAttention,
    TextGuidedFusion,
)
from skumc.encoders._output import (
    Batch,
    EncoderOutput,
    checked_output,
    encode_summaries,
    encode_views,
    hide_modalities,
)
from skumc.encoders._plain import ProjectionEncoder, ProjectionNetwork
from skumc.encoders._projection import (
    FrameStatistics,
    ModalityProjection,
    Standardization,
    masked_mean,
    segment_means,
)
from skumc.encoders._umc import UMCNetwork
from skumc.encoders._umc_encoder import UMCEncoder
from skumc.encoders._with_text import EncoderWithText

__all__ = [
    "AttentionPooling",
    "Batch",
    "CausalEncoder",
    "CausalNetwork",
    "ConcatenationFusion",
    "DualProjection",
    "EncoderOutput",
    "EncoderWithText",
    "FrameStatistics",
    "GatedFusion",
    "GuidedStream",
    "LinearProjection",
    "ModalityProjection",
    "MultiHeadAttention",
    "ProjectionEncoder",
    "ProjectionNetwork",
    "SelfAttention",
    "Sequences",
    "Standardization",
    "TextGuidedFusion",
    "UMCEncoder",
    "UMCNetwork",
    "checked_output",
    "encode_summaries",
    "encode_views",
    "hide_modalities",
    "masked_mean",
    "segment_means",
]
