"""Hypothesis profiles: quick by default, ci if CI is set, any by HYPOTHESIS_PROFILE."""

import os

import pytest
from hypothesis import settings

# No deadlines: a first call may load a library, and shared machines may pause.
settings.register_profile("quick", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True)
settings.register_profile("few", max_examples=15, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=500, deadline=None)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "quick")
)


@pytest.fixture
def no_trial(monkeypatch):
    """For tests that look at the calls of own parts: they are not tried before training."""
    for name in ("rehearse", "rehearse_encoder"):
        monkeypatch.setattr(f"skumc.training._trainer.{name}", lambda *parts: None)
