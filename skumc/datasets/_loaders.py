"""Loaders of published data sets with multimodal intents and dialogue acts."""

from __future__ import annotations

import os

from sklearn.utils import Bunch

from skumc.datasets._published_layouts import IEMOCAP_DA, MELD_DA, MINTREC, load_published


def load_mintrec(
    folder: str | os.PathLike,
    *,
    text_limit: int | None = 30,
    video_limit: int | None = 230,
    audio_limit: int | None = 480,
    on_missing: str = "raise",
    cache_folder: str | os.PathLike | None = None,
) -> Bunch:
    r"""Load MIntRec, utterances with 20 intents [1]_, from the authors' files.

    Nothing is downloaded. The first call converts the features to memory-mapped arrays, which
    later calls open in less than a second.

    Parameters
    ----------
    folder : path
        Folder with ``train.tsv``, ``dev.tsv``, ``test.tsv``, ``video_data/swin_feats.pkl`` and
        ``audio_data/wavlm_feats.pkl``; see Notes.
    text_limit : int or None, default=30
        Number of tokens after which a text model should cut a sentence. Sentences are not cut
        here, since tokens depend on the model; the number is returned as ``text_limit``, to be
        passed as ``TextModel(max_length=)``.
    video_limit : int or None, default=230
        Number of video frames per utterance after which the rest is cut off; None keeps all.
    audio_limit : int or None, default=480
        Number of audio frames per utterance after which the rest is cut off; None keeps all.
    on_missing : {"raise", "missing"}, default="raise"
        Treatment of an utterance of the tables without frames in a pickle: its key is not there,
        or its array is empty or NaN throughout. "missing" loads it without that modality.
    cache_folder : path, default=None
        Folder for the converted features; ``folder/.skumc`` by default. They are float32, take at
        most as much space as the pickles, and may be deleted whenever they are not in use.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with these attributes.

        data : MultimodalData of shape (n_samples, 3)
            Modalities "text" (sentences), "audio" and "video" (frames x width, float32); the
            samples are in the order of the tables, train, dev, test. Its ``index`` holds the
            utterances' keys.
        target : ndarray of int, shape (n_samples,)
            Class of each sample, an index into ``target_names``.
        target_names : ndarray of str, shape (n_classes,)
            Class names of the three tables together, in alphabetical order.
        splits : dict of str to ndarray
            Row numbers of "train", "dev" and "test".
        text_limit : int or None
            As passed.
        DESCR : str
            Description of the data set and its source.

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    UnsafePickleError
        If a pickle asks for more than numbers, strings, lists, dicts and arrays of numbers;
        nothing of it has been run.
    DatasetError
        If a file is truncated or damaged, a row lacks cells or its label, a key occurs twice in the
        tables or is missing in a pickle, frames differ in width from those of the other keys, or
        values are infinite or NaN in part. The message names the file and the key.
    OSError
        If the cache folder cannot be written to.
    ValueError
        If a limit or ``on_missing`` is none of the above. The dataset errors are ValueErrors too.

    See Also
    --------
    load_meld_da : Dialogue acts of conversations with several speakers.
    load_iemocap_da : Dialogue acts of conversations between two actors.
    make_multimodal_blobs : Synthetic data of the same kind.

    Notes
    -----
    The tables are UTF-8 with a header line; cells are separated by tabs and not quoted. Columns,
    counted from 0: the key is columns 0, 1 and 2 joined by ``_``, the text is column 3, the label
    column 4. A pickle holds a dict from key to frames, (n_frames, width) or (n_frames, 1, width).
    Its keys that are not in the tables are left out. An utterance with a blank text is loaded
    without the modality "text".

    A conversion is valid as long as size and modification time of the pickle, and the keys of the
    tables, stay the same; otherwise the next call converts again.

    References
    ----------
    .. [1] H. Zhang, H. Xu, X. Wang, Q. Zhou, S. Zhao, J. Teng (2022). MIntRec: a new dataset for
       multimodal intent recognition. ACM International Conference on Multimedia, 1688-1697.

    Examples
    --------
    Two utterances in the layout of the published files:

    >>> import pickle, tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from skumc.datasets import load_mintrec
    >>> temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    >>> folder = Path(temporary.name)
    >>> header = "season\tepisode\tclip\ttext\tlabel\n"
    >>> rows = {"train": "S1\tE1\t7\tthanks\tThank\n", "dev": "", "test": "S1\tE2\t3\thi\tGreet\n"}
    >>> for split, row in rows.items():
    ...     _ = (folder / f"{split}.tsv").write_text(header + row)
    >>> for name, width in [("audio_data/wavlm_feats.pkl", 3), ("video_data/swin_feats.pkl", 4)]:
    ...     frames = {"S1_E1_7": np.zeros((5, width)), "S1_E2_3": np.ones((2, 1, width))}
    ...     (folder / name).parent.mkdir()
    ...     _ = (folder / name).write_bytes(pickle.dumps(frames))
    >>> mintrec = load_mintrec(folder, audio_limit=4)
    >>> mintrec.data
    MultimodalData(2 samples; widths text: None, audio: 3, video: 4)
    >>> mintrec.data.lengths.tolist()
    [[1, 4, 5], [1, 2, 2]]
    >>> mintrec.target_names[mintrec.target].tolist(), mintrec.splits["test"].tolist()
    (['Thank', 'Greet'], [1])
    >>> temporary.cleanup()
    """
    limits = {"audio": audio_limit, "video": video_limit}
    return load_published(folder, MINTREC, text_limit, limits, on_missing, cache_folder)


