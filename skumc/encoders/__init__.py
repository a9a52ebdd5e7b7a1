"""From a batch of frames to one embedding per sample."""

from skumc._sequences import Sequences
from skumc.encoders._attention import MultiHeadAttention
from skumc.encoders._batch import Batch, EncoderOutput, RepeatableBatches, hide_modalities
from skumc.encoders._causal_encoder import CausalEncoder, CausalNetwork
from skumc.encoders._contract import (
    Encoder,
    EncoderSpecification,
    OptionalEncoderMethods,
    checked_output,
    encode_summaries,
    encode_views,
)
from skumc.encoders._dual_projection import DualProjection, LinearProjection
from skumc.encoders._fusion import ConcatenationFusion, GatedFusion
from skumc.encoders._guided_fusion import GuidedStream, TextGuidedFusion
from skumc.encoders._pooling import (
    AttentionPooling,
    log_deviations,
    masked_mean,
    segment_means,
)
from skumc.encoders._projection import ModalityProjection
from skumc.encoders._projection_encoder import ProjectionEncoder, ProjectionNetwork
from skumc.encoders._self_attention import SelfAttention
from skumc.encoders._statistics import FrameStatistics, Standardization
from skumc.encoders._umc_encoder import UMCEncoder
from skumc.encoders._umc_network import UMCNetwork
from skumc.encoders._with_text import EncoderWithText

__all__ = [
    "AttentionPooling",
    "Batch",
    "CausalEncoder",
    "CausalNetwork",
    "ConcatenationFusion",
    "DualProjection",
    "Encoder",
    "EncoderOutput",
    "EncoderSpecification",
    "EncoderWithText",
    "FrameStatistics",
    "GatedFusion",
    "GuidedStream",
    "LinearProjection",
    "ModalityProjection",
    "MultiHeadAttention",
    "OptionalEncoderMethods",
    "ProjectionEncoder",
    "ProjectionNetwork",
    "RepeatableBatches",
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
    "log_deviations",
    "masked_mean",
    "segment_means",
]
