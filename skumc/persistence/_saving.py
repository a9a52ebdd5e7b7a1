"""Methods of a clusterer that write it to a folder and read it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skumc._devices import on_cpu, resolve_device
from skumc._parts import as_path
from skumc.persistence._saved_folder import (
    MANIFEST,
    content_errors,
    naming,
    only_file,
    read_manifest,
    write_folder,
)
from skumc.persistence._saved_state import check_parts, read_clusterer, write_clusterer
from skumc.persistence._weights import read_tensors


def _check_repo_id(repo_id: object) -> None:
    if not isinstance(repo_id, str | os.PathLike) or not os.fspath(repo_id):
        raise TypeError(f"Got repo_id={repo_id!r}, expected 'name' or 'owner/name'.")


class PersistenceMixin(BaseEstimator):
    """Save and load without pickle, locally and on the Hugging Face hub."""

    def save(
        self,
        folder: str | os.PathLike,
        *,
        include_text_model: bool = False,
        include_embedding: bool = False,
    ) -> None:
        """Write the fitted clusterer to a folder, completely or not at all.

        Parameters
        ----------
        folder : str or path
            Is created, with the folders above it. A saved clusterer there is replaced; a folder
            with anything else is refused.
        include_text_model : bool, default=False
            Whether the text model is written too. Otherwise its name and a fingerprint of its
            frozen layers are; fine-tuned layers and the tokenizer are written in any case.
        include_embedding : bool, default=False
            Whether ``embedding_`` and ``references_`` are written: the embedding of the training
            samples, and the summaries of at most 1,024 of them, without which ``score_samples``,
            ``is_outlier``, ``reject=`` and ``partial_fit`` do not work. Samples never are.

        Raises
        ------
        NotFittedError
            If the clusterer is not fitted.
        FileExistsError
            If the folder has files that are not those of a saved clusterer.
        OSError
            If the folder cannot be written; what was there stays.
        TypeError
            If ``folder`` is not a path, or another argument not a bool.
        ValueError
            If ``history_`` or the state of a module has something else than plain values and
            tensors, or there is no text model to write.

        See Also
        --------
        load : Read it.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> from skumc import UMCClusterer
        >>> X = np.random.default_rng(0).normal(size=(20, 3))
        >>> clusterer = UMCClusterer(2, pretrain_epochs=1, max_epochs=1, random_state=0).fit(X)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clusterer.save(folder)
        ...     loaded = UMCClusterer.load(folder)
        >>> (loaded.predict(X) == clusterer.labels_).all().item()
        True
        """
        check_is_fitted(self, "encoder_")
        target = as_path("folder", folder)
        for name, value in (
            ("include_text_model", include_text_model),
            ("include_embedding", include_embedding),
        ):
            if not isinstance(value, bool):
                raise TypeError(f"Got {name}={value!r}, expected True or False.")
        home = on_cpu(self)
        write_folder(
            target,
            lambda new: write_clusterer(home, new, include_text_model, include_embedding),
        )

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike,
        *,
        parts: Mapping[str, Any] | None = None,
        device: str | torch.device = "cpu",
    ) -> Self:
        """Read a clusterer that :meth:`save` wrote.

        Nothing in the folder is executed or imported, and nothing is downloaded unless the text
        model is one of the Hugging Face hub.

        Parameters
        ----------
        folder : str or path
        parts : dict of str to object, default=None
            Parts of your own by the name of their parameter, nested ones with two underscores:
            ``{"encoder": MyEncoder(), "losses__supcon": my_loss}``. The ``"text"`` model may be
            given in any case.
        device : str or torch.device, default="cpu"
            Device of the loaded clusterer, whatever the device that it was fitted on.

        Returns
        -------
        UMCClusterer
            Fitted; gives the same results bit for bit on the same machine. It has no
            ``embedding_`` unless that was saved.

        Raises
        ------
        SavedClustererError
            If the folder is not a saved clusterer, is damaged or has an unknown format, or the text
            model is another one than in ``fit``; a ValueError.
        ValueError
            If a part of your own is missing in ``parts``.
        TypeError
            If ``folder`` is not a path, or ``parts`` not a dict.
        OSError
            If a file cannot be read.
        """
        resolve_device(device)
        folder = Path(os.path.abspath(as_path("folder", folder)))
        manifest = read_manifest(folder)
        files, text = manifest["files"], None
        weights = only_file(files, folder, "weights-")
        if any(name.startswith("text-") for name in files):
            text = only_file(files, folder, "text-")
        with naming(folder / MANIFEST):
            given = check_parts(manifest.get("own"), parts)
        with naming(folder / MANIFEST), content_errors():
            return read_clusterer(cls, manifest, read_tensors(weights), text, given, device)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        include_text_model: bool = False,
        include_embedding: bool = False,
    ) -> str:
        """Save the fitted clusterer to a repository of the Hugging Face hub.

        Parameters
        ----------
        repo_id : str
            Name of the repository, which is created if there is none.
        private : bool, default=None
            Whether a new repository is private; None is the default of your account.
        token : str, default=None
            Token of the hub; None is the one that you are logged in with.
        include_text_model, include_embedding : bool, default=False
            See :meth:`save`.

        Returns
        -------
        str
            Address of the commit.
        """
        import huggingface_hub

        _check_repo_id(repo_id)
        hub = huggingface_hub.HfApi(token=token)
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / "clusterer"
            self.save(
                folder, include_text_model=include_text_model, include_embedding=include_embedding
            )
            name = hub.create_repo(repo_id, private=private, exist_ok=True).repo_id
            done = hub.upload_folder(
                repo_id=name,
                folder_path=folder,
                commit_message="Upload a clusterer of skumc",
                delete_patterns=["weights-*", "text-*"],
            )
        return str(done.commit_url)

    @classmethod
    def from_pretrained(
        cls,
        repo_id: str,
        *,
        revision: str | None = None,
        token: str | None = None,
        parts: Mapping[str, Any] | None = None,
        device: str | torch.device = "cpu",
    ) -> Self:
        """Load a clusterer from a repository of the Hugging Face hub, or from a folder.

        Parameters
        ----------
        repo_id : str
            Name of the repository, or a folder that :meth:`save` wrote.
        revision : str, default=None
            Commit, branch or tag. A commit is sure to stay the same.
        token : str, default=None
            Token of the hub; None is the one that you are logged in with.
        parts, device : see :meth:`load`

        Returns
        -------
        UMCClusterer
        """
        _check_repo_id(repo_id)
        if os.path.isdir(repo_id):
            return cls.load(repo_id, parts=parts, device=device)
        import huggingface_hub

        with tempfile.TemporaryDirectory() as folder:  # files, where the cache has links
            huggingface_hub.snapshot_download(
                repo_id,
                revision=revision,
                token=token,
                local_dir=folder,
                allow_patterns=[MANIFEST, "weights-*", "text-*"],
            )
            return cls.load(folder, parts=parts, device=device)