def load_meld_da(
    folder: str | os.PathLike,
    *,
    text_limit: int | None = 70,
    video_limit: int | None = 250,
    audio_limit: int | None = 520,
    on_missing: str = "raise",
    cache_folder: str | os.PathLike | None = None,
) -> Bunch:
    r"""Load MELD-DA, utterances with 12 dialogue acts [1]_, in the layout of [2]_.

    Nothing is downloaded. The first call converts the features to memory-mapped arrays, which
    later calls open in less than a second.

    Parameters
    ----------
    folder : path
        Folder with ``train.tsv``, ``dev.tsv``, ``test.tsv``, ``video_data/swin_feats.pkl`` and
        ``audio_data/wavlm_feats.pkl``; see Notes.
    text_limit : int or None, default=70
        Number of tokens after which a text model should cut a sentence; returned as
        ``text_limit``, to be passed as ``TextModel(max_length=)``.
    video_limit : int or None, default=250
        Number of video frames per utterance after which the rest is cut off; None keeps all.
    audio_limit : int or None, default=520
        Number of audio frames per utterance after which the rest is cut off; None keeps all.
    on_missing : {"raise", "missing"}, default="raise"
        Treatment of an utterance of the tables without frames in a pickle: its key is not there,
        or its array is empty or NaN throughout. "missing" loads it without that modality.
    cache_folder : path, default=None
        Folder for the converted features; ``folder/.skumc`` by default.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        ``data`` (MultimodalData with "text", "audio" and "video"), ``target``, ``target_names``,
        ``splits``, ``text_limit`` and ``DESCR``, as :func:`load_mintrec` describes them.

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    UnsafePickleError
        If a pickle asks for more than numbers, strings, lists, dicts and arrays of numbers.
    DatasetError
        If a file does not follow the layout; the message names the file and the key.
    OSError
        If the cache folder cannot be written to.
    ValueError
        If a limit or ``on_missing`` is none of the above.

    See Also
    --------
    load_mintrec : Describes files, errors and conversion, which are the same.
    load_iemocap_da : Dialogue acts of conversations between two actors.

    Notes
    -----
    Columns of the tables, counted from 0: the key is columns 0 and 1 joined by ``_``, the text is
    column 2, the label column 3.

    References
    ----------
    .. [1] T. Saha, A. Patra, S. Saha, P. Bhattacharyya (2020). Towards emotion-aided multi-modal
       dialogue act classification. Annual Meeting of the Association for Computational
       Linguistics, 4361-4372.
    .. [2] H. Zhang, H. Xu, F. Long, X. Wang, K. Gao (2024). Unsupervised multimodal clustering for
       semantics discovery in multimodal utterances. Annual Meeting of the Association for
       Computational Linguistics.

    Examples
    --------
    One utterance in the layout of the published files:

    >>> import pickle, tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from skumc.datasets import load_meld_da
    >>> temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    >>> folder = Path(temporary.name)
    >>> header = "dialogue\tutterance\ttext\tlabel\n"
    >>> rows = {"train": "12\t3\tsee you\tg\n"}
    >>> for split in ("train", "dev", "test"):
    ...     _ = (folder / f"{split}.tsv").write_text(header + rows.get(split, ""))
    >>> for name, width in [("audio_data/wavlm_feats.pkl", 3), ("video_data/swin_feats.pkl", 4)]:
    ...     (folder / name).parent.mkdir()
    ...     _ = (folder / name).write_bytes(pickle.dumps({"12_3": np.ones((5, width))}))
    >>> loaded = load_meld_da(folder)
    >>> loaded.data.index.tolist(), loaded.data.lengths.tolist(), loaded.target_names.tolist()
    (['12_3'], [[1, 5, 5]], ['g'])
    >>> temporary.cleanup()
    """
    limits = {"audio": audio_limit, "video": video_limit}
    return load_published(folder, MELD_DA, text_limit, limits, on_missing, cache_folder)


