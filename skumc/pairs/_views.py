"""Views of a sample: subsets of its modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from skumc._parts import unknown_name_message

View: TypeAlias = tuple[str, ...]


def leave_one_out_views(names: Sequence[str], anchor: str) -> list[View]:
    """Return the full view and, for each non-anchor modality, a view without it.

    Parameters
    ----------
    names : sequence of str
        All modalities.
    anchor : str
        The modality that every view has.

    Returns
    -------
    list of tuple of str
        The visible modalities of each view, the full view first.

    Notes
    -----
    With one other modality the views are the full one and the anchor alone; with none the full
    view twice, which differ by dropout. With text, audio and video these are the three views of
    section 3.6.1 of the UMC methodology.

    Examples
    --------
    >>> leave_one_out_views(["text", "audio", "video"], "text")
    [('text', 'audio', 'video'), ('text', 'video'), ('text', 'audio')]
    """
    names = tuple(names)
    others = [name for name in names if name != anchor]
    if not others:
        return [names, names]
    return [names] + [tuple(n for n in names if n != left_out) for left_out in others]


def _single_views(names: Sequence[str], anchor: str, trusted: Mapping[str, bool]) -> list[View]:
    """Return the full view, and each trusted modality alone where there are several."""
    anchor_first = sorted(names, key=lambda name: name != anchor)
    alone: list[View] = [(name,) for name in anchor_first if trusted[name]]
    return [tuple(names), *(alone if len(alone) > 1 else [])]


def supervised_views(
    views: str | Sequence[Sequence[str]] | None,
    names: Sequence[str],
    anchor: str,
    trusted: Mapping[str, bool],
) -> list[View]:
    """Return the views in which the supervised step encodes each sample.

    Parameters
    ----------
    views : {"single", "leave_one_out", "full"}, sequence of sequences of str or None
        "single" is the full view and each trusted modality alone; "leave_one_out" is
        :func:`leave_one_out_views`; "full" is the full view only. A sequence names the visible
        modalities of each view. None is "single".
    names : sequence of str
        All modalities.
    anchor : str
        Name of the anchor modality.
    trusted : dict of str to bool
        Modalities to trust.

    Returns
    -------
    list of tuple of str
        The full view first; it is added where ``views`` does not begin with it.

    Raises
    ------
    TypeError
        If ``views`` is neither a str nor a list or tuple.
    ValueError
        If a view is empty or names an unknown modality.

    Examples
    --------
    >>> names = ["text", "audio", "video"]
    >>> supervised_views("single", names, "text", {"text": True, "audio": True, "video": False})
    [('text', 'audio', 'video'), ('text',), ('audio',)]
    >>> supervised_views([["audio"]], names, "text", {})
    [('text', 'audio', 'video'), ('audio',)]
    """
    full = tuple(names)
    if views is None or isinstance(views, str):
        kinds = {
            "single": lambda: _single_views(names, anchor, trusted),
            "leave_one_out": lambda: leave_one_out_views(names, anchor),
            "full": lambda: [full],
        }
        if views is not None and views not in kinds:
            raise ValueError(unknown_name_message("supervised_views", views, kinds))
        return kinds[views or "single"]()
    if not isinstance(views, list | tuple):
        raise TypeError(
            f"Got supervised_views={views!r}, expected None, a name, or a list of lists of "
            "modalities."
        )
    chosen = []
    for view in views:
        is_list = isinstance(view, list | tuple) and len(view) > 0
        if not is_list or any(name not in names for name in view):
            raise ValueError(
                f"Got supervised_views={views!r}, expected a list of lists of modalities out of "
                f"{list(names)}, none of them empty."
            )
        chosen.append(tuple(name for name in names if name in view))
    return chosen if chosen and chosen[0] == full else [full, *chosen]
