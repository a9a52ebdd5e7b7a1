"""Lines that tell how far training is."""

from __future__ import annotations

from typing import Any

from skumc._console import as_clock, write_line


class Progress:
    """Write one line an epoch, with the time that remains, where ``verbose`` is set.

    Parameters
    ----------
    verbose : int
        0 writes nothing; k writes every k-th epoch's line, and each phase's last.
    n_epochs : dict of str to int
        Epochs of each phase, in order.
    """

    _shown = {"loss_total": "loss", "monitor": "monitor", "threshold": "threshold"}

    def __init__(self, verbose: int, n_epochs: dict[str, int]) -> None:
        self._verbose = verbose
        self._n_epochs = n_epochs

    def report(self, record: dict[str, Any]) -> None:
        """Write the line of an epoch's record."""
        if not self._verbose:
            return
        phase, epoch = record["phase"], record["epoch"] + 1
        n_epochs = self._n_epochs[phase]
        if epoch % self._verbose and epoch < n_epochs:
            return
        step = f"{epoch}/{n_epochs}" if epoch <= n_epochs else "end"
        values = "  ".join(
            f"{label} {record[key]:.4f}" for key, label in self._shown.items() if key in record
        )
        left = as_clock(record["seconds"] * max(n_epochs - epoch, 0))
        write_line(f"{phase} {step}  {values}  {left} left in this phase")
