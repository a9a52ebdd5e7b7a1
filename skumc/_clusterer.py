"""The estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
)
from sklearn.utils import Tags, check_random_state
from sklearn.utils.metadata_routing import UNUSED

from skumc._assembly import (
    MAX_SEED,
    build_encoder,
    check_samples,
    choose_anchor,
    make_parts,
    read_text,
    seed_parts,
    text_reader,
    training_parts,
    training_settings,
)
from skumc._counting import N_CLUSTERS_OF_LAYER, estimate_for
from skumc._devices import PickledOnCPU, resolve_device
from skumc._doc_links import DocumentedMixin
from skumc._doubt import DoubtMixin, keep_references
from skumc._fit_tasks import CallbackSupportMixin, FitTasks, fit_tasks, with_callbacks
from skumc._fitted import all_or_nothing
from skumc._parameters import PARAMETER_CONSTRAINTS, PART_CHOICES
from skumc._parts import PartsMixin
from skumc._prediction import PredictionMixin
from skumc._presets import preset_parameters
from skumc._resuming import resumable
from skumc._returning import EarlierFit, ReturningMixin, keep_ids
from skumc.data import read_X, with_index
from skumc.losses import WeightedLosses
from skumc.neighbors._graph import trust_of
from skumc.persistence._saving import PersistenceMixin
from skumc.text import TextModel
from skumc.training._embedding import calibrate, embed
from skumc.training._isolation import isolated
from skumc.training._trainer import ProgressiveTrainer


class UMCClusterer(
    DocumentedMixin,
    PickledOnCPU,
    PartsMixin,
    CallbackSupportMixin,
    PredictionMixin,
    PersistenceMixin,
    DoubtMixin,
    ReturningMixin,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    BaseEstimator,
):
    """Cluster samples that have several modalities, without labels.

    An encoder fuses the modalities to one unit-norm embedding per sample. It is pretrained on
    positive pairs. Then, epoch by epoch, the embedding is clustered, trustworthy samples are
    selected, and the encoder is trained on their pseudo-labels.

    Parameters
    ----------
    n_clusters : int in [1, inf) or "auto", default=8
        Number of clusters. "auto" pretrains once more to choose it, see
        :func:`~skumc.model_selection.estimate_n_clusters`; it may be 1.
    modalities : dict, list of str or None, default=None
        Columns of each modality in a 2-D table, ``{"text": columns, "audio": columns}``, given as
        names, numbers, a range or a slice; for samples with named modalities the names to use.
        None uses all; a table is then one modality.
    anchor : str or None, default=None
        Name of the anchor modality, which supplies the attention queries. None is ``"text"`` if
        there is one, otherwise the first modality.
    text : str, path, (model, tokenizer), TextModel or None, default=None
        Transformer that reads modalities of strings or token ids: a name on the Hugging Face hub, a
        folder, or loaded objects; frozen by default. :class:`~skumc.text.TextModel` sets its layer,
        the layers to fine-tune and the cache.
    encoder : None, "projection", "umc", "causal", instance or Module, default=None
        Specification of the encoder, with a method ``build(statistics, anchor)``, or a ready
        :class:`torch.nn.Module`, of which a copy is trained; see :mod:`skumc.encoders`. None is
        :class:`~skumc.encoders.ProjectionEncoder`; "umc" is
        :class:`~skumc.encoders.UMCEncoder`, with text-guided attention.
    neighbors : None, "graph", "none" or instance, default=None
        K-nearest-neighbor graph, which also judges the modalities. None is
        :class:`~skumc.neighbors.NeighborGraph`; "none" trusts all modalities and looks up no
        neighbors.
    pairs : None, str or instance, default=None
        Positive pairs of the contrastive losses: "neighbors" (None) pairs a sample with a neighbor,
        "views" with itself without a modality, "disjoint" two views without a common modality,
        "dropout" and "noise" the embedding with a perturbed copy, "frames" the sample with some of
        its frames hidden. See :mod:`skumc.pairs`.
    pseudo_labels : None, "propagated", "selected" or instance, default=None
        Labels of the supervised losses. None propagates the labels of the selected samples along
        the neighbor graph, :class:`~skumc.pseudo_labels.PropagatedLabels`; "selected" teaches the
        selected samples only.
    supervised_views : str, list of lists of str or None, default=None
        Views of a sample in the supervised step. None is "single": all modalities, and each trusted
        one alone; "leave_one_out" and "full" are others. See :func:`~skumc.pairs.supervised_views`.
    losses : None, dict or WeightedLosses, default=None
        Losses and their weights. A dict changes some roles to a weight, a name, a callable or a
        pair (weight, callable): ``{"separation": 0.0}``. None is
        :class:`~skumc.losses.WeightedLosses`. Losses with parameters train with the encoder.
    threshold : None, "adaptive", "linear", "constant" or instance, default=None
        Share of each cluster to select, epoch by epoch. None is
        :class:`~skumc.curriculum.AdaptiveThreshold`.
    selector : None, "density", "centroid", "random" or instance, default=None
        Choice of the samples in a cluster. None is :class:`~skumc.curriculum.DensitySelector`.
    kmeans : None, "kmeans", "minibatch" or instance, default=None
        Clusterer of the embedding, with the parameters ``n_clusters``, ``init`` and ``n_init`` and
        the attribute ``cluster_centers_``. None is ``KMeans(n_init=10)``; after the first epoch it
        starts from the means of the last labels.
    monitor : None, "modularity", "silhouette" or callable, default=None
        Label-free score ``monitor(embedding, labels)`` of an epoch; the epoch with the largest is
        kept. None is :class:`~skumc.training.ModularityMonitor`, on the neighbors in the input.
    callbacks : list of object or None, default=None
        Hooks with some of the methods of :class:`~skumc.training.Callback`. They are called as
        given, not copied.
    optimization : None or Optimization, default=None
        Optimizer, schedule, averaging of weights, ``min_epochs`` and the folder of checkpoints.
        None is :class:`~skumc.training.Optimization`.
    pretrain_epochs : int in [0, inf), default=20
        Number of epochs of contrastive pretraining.
    max_epochs : int in [0, inf), default=12
        Maximum number of epochs of the progressive loop; 0 clusters the pretrained embedding.
    patience : int in [1, inf) or None, default=5
        Number of epochs without improvement of the monitor after which training ends, counted from
        ``optimization__min_epochs``. None never ends it.
    batch_size : int in [1, inf), default=256
        Maximum number of samples per batch.
    learning_rate : float in (0, inf) or None, default=None
        Largest learning rate of the progressive loop. None is the encoder's own (4e-3 for
        "projection", 1e-3 for the others).
    pretrain_learning_rate : float in (0, inf) or None, default=None
        Largest learning rate of pretraining. None: as for ``learning_rate``.
    device : str or torch.device, default="auto"
        Device of the encoder; "auto" is a GPU if there is one.
    precision : {"float32", "bfloat16"}, default="float32"
        Arithmetic of the encoder; embeddings and losses are always float32.
    random_state : int, RandomState instance or None, default=None
        Seed of initial weights, batches, dropout and k-means. An int gives bit-identical results at
        equal library versions and thread counts, on a GPU only without attention.
    verbose : int in [0, inf), default=0
        Print a line with the remaining time every ``verbose`` epochs.
    warm_start : bool, default=False
        Whether ``fit`` continues from the last one: from its encoder, without pretraining, at a
        tenth of the learning rates, and with the ids of its clusters, see ``matched_from_``. X has
        the same modalities then; ``n_clusters`` may differ.

    Attributes
    ----------
    labels_ : ndarray of int32, shape (n_samples,)
        Cluster of each training sample, equal to ``predict`` on the training samples; after
        :meth:`partial_fit`, of the samples of its last call, as is ``embedding_``.
    cluster_centers_ : ndarray of float32, shape (n_clusters, n_components)
        Centers in the space of the embedding.
    counts_ : ndarray of int, shape (n_clusters,)
        Number of samples that each center is the mean of, those of :meth:`partial_fit` included.
    cluster_radii_ : ndarray of float, shape (n_clusters,)
        Root mean square distance of the training samples of ``fit`` to their center.
    matched_from_ : ndarray of int, shape (n_clusters,)
        With ``warm_start``, the id of each cluster in the fit before; -1 for a new cluster, and
        for all in a fit from scratch.
    drift_ : ndarray of float, shape (n_clusters,)
        After :meth:`partial_fit`: distance of the mean of a cluster's new samples, without the
        candidates, from its center before, in units of ``cluster_radii_``; NaN without new samples.
    new_cluster_candidates_ : list of ndarray of int
        After :meth:`partial_fit`: for each candidate for a new cluster the row numbers of its
        samples in the X of this call, the largest candidate first.
    embedding_ : ndarray of float32, shape (n_samples, n_components)
        Unit-norm embedding of the training samples, equal to ``transform`` on them.
    high_quality_mask_ : ndarray of bool, shape (n_samples,)
        Samples selected in the epoch that was kept.
    history_ : History
        One record per epoch: threshold and its terms, shares of selected and of taught samples,
        each loss (None if it was not called), monitor and objective of section 3.1.2 of the
        clustering that ``fit`` returns for the epoch, learning rate, seconds, and ``restored``,
        true for the one that was kept. The untrained encoder is first (with ``warm_start``, the
        earlier clustering), the final one last.
    trusted_modalities_ : dict of str to bool
        Whether each modality is trusted (see ``NeighborGraph``); all are without a neighbor graph.
    modality_trust_ : dict of str to float
        Trust in each modality, within [0, 1]; 1 for all without a neighbor graph.
    agreement_ : float
        Share, in [0, 1], of the input's neighbors that at least two trusted modalities have in
        common; 1 if only one is trusted, NaN without a neighbor graph.
    text_layers_ : dict of str to int
        Layer that is read of each text modality's model.
    temperature_ : float
        Temperature of :meth:`predict_proba`, fitted without labels.
    references_ : References
        At most 1,024 training samples by which :meth:`score_samples` scores others:
        ``references_.scores`` are their own scores, of which :meth:`is_outlier` and ``reject=``
        take a quantile.
    n_clusters_ : int
        Number of clusters: the parameter, or the choice of "auto".
    n_clusters_curve_ : NClustersEstimate
        Interval and curve of that choice; with ``n_clusters="auto"`` only.
    n_iter_ : int
        Number of epochs of the progressive loop that trained.
    encoder_ : torch.nn.Module
        The trained encoder.
    losses_ : WeightedLosses
        The losses used, with what those with parameters learned.
    threshold_ : AdaptiveThreshold or other part
        The threshold used.
    selector_ : DensitySelector or other part
        The selector used.
    kmeans_ : KMeans or other part
        The clusterer of the embedding used.
    monitor_ : ModularityMonitor or other callable
        The monitor used.
    pseudo_labels_ : PropagatedLabels or other part
        The pseudo-labels used.
    anchor_ : str
        Name of the anchor modality.
    modality_widths_ : dict of str to int
        Names and frame widths of the modalities, in order.
    n_features_in_ : int
        Number of columns of a table, otherwise number of modalities.
    feature_names_in_ : ndarray of str, shape (n_features,)
        Column names of a DataFrame, or names of the modalities.

    Raises
    ------
    TypeError
        If X is sparse, or a part lacks a method that it needs.
    ValueError
        If X or a parameter is invalid; the message names it and the remedy.
    FloatingPointError
        If a loss stops being finite, also with half the learning rate.

    Notes
    -----
    The method is UMC, unsupervised multimodal clustering for semantics discovery: algorithms 1 and
    2 of its methodology (sections 3.7.2 and 3.8.2). The guide lists where the defaults differ.
    Ctrl-C ends training, warns, and keeps the best state so far.

    Examples
    --------
    >>> import numpy as np
    >>> from skumc import MultimodalData, UMCClusterer
    >>> rng = np.random.default_rng(0)
    >>> topic = np.repeat([0, 5], 20)
    >>> X = MultimodalData({
    ...     "text": rng.normal(topic[:, None], 1, (40, 8)),
    ...     "audio": [rng.normal(t, 1, (rng.integers(2, 6), 4)) for t in topic],
    ... })
    >>> clusterer = UMCClusterer(2, pretrain_epochs=1, max_epochs=2, random_state=0).fit(X)
    >>> len(set(clusterer.labels_[:20])), len(set(clusterer.labels_[20:]))
    (1, 1)
    >>> clusterer.modality_weights(X[:1]).shape
    (1, 2)
    """

    # not metadata of samples
    __metadata_request__predict = {"missing_rows": UNUSED, "reject": UNUSED}
    __metadata_request__transform = {"missing_rows": UNUSED}
    _part_choices = PART_CHOICES
    _parameter_constraints = PARAMETER_CONSTRAINTS

    def __init__(
        self,
        n_clusters: int | str = 8,
        *,
        modalities: dict | list | None = None,
        anchor: str | None = None,
        text: Any = None,
        encoder: Any = None,
        neighbors: Any = None,
        pairs: Any = None,
        pseudo_labels: Any = None,
        supervised_views: Any = None,
        losses: Any = None,
        threshold: Any = None,
        selector: Any = None,
        kmeans: Any = None,
        monitor: Any = None,
        callbacks: list | None = None,
        optimization: Any = None,
        pretrain_epochs: int = 20,
        max_epochs: int = 12,
        patience: int | None = 5,
        batch_size: int = 256,
        learning_rate: float | None = None,
        pretrain_learning_rate: float | None = None,
        device: str | torch.device = "auto",
        precision: str = "float32",
        random_state: Any = None,
        verbose: int = 0,
        warm_start: bool = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.modalities = modalities
        self.anchor = anchor
        self.text = text
        self.encoder = encoder
        self.neighbors = neighbors
        self.pairs = pairs
        self.pseudo_labels = pseudo_labels
        self.supervised_views = supervised_views
        self.losses = losses
        self.threshold = threshold
        self.selector = selector
        self.kmeans = kmeans
        self.monitor = monitor
        self.callbacks = callbacks
        self.optimization = optimization
        self.pretrain_epochs = pretrain_epochs
        self.max_epochs = max_epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.pretrain_learning_rate = pretrain_learning_rate
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start

    def set_params(self, **params: Any) -> UMCClusterer:
        """Set parameters of the clusterer and, as ``part__parameter``, of its parts.

        Parameters
        ----------
        **params : dict
            A nested parameter of a part that is None, a name or a dict replaces it with an instance
            first.

        Returns
        -------
        UMCClusterer
            The estimator itself.
        """
        nested = {name.split("__")[0] for name in params if "__" in name}
        losses = params.get("losses", self.losses)
        if "losses" in nested and isinstance(losses, dict):
            params["losses"] = WeightedLosses.from_mapping(losses)
        if "text" in nested:
            params["text"] = TextModel.from_argument(params.get("text", self.text))
        return super().set_params(**params)

    @classmethod
    def from_preset(cls, name: str, n_clusters: int | str = 8, **parameters: Any) -> UMCClusterer:
        """Build a clusterer with the parameters of a published method.

        Parameters
        ----------
        name : {"source", "acl2024"}
            "source" is the methodology as printed wherever a parameter can express it; the guide's
            page on the source lists the rest. "acl2024" is the earlier paper with its network.
        n_clusters : int or "auto", default=8
            Number of clusters.
        **parameters : dict
            Further parameters, nested ones included; they take precedence over the preset's.
            ``text`` as a name, a folder or a pair keeps the preset's layer and trained layers, a
            dict of losses the roles that it does not name.

        Returns
        -------
        UMCClusterer

        Examples
        --------
        >>> from skumc import UMCClusterer
        >>> UMCClusterer.from_preset("acl2024", 20, random_state=0).max_epochs
        18
        """
        return cls(n_clusters).set_params(**preset_parameters(name, parameters))

    @with_callbacks
    def fit(self, X: Any, y: Any = None) -> UMCClusterer:
        """Train the encoder and find the clusters.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
            A 2-D table (n_samples, n_features), or samples with named modalities.
        y : Ignored
            Not used, except that callbacks of scikit-learn get it.

        Returns
        -------
        UMCClusterer
            The fitted estimator itself.
        """
        self._validate_params()
        with fit_tasks(self, X, y) as tasks, all_or_nothing(self):
            self._fit(X, tasks)
        return self

    def _fit(
        self,
        X: Any,
        tasks: list[FitTasks],
        candidates: list[int] | None = None,
        only_count: bool = False,
    ) -> None:
        parts, earlier = make_parts(self), EarlierFit.of(self)
        training = training_parts(self, parts, tasks)
        for name in ("losses", "threshold", "selector", "kmeans", "monitor", "pseudo_labels"):
            setattr(self, f"{name}_", parts[name])
        device = resolve_device(self.device)
        if earlier is None:
            data = read_X(self, X, self.modalities, reset=True)
        else:
            data = earlier.read(self, X)
        is_auto = self.n_clusters == "auto"
        self.n_clusters_ = 1 if is_auto else int(self.n_clusters)
        for name in {"n_clusters_curve_"} & set(vars(self)):  # of an earlier fit
            delattr(self, name)
        check_samples(data, self.n_clusters_)
        self.anchor_ = choose_anchor(self.anchor, data)
        rng = check_random_state(self.random_state)
        seed_parts(parts, rng)
        seed, checkpointing = rng.randint(MAX_SEED), resumable(self, parts, data, device)
        with checkpointing as checkpoints, isolated(seed, device):
            if earlier is None:
                n_of_layer = N_CLUSTERS_OF_LAYER if is_auto else self.n_clusters_
                self._text = text_reader(self, n_of_layer, data, device)
            data = read_text(self, data, device)
            start = None
            if earlier is None:
                encoder = build_encoder(parts["encoder"], self._text, data, self.anchor_, device)
            else:
                encoder, start = earlier.encoder, earlier.start(self, data)
            self.encoder_ = encoder.to(device)
            calibrate(self.encoder_, data, device)
            if is_auto:
                found = estimate_for(self, self.encoder_, data, device, rng, candidates)
                self.n_clusters_curve_, self.n_clusters_ = found, found.n_clusters
            if only_count:
                return
            settings = training_settings(
                self, self.n_clusters_, parts["encoder"], self.anchor_, device
            )
            if earlier is not None:
                settings = earlier.settings(settings)
            trainer = ProgressiveTrainer(self.encoder_, training, settings, rng, checkpoints, start)
            self.cluster_centers_, self.high_quality_mask_ = trainer.run(data)
            self.embedding_ = embed(self.encoder_, data, device, self.precision).embedding
        keep_ids(self, start)
        self.history_, self.n_iter_ = trainer.history, trainer.progress.n_iter
        graph = parts["neighbors"]
        self.trusted_modalities_, self.modality_trust_ = graph.trusted_, trust_of(graph)
        self.agreement_ = graph.agreement_
        self.text_layers_ = self._text.layers
        keep_references(self, data)

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> np.ndarray:
        """Fit, and return the embedding of the training samples.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
        y : Ignored
        **fit_params : dict
            Not used.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_components)
        """
        return with_index(self, X, self.fit(X, y, **fit_params).embedding_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.cluster_centers_.shape[1]