def load_iemocap_da(
    folder: str | os.PathLike,
    *,
    text_limit: int | None = 44,
    video_limit: int | None = 230,
    audio_limit: int | None = 380,
    on_missing: str = "raise",
    cache_folder: str | os.PathLike | None = None,
) -> Bunch:
    r"""Load IEMOCAP-DA, utterances with 12 dialogue acts [1]_, in the layout of [2]_.

    Nothing is downloaded. The first call converts the features to memory-mapped arrays, which
    later calls open in less than a second.

    Parameters
    ----------
    folder : path
        Folder with ``train.tsv``, ``dev.tsv``, ``test.tsv``, ``video_data/swin_feats.pkl`` and
        ``audio_data/wavlm_feats.pkl``; see Notes.
    text_limit : int or None, default=44
        Number of tokens after which a text model should cut a sentence; returned as
        ``text_limit``, to be passed as ``TextModel(max_length=)``.
    video_limit : int or None, default=230
        Number of video frames per utterance after which the rest is cut off; None keeps all.
    audio_limit : int or None, default=380
        Number of audio frames per utterance after which the rest is cut off; None keeps all.
    on_missing : {"raise", "missing"}, default="raise"
        Treatment of an utterance of the tables without frames in a pickle: its key is not there,
        or its array is empty or NaN throughout. "missing" loads it without that modality.
    cache_folder : path, default=None
        Folder for the converted features; ``folder/.skumc`` by default.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        ``data`` (MultimodalData with "text", "audio" and "video"), ``target``, ``target_names``,
        ``splits``, ``text_limit`` and ``DESCR``, as :func:`load_mintrec` describes them.

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    UnsafePickleError
        If a pickle asks for more than numbers, strings, lists, dicts and arrays of numbers.
    DatasetError
        If a file does not follow the layout; the message names the file and the key.
    OSError
        If the cache folder cannot be written to.
    ValueError
        If a limit or ``on_missing`` is none of the above.

    See Also
    --------
    load_mintrec : Describes files, errors and conversion, which are the same.
    load_meld_da : Dialogue acts of conversations with several speakers.

    Notes
    -----
    Columns of the tables, counted from 0: the key is column 0, the text column 1, the label
    column 2.

    References
    ----------
    .. [1] T. Saha, A. Patra, S. Saha, P. Bhattacharyya (2020). Towards emotion-aided multi-modal
       dialogue act classification. Annual Meeting of the Association for Computational
       Linguistics, 4361-4372.
    .. [2] H. Zhang, H. Xu, F. Long, X. Wang, K. Gao (2024). Unsupervised multimodal clustering for
       semantics discovery in multimodal utterances. Annual Meeting of the Association for
       Computational Linguistics.

    Examples
    --------
    One utterance in the layout of the published files:

    >>> import pickle, tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from skumc.datasets import load_iemocap_da
    >>> temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    >>> folder = Path(temporary.name)
    >>> header = "key\ttext\tlabel\n"
    >>> rows = {"test": "Ses1_F0\twho is it?\tq\n"}
    >>> for split in ("train", "dev", "test"):
    ...     _ = (folder / f"{split}.tsv").write_text(header + rows.get(split, ""))
    >>> for name, width in [("audio_data/wavlm_feats.pkl", 3), ("video_data/swin_feats.pkl", 4)]:
    ...     (folder / name).parent.mkdir()
    ...     _ = (folder / name).write_bytes(pickle.dumps({"Ses1_F0": np.ones((5, width))}))
    >>> loaded = load_iemocap_da(folder)
    >>> loaded.data.index.tolist(), loaded.data.lengths.tolist(), loaded.target_names.tolist()
    (['Ses1_F0'], [[1, 5, 5]], ['q'])
    >>> temporary.cleanup()
    """
    limits = {"audio": audio_limit, "video": video_limit}
    return load_published(folder, IEMOCAP_DA, text_limit, limits, on_missing, cache_folder)
