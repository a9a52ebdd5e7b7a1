"""Errors about the files of a data set."""

from __future__ import annotations

import pickle


class DatasetError(ValueError):
    """A file of a data set does not follow its layout; the message names file and place.

    Examples
    --------
    >>> issubclass(DatasetError, ValueError)
    True
    """


class UnsafePickleError(DatasetError, pickle.UnpicklingError):
    """A pickle asks for more than numbers, strings, lists, dicts and arrays of numbers.

    It is raised before any of it is looked up, imported or run.

    Examples
    --------
    >>> import pickle
    >>> issubclass(UnsafePickleError, pickle.UnpicklingError)
    True
    """


class Refused(Exception):
    """The pickle asks for what is not plain data; the text continues "The pickle ..."."""


class Repeated(Exception):
    """A dict of the pickle has the key, which is the only argument, twice."""
