"""The folder of a saved clusterer: written next to its place and moved there in one step."""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from skumc.persistence import _strict_json
from skumc.persistence._saved_error import SavedClustererError
from skumc.persistence._weights import check_file, file_hash

MANIFEST, CARD = "skumc.json", "README.md"
FORMAT, FORMAT_VERSION = "skumc clusterer", 1
_DIGITS = 12  # of the checksum in a name
_OURS = re.compile(rf"(weights-[0-9a-f]{{{_DIGITS}}}\.safetensors)|(text-[0-9a-f]{{{_DIGITS}}})")
_FILE = re.compile(
    rf"weights-[0-9a-f]{{{_DIGITS}}}\.safetensors"
    rf"|text-[0-9a-f]{{{_DIGITS}}}/[A-Za-z0-9][A-Za-z0-9_.-]{{0,100}}"
)
_MAX_FILES = 1000
_LEFTOVER_SECONDS = 3600  # after which an unfinished folder is that of a killed process


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _synchronized(folder: Path) -> None:
    """Have the files of a folder, and their names, on the disk."""
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in [*_files(folder), *folders]:
        with suppress(PermissionError):  # Windows opens no folders
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def foreign_files(folder: Path) -> list[str]:
    """List what a folder has and no :meth:`save` writes; all of it if it has no manifest."""
    names = sorted(path.name for path in folder.iterdir())
    if MANIFEST not in names:
        return names
    return [name for name in names if name not in (MANIFEST, CARD) and not _OURS.fullmatch(name)]


def _check_target(target: Path) -> None:
    """Refuse to replace anything but a saved clusterer or an empty folder."""
    if not target.exists() and not target.is_symlink():
        return
    if not target.is_dir():
        raise FileExistsError(f"{target} is a file, expected a folder. Choose another name.")
    foreign = foreign_files(target)
    if foreign:
        raise FileExistsError(
            f"{target} has files that are not those of a saved clusterer: "
            f"{', '.join(map(repr, foreign[:3]))}. Choose another folder, or move them away."
        )


def _remove_leftovers(target: Path) -> None:
    """Remove unfinished folders of killed processes."""
    for path in target.parent.glob(f".{target.name}.*.partial"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _named_by_content(folder: Path) -> dict[str, dict[str, Any]]:
    """Put checksums into the names of files, and list the files."""
    weights, text = folder / "weights.safetensors", folder / "text"
    weights.rename(folder / f"weights-{file_hash(weights)[:_DIGITS]}.safetensors")
    if text.is_dir():
        content = " ".join(f"{path.name} {file_hash(path)}" for path in _files(text))
        digest = _strict_json.hashlib.sha256(content.encode()).hexdigest()
        text.rename(folder / f"text-{digest[:_DIGITS]}")
    return {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": file_hash(path),
        }
        for path in _files(folder)
        if path.name != CARD
    }


def write_folder(target: Path, write: Callable[[Path], dict[str, Any]]) -> None:
    """Write a folder, or replace a saved clusterer, completely or not at all.

    Parameters
    ----------
    target : Path
    write : callable
        Writes ``weights.safetensors``, ``README.md`` and perhaps a folder ``text`` into an empty
        folder, and returns what the manifest says beyond format and files.

    Raises
    ------
    FileExistsError
        If ``target`` is something else than a saved clusterer.
    OSError
        If it cannot be written.

    Notes
    -----
    A new folder is renamed to its place. In a folder that is there, files are named by their
    content, so that those of two clusterers can lie side by side; what counts is the manifest,
    which is replaced in one step. Files that it no longer lists are deleted after that.
    """
    target = target.resolve()
    _check_target(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target)
    new = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.partial"
    new.mkdir()
    try:
        content = write(new)
        files = _named_by_content(new)
        manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, **content, "files": files}
        written = _strict_json.dumps(manifest)
        too_much = _strict_json.excess(written)
        if too_much is not None:
            raise ValueError(
                f"Parameters and history of the clusterer have {too_much}. Shorten history_ first."
            )
        (new / MANIFEST).write_bytes(written)
        for path in _files(new):  # safetensors writes files that only their owner can read
            path.chmod((new / MANIFEST).stat().st_mode)
        _synchronized(new)
        _move(new, target, [*files, CARD])
    finally:
        shutil.rmtree(new, ignore_errors=True)
    _synchronized(target)


