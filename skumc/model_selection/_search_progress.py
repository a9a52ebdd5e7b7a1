"""Progress of a search over several processes, with the remaining time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from skumc._console import as_clock, write_line

_SECONDS_BETWEEN_LINES = 10.0


class SearchProgress:
    """Count finished fits in a file that all processes on a machine share, and write lines.

    A process on another machine, without the file, writes nothing.

    Parameters
    ----------
    verbose : int
        0 writes nothing; 1 writes a line at most every ten seconds and one at the end; 2 or more
        writes one per fit.
    file : path or None
        None writes nothing.
    clock : callable, default=time.time
        Function that returns the current time in seconds, the same in all processes.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     seconds = iter([0, 30, 60])
    ...     progress = SearchProgress(2, Path(folder, "progress"), lambda: next(seconds))
    ...     progress.begin(n_fits=2, work=3.0)
    ...     progress.report(1.0)
    ...     progress.report(2.0)
    search: 1 of 2 fits, 0:01:00 left
    search: 2 of 2 fits in 0:01:00
    """

    def __init__(
        self, verbose: int, file: Path | None, clock: Callable[[], float] = time.time
    ) -> None:
        self.verbose, self.file, self.clock = verbose, file, clock

    def begin(self, n_fits: int, work: float) -> None:
        """Set the number of fits and their total work, in any unit, and start the clock."""
        if self.verbose and self.file is not None:
            self.file.write_bytes(np.array([n_fits, work, self.clock()], dtype=float).tobytes())

    def report(self, work: float, found: bool = False) -> None:
        """Count a finished fit and write a line if one is due.

        Parameters
        ----------
        work : float
            Its part of the total work.
        found : bool, default=False
            Whether its scores are known from before; the time per work is that of the others.
        """
        if not self.verbose or self.file is None or not self.file.exists():
            return
        own = np.array([work, 0.0 if found else work, self.clock()], dtype=float)
        with open(self.file, "ab") as stream:  # short appends of several processes do not mix
            stream.write(own.tobytes())
            stream.flush()
            end = os.fstat(stream.fileno()).st_size
        records = np.frombuffer(self.file.read_bytes()[:end]).reshape(-1, 3)
        (n_fits, total, start), reports = records[0], records[1:]
        times = np.append(start, reports[:, 2])
        n_done, passed = len(reports), times[-1] - start
        periods = (times[-2:] - start) // _SECONDS_BETWEEN_LINES
        at_end = n_done >= n_fits
        if not (at_end or self.verbose > 1 or periods[0] < periods[1]):
            return
        line = f"search: {n_done} of {n_fits:.0f} fits"
        if at_end:
            line += f" in {as_clock(passed)}"
        elif reports[:, 1].any():
            left = passed * max(total - reports[:, 0].sum(), 0.0) / reports[:, 1].sum()
            line += f", {as_clock(left)} left"
        write_line(line)
