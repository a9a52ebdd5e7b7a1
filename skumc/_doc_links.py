"""Links from scikit-learn's HTML of an estimator to its page in this documentation."""

from __future__ import annotations


class DocumentedMixin:
    """Mixin of estimators with a page on the API reference.

    scikit-learn 1.9 shows the description of parameters and fitted attributes, as numpydoc has it,
    where there is a link. The link is relative: it leads from the pages of the guide and the
    gallery to those of the reference.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> UMCClusterer()._get_doc_link()
    '../generated/skumc.UMCClusterer.html'
    """

    _doc_link_module = "skumc"
    _doc_link_template = "../generated/{estimator_module}.{estimator_name}.html"