def _move(new: Path, target: Path, files: list[str]) -> None:
    """Move a complete folder to its place."""
    try:
        os.rename(new, target)  # to no folder, or an empty one
    except OSError:
        if not (target / MANIFEST).exists():
            raise
    else:
        return
    for name in files:
        (target / name).parent.mkdir(exist_ok=True)
        os.replace(new / name, target / name)
    _synchronized(target)
    os.replace(new / MANIFEST, target / MANIFEST)
    kept = {MANIFEST, CARD, *(name.split("/")[0] for name in files)}
    for path in target.iterdir():
        if path.name not in kept and _OURS.fullmatch(path.name):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check the manifest of a folder, and the files that it lists.

    Returns
    -------
    dict of str to object

    Raises
    ------
    SavedClustererError
        If the folder is not a saved clusterer, or is damaged.
    OSError
        If the folder or a file in it cannot be read.
    """
    if not folder.is_dir():
        kind = NotADirectoryError if folder.exists() else FileNotFoundError
        raise kind(f"{folder} is not a folder, expected one that UMCClusterer.save wrote.")
    path = folder / MANIFEST
    try:
        manifest = _strict_json.loads(_strict_json.read_small(path), path)
    except FileNotFoundError as error:
        raise SavedClustererError(
            f"{folder} has no {MANIFEST}: it is not a saved clusterer, or save was interrupted. "
            "Pass a folder that UMCClusterer.save wrote."
        ) from error
    _check_format(manifest, path)
    _check_files(folder, manifest.get("files"), path)
    return manifest


def _check_format(manifest: dict[str, Any], path: Path) -> None:
    version = manifest.get("format_version")
    if manifest.get("format") != FORMAT or not isinstance(version, int) or version < 1:
        raise SavedClustererError(
            f"{path} does not describe a clusterer of skumc. Pass a folder that UMCClusterer.save "
            "wrote."
        )
    if version > FORMAT_VERSION:
        raise SavedClustererError(
            f"{path} has format {version}, but this version of skumc reads formats up to "
            f"{FORMAT_VERSION}. Update skumc."
        )


def _check_files(folder: Path, files: Any, path: Path) -> None:
    """Check names, sizes and checksums, and that folders have no other file."""
    damaged = SavedClustererError(f"{path} has no valid list of files. {_strict_json.DAMAGED}")
    if not isinstance(files, dict) or not 0 < len(files) <= _MAX_FILES:
        raise damaged
    for name, facts in files.items():
        if not _FILE.fullmatch(name):
            raise SavedClustererError(
                f"{path} lists {name!r:.100}, not the name of a file of a saved clusterer. "
                f"{_strict_json.DAMAGED}"
            )
        if not isinstance(facts, dict) or set(facts) != {"bytes", "sha256"}:
            raise damaged
        above = (folder / name).parent
        if above.is_symlink():
            raise SavedClustererError(
                f"{above} is a symbolic link, expected a folder. Copy the folder with its files."
            )
        check_file(folder / name, facts["bytes"], facts["sha256"])
    for above in {(folder / name).parent for name in files} - {folder}:
        listed = {Path(name).name for name in files if (folder / name).parent == above}
        unlisted = sorted({entry.name for entry in above.iterdir()} - listed)
        if unlisted:
            raise SavedClustererError(
                f"{above / unlisted[0]} is not listed in {MANIFEST}. Delete it if you trust the "
                "rest of the folder."
            )


def only_file(files: dict[str, Any], folder: Path, pattern: str) -> Path:
    """Find the one listed file, or the one folder of listed files, with a name like this."""
    found = {name.split("/")[0] for name in files if name.startswith(pattern)}
    if len(found) != 1:
        raise SavedClustererError(
            f"{folder / MANIFEST} lists {len(found)} entries {pattern}*, expected one. "
            f"{_strict_json.DAMAGED}"
        )
    return folder / found.pop()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have errors about the content of a file name it."""
    try:
        yield
    except SavedClustererError as error:
        if str(path.parent) in str(error):
            raise
        raise SavedClustererError(f"{path}: {error}. {_strict_json.DAMAGED}") from error
    except RecursionError as error:
        raise SavedClustererError(f"{path} is nested too deeply. {_strict_json.DAMAGED}") from error


@contextmanager
def content_errors() -> Iterator[None]:
    """Have each error about wrong content be one of its kind; those of files stay as they are."""
    try:
        yield
    except (SavedClustererError, OSError, ImportError):
        raise
    except Exception as error:
        raise SavedClustererError(f"{type(error).__name__}: {error!s:.300}") from error
