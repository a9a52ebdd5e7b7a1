"""Pretraining and the progressive loop: hooks, optimization, monitor, history."""

from skumc.training._callbacks import Callback, GradientNorms, ProgressLines
from skumc.training._history import History
from skumc.training._losses import OutputGradient, StepReport
from skumc.training._memory import MemoryEstimate
from skumc.training._monitor import ModularityMonitor, SilhouetteMonitor
from skumc.training._optimization import Optimization
from skumc.training._state import TrainingState

__all__ = [
    "Callback",
    "GradientNorms",
    "History",
    "MemoryEstimate",
    "ModularityMonitor",
    "Optimization",
    "OutputGradient",
    "ProgressLines",
    "SilhouetteMonitor",
    "StepReport",
    "TrainingState",
]
