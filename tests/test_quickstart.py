"""The quickstart: details of its fit, and its command."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from skumc.losses import SeparationLoss
from skumc.training import GradientNorms

EXAMPLE = Path(__file__).parents[1] / "examples" / "quickstart.py"


@pytest.fixture(scope="module")
def quickstart():
    spec = importlib.util.spec_from_file_location("quickstart", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_every_loss_moves_the_encoder_and_a_later_epoch_is_kept(quickstart):
    X, _, _, train, _ = quickstart.load_views()
    # centers soon exceed the default margin, beyond which separation has no gradient
    losses = {"separation": SeparationLoss(margin=2.0)}
    history = quickstart.fit_umc(
        X[train], seed=quickstart.SEEDS[0], losses=losses, callbacks=[GradientNorms()]
    ).history_
    main = history.phase("main")
    for name in ("supcon", "contrastive", "compactness", "separation"):
        norms = np.array(main[:-1, f"gradient_{name}"], dtype=float)
        assert np.nanmax(norms) > 0, name
    assert history.phase("pretrain")[0, "gradient_infonce"] > 0
    assert next(record["epoch"] for record in main if record["restored"]) > 0


@pytest.mark.slow
def test_command_prints_both_methods_and_writes_pictures(tmp_path):
    # the real command on a fraction of its work
    code = (
        "import sys, runpy, skumc._clusterer as c;"
        "fit = c.UMCClusterer.fit;"
        "c.UMCClusterer.fit = lambda self, X, y=None:"
        " fit(self.set_params(pretrain_epochs=1, max_epochs=2), X);"
        f"sys.argv = ['quickstart', '--output', {str(tmp_path)!r}];"
        f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = done.stdout.split("held-out samples")[1].splitlines()
    assert table[1].split() == ["NMI", "ARI", "ACC", "FMI"]
    assert table[2].startswith("KMeans") and table[3].startswith("UMCClusterer")
    assert table[2].count("±") == table[3].count("±") == 4
    for name in ("embedding.png", "training.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
