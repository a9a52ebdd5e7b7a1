"""Checkpoints of a fit in a folder: whole files only, the last two and the best."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from skumc._warnings import warn_caller
from skumc.data._folders import digest, locked_folder, writable
from skumc.training._plain_values import NotPlainError, pack, unpack

_FORMAT = "1"
_ARGUMENT = "optimization__checkpoint_dir"
_WHAT = "checkpoints"
_FINISHED = "finished"
_PROBE = "epoch-probe"


class CheckpointFolder:
    """The checkpoints of one fit, a file per epoch.

    Parameters
    ----------
    folder : Path
    content : dict of str to str
        Fingerprints of all that a fit depends on, by name; a fit with others is not resumed.
    machine : dict of str to str
        Properties that the last bits of a result depend on; a difference costs a warning.

    Notes
    -----
    A file is a safetensors file with JSON in its metadata: reading it runs no code. It is written
    under another name, flushed to the disk and renamed in one step. Its digest tells a damaged
    one. ``finished`` marks the folder of a fit that has ended.
    """

    def __init__(
        self, folder: Path, content: Mapping[str, str], machine: Mapping[str, str]
    ) -> None:
        self._folder, self._content, self._machine = folder, dict(content), dict(machine)
        self._found: dict[str, Any] | None = None
        self._stays_unfinished = False

    @contextmanager
    def opened(self) -> Iterator[CheckpointFolder]:
        """Lock the folder, find the state to go on from; mark a fit that ends as finished.

        Raises
        ------
        OSError
            If the folder cannot be written to, or another fit uses it.
        ValueError
            If it holds checkpoints of a fit with other content that has not ended.
        """
        try:
            with locked_folder(self._folder, _WHAT, _ARGUMENT, timeout=0):
                self._start()
                yield self
                if not self._stays_unfinished:
                    self._write(_FINISHED, b"")
        except TimeoutError as error:
            raise OSError(
                f"Another fit writes its checkpoints to {self._folder} ({error}). Give each fit a "
                f"folder of its own as {_ARGUMENT}, or wait for the other one."
            ) from error

    def newest(self) -> dict[str, Any] | None:
        """Return the state of the newest checkpoint that is whole, once; None if there is none."""
        found, self._found = self._found, None
        return found

    def stay_unfinished(self) -> None:
        """Do not mark the fit as finished: it was interrupted."""
        self._stays_unfinished = True

    def write(self, saved: dict[str, Any]) -> None:
        """Write a checkpoint; one that cannot be written costs a warning."""
        number, best = len(saved["history"]), saved["best"]["place"]
        try:
            structure, tensors = pack(saved)
            self._write(_file_name(number), self._encoded(structure, tensors))
        except (NotPlainError, OSError) as error:
            warn_caller(
                f"Cannot write a checkpoint to {self._folder} ({error}): training goes on, and "
                "after a kill it would resume from the checkpoint before. Free some space, or "
                "keep the state of your own parts in numbers, arrays, lists and dicts."
            )
            return
        numbers = [n for n in self._numbers() if n <= number]
        kept = {*numbers[-2:], None if best is None else best + 1}
        self._remove(n for n in self._numbers() if n not in kept)

    def _start(self) -> None:
        with writable(self._folder, _WHAT, _ARGUMENT):
            for name in ("epoch-*.safetensors", _FINISHED, _PROBE):
                for leftover in self._folder.glob(f"{name}.part"):
                    leftover.unlink()
            self._write(_PROBE, b"")  # before training, not after its first epoch
            (self._folder / _PROBE).unlink()
            if (self._folder / _FINISHED).exists():
                self._remove(self._numbers())
                (self._folder / _FINISHED).unlink()
        for number in reversed(self._numbers()):
            path = self._folder / _file_name(number)
            try:
                texts, found = self._read(path)
            except _damages() as error:
                warn_caller(
                    f"The checkpoint {path} is damaged ({error!s:.100}) and is left out; the one "
                    "before is used, if there is any."
                )
                continue
            self._compare(path, texts)
            self._found = found
            return

    def _numbers(self) -> list[int]:
        names = (
            path.stem.removeprefix("epoch-") for path in self._folder.glob("epoch-*.safetensors")
        )
        return sorted(int(name) for name in names if name.isdigit())

    def _remove(self, numbers: Any) -> None:
        for number in numbers:
            (self._folder / _file_name(number)).unlink(missing_ok=True)

    def _write(self, name: str, content: bytes) -> None:
        """Write a file under another name, flush it to the disk, rename it."""
        part = self._folder / f"{name}.part"
        try:
            with open(part, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(part, self._folder / name)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        if hasattr(os, "O_DIRECTORY"):
            place = os.open(self._folder, os.O_DIRECTORY)
            try:
                os.fsync(place)
            finally:
                os.close(place)

    def _encoded(self, structure: Any, tensors: list[torch.Tensor]) -> bytes:
        from safetensors.torch import save

        texts = {
            "format": _FORMAT,
            "content": json.dumps(self._content),
            "machine": json.dumps(self._machine),
            "state": json.dumps(structure),
        }
        texts["digest"] = _digest(texts, tensors)
        return save({str(place): tensor for place, tensor in enumerate(tensors)}, texts)

    def _read(self, path: Path) -> tuple[dict[str, str], dict[str, Any]]:
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            texts = file.metadata() or {}
            tensors = [file.get_tensor(str(n)).clone() for n in range(len(list(file.keys())))]
        if texts.pop("digest") != _digest(texts, tensors):
            raise ValueError("its digest is another one")
        return texts, unpack(json.loads(texts["state"]), tensors)

    def _compare(self, path: Path, texts: Mapping[str, str]) -> None:
        """Refuse a checkpoint of another fit; warn of another machine."""
        before = json.loads(texts["content"]) | {"format of checkpoints": texts["format"]}
        now = self._content | {"format of checkpoints": _FORMAT}
        names = sorted(n for n in before.keys() | now if before.get(n) != now.get(n))
        if names:
            raise ValueError(
                f"{_ARGUMENT}={str(self._folder)!r} has checkpoints of a fit that has not ended "
                f"and that differs in: {', '.join(names)}. Fit with the same again to resume it; "
                "otherwise name another folder, or delete this one."
            )
        machine = json.loads(texts["machine"])
        changed = [
            f"{name} {machine.get(name)} and now {value}"
            for name, value in self._machine.items()
            if machine.get(name) != value
        ]
        if changed:
            warn_caller(
                f"The checkpoint {path} was written with {', '.join(changed)}: the result equals "
                "that of an undisturbed fit only up to rounding."
            )


def _file_name(number: int) -> str:
    return f"epoch-{number:05}.safetensors"


def _digest(texts: Mapping[str, str], tensors: list[torch.Tensor]) -> str:
    parts: list[bytes | str] = [text for _, text in sorted(texts.items())]
    for tensor in tensors:
        parts.append(f"{tensor.dtype} {tuple(tensor.shape)}")
        parts.append(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest(*parts)


def _damages() -> tuple[type[Exception], ...]:
    """List the errors of a file that is damaged, or is something other than a checkpoint."""
    from safetensors import SafetensorError

    malformed = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
    return OSError, SafetensorError, *malformed
