"""Progress lines on standard output, with the remaining time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

_SECONDS_BETWEEN_LINES = 10.0


def as_clock(seconds: float) -> str:
    """Format a duration as hours, minutes and seconds.

    Examples
    --------
    >>> as_clock(3671.4)
    '1:01:11'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def write_line(line: str) -> None:
    """Write a line and flush it, so that it appears at once even in a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class ExtractionProgress:
    """Report the progress of a long extraction, with an estimate of the remaining time.

    Parameters
    ----------
    verbose : int
        0 writes nothing; 1 writes a line at most every ten seconds and one at the end; 2 or more
        writes one per batch.
    what : str
        Start of each line, such as the modality.
    n_samples : int
        Number of samples to encode.
    work : int
        Total size of these samples, in any unit; the remaining time is proportional to it.
    unit : str, default="clips"
        Plural noun for the samples.
    clock : callable, default=time.monotonic
        Function that returns the current time in seconds.

    Examples
    --------
    >>> seconds = iter([0, 30, 60])
    >>> progress = ExtractionProgress(1, "audio", 4, work=40, clock=lambda: next(seconds))
    >>> progress.report(n_samples=1, work=10)
    audio: 1 of 4 clips, 0:01:30 left
    >>> progress.report(n_samples=3, work=30)
    audio: 4 of 4 clips in 0:01:00
    """

    def __init__(
        self,
        verbose: int,
        what: str,
        n_samples: int,
        work: int,
        unit: str = "clips",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._verbose, self._what, self._unit, self._clock = verbose, what, unit, clock
        self._n_samples, self._work = n_samples, work
        self._n_done = self._work_done = 0
        self._start = self._last_line = clock()

    def report(self, n_samples: int, work: int) -> None:
        """Count a finished batch and write a line if one is due.

        Parameters
        ----------
        n_samples : int
            Number of samples in the batch.
        work : int
            Total size of these samples.
        """
        self._n_done += n_samples
        self._work_done += work
        if not self._verbose:
            return
        now, at_end = self._clock(), self._n_done >= self._n_samples
        due = now - self._last_line >= _SECONDS_BETWEEN_LINES
        if not (due or at_end or self._verbose > 1):
            return
        self._last_line, passed = now, now - self._start
        line = f"{self._what}: {self._n_done} of {self._n_samples} {self._unit}"
        if at_end:
            line += f" in {as_clock(passed)}"
        else:
            left = passed * (self._work - self._work_done) / max(self._work_done, 1)
            line += f", {as_clock(left)} left"
        write_line(line)
