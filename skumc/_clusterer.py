"""The estimator."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skumc._defaults import PARAMETER_CONSTRAINTS, PART_CHOICES, check_parts
from skumc._devices import resolve_device
from skumc._parts import PartsMixin, unknown_name_message
from skumc._presets import preset_parameters
from skumc.data import MultimodalData, read_X, with_index
from skumc.encoders import EncoderWithText, FrameStatistics
from skumc.losses import WeightedLosses
from skumc.text import TextModel, TextReader
from skumc.training import (
    Embedded,
    ProgressiveTrainer,
    SilhouetteMonitor,
    TrainingParts,
    TrainingSettings,
    assign_labels,
    calibrate,
    embed,
    embed_attention,
    isolated,
)

_LEARNING_RATE = 1e-3  # of an encoder that names none
_MAX_SEED = 2**31 - 1


class UMCClusterer(
    PartsMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    BaseEstimator,
):
    """Find clusters in samples that have several modalities, without labels.

    Each modality is projected to one width and fused to one unit-norm embedding a sample; the
    encoder is pretrained by contrast, then trained in epochs that cluster the embedding, choose
    trustworthy samples and learn from their pseudo-labels.

    Parameters
    ----------
    n_clusters : int in [1, inf), default=8
        Number of clusters.
    modalities : dict, list of str or None, default=None
        For a 2-D table the columns of each modality, ``{"text": columns, "audio": columns}``;
        columns are names, numbers, a range or a slice. For samples with named modalities the
        names to use. None uses all; of a table as one modality.
    anchor : str or None, default=None
        The modality that leads: others are seen from its positions. None takes ``"text"``, or
        the first one.
    encoder : None, "projection", "umc", "causal", instance or Module, default=None
        Specification with a method ``build(statistics, anchor)``, or a ready
        :class:`torch.nn.Module` called as :func:`~skumc.encoders.encode_views` says, of which a
        copy keeps its weights as the start. None is :class:`~skumc.encoders.ProjectionEncoder`;
        "umc" is :class:`~skumc.encoders.UMCEncoder`, with text-guided attention.
    losses : None, dict or WeightedLosses, default=None
        A dict gives some roles a weight, a name, a callable or a pair (weight, callable):
        ``{"separation": 0.0}``. None is :class:`~skumc.losses.WeightedLosses`.
    threshold : None, "adaptive", "linear", "constant" or instance, default=None
        Share of each cluster that is trusted, epoch by epoch. None is
        :class:`~skumc.curriculum.AdaptiveThreshold`.
    selector : None, "density", "centroid", "random" or instance, default=None
        Which samples of a cluster those are. None is :class:`~skumc.curriculum.DensitySelector`.
    kmeans : None, "kmeans", "minibatch" or instance, default=None
        Clusters the embedding: an estimator with the parameters ``n_clusters``, ``init`` and
        ``n_init`` and the attribute ``cluster_centers_``. None is ``KMeans(n_init=10)``; after
        the first epoch the last centres are the start and ``n_init`` is 1.
    monitor : None, "silhouette" or callable, default=None
        ``monitor(embedding, labels)``, larger is better, chooses the epoch that is kept. None is
        :class:`~skumc.training.SilhouetteMonitor`.
    augmentation : str, default="neighbors"
        What the contrastive losses bring together. "neighbors": a sample and one of its nearest
        neighbours, or parts of them, by how far modalities agree on who is near whom (see Notes).
        "views": a sample with and without one of its modalities; "disjoint": two views of it that
        have no modality in common, drawn for each batch; "dropout" or "noise": a copy of the
        embedding with dropout 0.1 or with noise of deviation 0.01; "frames": a second pass with
        15 % of the frames hidden.
    spread_confidence : float in [0, 1] or None, default=0.9
        With ``augmentation="neighbors"``, pseudo-labels spread from the trustworthy samples to
        their neighbours, and samples are taught by the label that reaches them where it is at
        least that share of all that does. None teaches the trustworthy samples only.
    text_model : str, path, (model, tokenizer) or None, default=None
        The transformers encoder that reads modalities of strings or token ids: a name on the
        Hugging Face hub, a folder, or the loaded objects, of which copies are trained. BERT,
        RoBERTa, DistilBERT, MiniLM, MPNet, ELECTRA, ModernBERT and what is built alike.
    n_trainable_layers : int in [0, inf) or "all", default=0
        So many of its last layers train, with what follows them, as the source does with one;
        "all" trains the embeddings too. The frozen layers run once for each distinct text, which
        makes 0 many times faster.
    text_learning_rate : float in (0, inf), default=2e-5
        Largest learning rate of the text model, in pretraining and in the progressive loop.
    max_text_length : int in [1, inf) or None, default=None
        Longer texts are cut, in tokens. None is the longest that the text model reads.
    text_layer : int in [0, inf), "middle" or None, default="middle"
        Layer whose states are read, 0 being the embeddings; later layers are dropped. "middle" is
        half of the layers, or as many as train; None is the last.
    memory : str, path, joblib.Memory or None, default=None
        Folder that keeps what frozen layers gave, for later fits and other processes. None keeps
        it for one call, in memory, or in a temporary file beyond 2 GiB.
    pretrain_epochs : int in [0, inf), default=10
        Epochs of contrastive pretraining; 0 leaves it out.
    max_epochs : int in [0, inf), default=12
        Epochs of the progressive loop at most; 0 clusters the pretrained embedding.
    min_epochs : int in [0, inf) or None, default=None
        Epoch from which a lack of improvement counts. None is 60 % of ``max_epochs``.
    patience : int in [1, inf) or None, default=5
        Epochs without improvement of the monitor after which training ends. None never ends it.
    batch_size : int in [1, inf), default=256
        Samples in a batch at most.
    learning_rate : float in (0, inf) or None, default=None
        Largest learning rate of the progressive loop. None is the encoder's ``learning_rate``
        where it has one, 4e-3 for "projection" and 1e-3 for the attention of the others, and
        1e-3 where it has not.
    pretrain_learning_rate : float in (0, inf) or None, default=None
        Largest learning rate of pretraining. None is as above.
    optimizer : {"adam", "adamw", "sgd"} or callable, default="adamw"
        A callable gets ``(parameters, lr=..., weight_decay=...)``.
    weight_decay : float in [0, inf), default=1e-4
        Passed to the optimizer.
    warmup_proportion : float in [0, 1], default=0.1
        Share of a phase in which the learning rate rises.
    schedule : {"cosine", "linear", "constant"}, default="constant"
        Then it falls as a cosine to 1 %, or as a line to 0, or stays.
    grad_clip : float in (0, inf) or None, default=None
        Bound on the absolute value of each gradient; None does not clip.
    accumulate_steps : int in [1, inf), default=1
        Batches whose gradients make one step. It equals the larger batch for losses that are a
        mean over samples; contrastive losses and centres see one batch at a time.
    weight_averaging : float in [0, 1), default=0.98
        Share of the running average of the weights that each step of the progressive loop keeps.
        What is clustered, judged and kept is the encoder with the average; 0 takes the weights as
        they are.
    device : str or torch.device, default="auto"
        "auto" is the GPU where there is one.
    precision : {"float32", "bfloat16"}, default="float32"
        Arithmetic of the encoder; embeddings and losses are float32 always.
    compile : bool, default=False
        Whether ``torch.compile`` makes code of the encoder's maps of rows for the time of a fit.
        That takes time before the training, and needs a C++ compiler, or Triton on a GPU; where
        it fails a RuntimeWarning says so and the encoder runs as it is. On a CPU it is not worth
        it.
    max_memory : int in [1, inf) or None, default=None
        Bytes that training may take beside the data. What it will take is measured on a few
        samples before it starts; more raises MemoryError with the batch size that fits. With None
        more than is free on the device is a RuntimeWarning.
    random_state : int, RandomState instance or None, default=None
        Determines initial weights, batches, dropout and k-means. An int repeats results bit for
        bit at equal library versions and numbers of threads.
    verbose : int in [0, inf), default=0
        Write a line with the remaining time every ``verbose`` epochs.

    Attributes
    ----------
    labels_ : ndarray of int32, shape (n_samples,)
        Cluster of each training sample; equal to ``predict`` on the training samples.
    cluster_centers_ : ndarray of float32, shape (n_clusters, n_components)
        Centres in the space of the embedding.
    embedding_ : ndarray of float32, shape (n_samples, n_components)
        Unit-norm embedding of the training samples; equal to ``transform`` on them.
    high_quality_mask_ : ndarray of bool, shape (n_samples,)
        Samples trusted in the epoch that was kept.
    history_ : History
        One record an epoch: threshold and its terms, shares of selected samples and of those that
        pseudo-labels teach, each loss and the norm of its gradient (None where no sample was left
        for it), monitor, objective of section 3.1.2, learning rate, seconds, and
        ``restored``, true for the epoch that was kept. A main epoch's monitor is taken before it
        trains.
    trusted_modalities_ : dict of str to bool
        Which modalities say something that another one says too; all of them where
        ``augmentation`` is not "neighbors".
    agreement_ : float
        Share of the neighbours of the input that at least two trusted modalities show, within
        [0, 1]; 1 where one modality is trusted, NaN where ``augmentation`` is not "neighbors".
    n_iter_ : int
        Epochs of the progressive loop that trained.
    encoder_ : torch.nn.Module
        The trained encoder.
    losses_, threshold_, selector_, kmeans_, monitor_ : object
        The parts used.
    anchor_ : str
        The modality that led.
    modality_widths_ : dict of str to int
        Names of the modalities, in order, and values in a frame.
    n_features_in_ : int
        Columns of a table, else number of modalities.
    feature_names_in_ : ndarray of str, shape (n_features,)
        Column names of a DataFrame, or names of the modalities.

    Raises
    ------
    TypeError
        If X is sparse, or a part lacks a method that it needs.
    ValueError
        If X has fewer different samples than clusters, misses every modality of a sample, or is
        no input as described in :class:`~skumc.data.MultimodalData`; if a parameter is outside
        its interval, or a part gives what it should not.
    FloatingPointError
        If a loss stops being finite.

    Notes
    -----
    The method is UMC: unsupervised multimodal clustering for semantics discovery, algorithms 1
    and 2 of its methodology (sections 3.7.2 and 3.8.2). ``predict`` gives the nearest of the
    stored centres; nothing is clustered anew.

    Where the defaults differ from it, the guide says why, with figures. The largest difference is
    ``augmentation="neighbors"``. Before training, each modality's nearest neighbours are looked up.
    A modality that finds none of them again in any other, beyond chance, is not trusted: it starts
    with a tenth of a gate's share and is left out of neighbours and of contrastive views. The share
    of neighbours that several modalities show, ``agreement_``, then says how often a contrastive
    loss compares samples in full with a neighbour, and how often parts of them with no modality
    in common (in pretraining) or random parts (later). In each epoch of the progressive loop the
    labels of the trustworthy samples spread along neighbours (Zhou et al., 2004), centres are the
    means of what was reached, and samples that one label reaches almost alone are taught by it.

    Ctrl-C ends training, keeps the best state so far, warns, and leaves a fitted estimator.

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

    _part_choices = PART_CHOICES
    _parameter_constraints = PARAMETER_CONSTRAINTS

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        modalities: dict | list | None = None,
        anchor: str | None = None,
        encoder: Any = None,
        losses: Any = None,
        threshold: Any = None,
        selector: Any = None,
        kmeans: Any = None,
        monitor: Any = None,
        augmentation: str = "neighbors",
        spread_confidence: float | None = 0.9,
        text_model: Any = None,
        n_trainable_layers: int | str = 0,
        text_learning_rate: float = 2e-5,
        max_text_length: int | None = None,
        text_layer: int | str | None = "middle",
        memory: Any = None,
        pretrain_epochs: int = 10,
        max_epochs: int = 12,
        min_epochs: int | None = None,
        patience: int | None = 5,
        batch_size: int = 256,
        learning_rate: float | None = None,
        pretrain_learning_rate: float | None = None,
        optimizer: Any = "adamw",
        weight_decay: float = 1e-4,
        warmup_proportion: float = 0.1,
        schedule: str = "constant",
        grad_clip: float | None = None,
        accumulate_steps: int = 1,
        weight_averaging: float = 0.98,
        device: str | torch.device = "auto",
        precision: str = "float32",
        compile: bool = False,
        max_memory: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.modalities = modalities
        self.anchor = anchor
        self.encoder = encoder
        self.losses = losses
        self.threshold = threshold
        self.selector = selector
        self.kmeans = kmeans
        self.monitor = monitor
        self.augmentation = augmentation
        self.spread_confidence = spread_confidence
        self.text_model = text_model
        self.n_trainable_layers = n_trainable_layers
        self.text_learning_rate = text_learning_rate
        self.max_text_length = max_text_length
        self.text_layer = text_layer
        self.memory = memory
        self.pretrain_epochs = pretrain_epochs
        self.max_epochs = max_epochs
        self.min_epochs = min_epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.pretrain_learning_rate = pretrain_learning_rate
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.warmup_proportion = warmup_proportion
        self.schedule = schedule
        self.grad_clip = grad_clip
        self.accumulate_steps = accumulate_steps
        self.weight_averaging = weight_averaging
        self.device = device
        self.precision = precision
        self.compile = compile
        self.max_memory = max_memory
        self.random_state = random_state
        self.verbose = verbose

    def set_params(self, **params: Any) -> UMCClusterer:
        """Set parameters of the clusterer and, as ``part__parameter``, of its parts.

        Parameters
        ----------
        **params : dict
            A nested parameter of a part that is None, a name or a dict puts an instance in its
            place first.

        Returns
        -------
        UMCClusterer
            The estimator itself.
        """
        nested = any(name.startswith("losses__") for name in params)
        losses = params.get("losses", self.losses)
        if nested and isinstance(losses, dict):
            params["losses"] = WeightedLosses.from_mapping(losses)
        return super().set_params(**params)

    @classmethod
    def from_preset(cls, name: str, n_clusters: int = 8, **parameters: Any) -> UMCClusterer:
        """Build a clusterer with the parameters of a published way.

        Parameters
        ----------
        name : {"source", "acl2024"}
            "source" is the methodology as printed wherever a parameter can say so; the guide's page
            "What the source prints, what we do" lists what it leaves. "acl2024" is the paper before
            it, with its network.
        n_clusters : int, default=8
        **parameters : dict
            Take precedence over the preset's.

        Returns
        -------
        UMCClusterer

        Examples
        --------
        >>> from skumc import UMCClusterer
        >>> UMCClusterer.from_preset("acl2024", 20, random_state=0).max_epochs
        18
        """
        return cls(n_clusters, **(preset_parameters(name) | parameters))

    def fit(self, X: Any, y: Any = None) -> UMCClusterer:
        """Train the encoder and find the clusters.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
            A 2-D table (n_samples, n_features), or samples with named modalities.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        UMCClusterer
            The fitted estimator itself.
        """
        del y
        self._validate_params()
        self._make_parts()
        device = resolve_device(self.device)
        data = read_X(self, X, self.modalities, reset=True)
        self._check_samples(data)
        self.anchor_ = self._choose_anchor(data)
        rng = check_random_state(self.random_state)
        for part in (self.selector_, self._encoder_spec):
            _seed_part(part, rng)
        with isolated(rng.randint(_MAX_SEED), device):
            self._text = self._make_text_reader(data)
            data = self._text.read(data, device)
            self.encoder_ = self._build_encoder(data, device).to(device)
            calibrate(self.encoder_, data, device)
            trainer = ProgressiveTrainer(
                self.encoder_,
                TrainingParts(
                    losses=self.losses_.terms(),
                    threshold=self.threshold_,
                    selector=self.selector_,
                    kmeans=self.kmeans_,
                    monitor=self.monitor_,
                ),
                self._settings(device),
                rng,
            )
            self.cluster_centers_, self.high_quality_mask_ = trainer.run(data)
            self.embedding_ = embed(self.encoder_, data, device, self.precision).embedding
        self.labels_ = assign_labels(self.embedding_, self.cluster_centers_)
        self.history_, self.n_iter_ = trainer.history, trainer.n_iter
        self.trusted_modalities_, self.agreement_ = trainer.trusted, trainer.agreement
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> np.ndarray:
        """Fit, and give the embedding of the training samples.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
        y : Ignored
        **fit_params : dict
            None are known.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_components)
        """
        return with_index(self, X, self.fit(X, y, **fit_params).embedding_)

    def transform(self, X: Any) -> np.ndarray:
        """Embed samples.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
            With the modalities of ``fit``; one that is lacking is missing in every sample.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_components)
            Unit-norm rows.
        """
        return with_index(self, X, self._embed(X).embedding)

    def predict(self, X: Any) -> np.ndarray:
        """Give each sample the number of the nearest stored centre.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict

        Returns
        -------
        ndarray of int32, shape (n_samples,)
        """
        return assign_labels(self._embed(X).embedding, self.cluster_centers_)

    def modality_weights(self, X: Any) -> np.ndarray:
        """Give the share that each modality has in the embedding of each sample.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict

        Returns
        -------
        ndarray of float32, shape (n_samples, n_modalities)
            In the order of ``modality_widths_``; rows sum to 1. The share of a missing modality is
            0, unless the encoder runs it as zeros (``missing="zeros"``).
        """
        return self._embed(X).gates

    def attention_weights(self, X: Any) -> dict[str, list[np.ndarray | None]]:
        """Show where the anchor looks: weights of the cross-attention, sample by sample.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict

        Returns
        -------
        dict of str to list of n_samples arrays
            For each modality but the anchor, by sample an array of float32 and shape
            (n_heads, n_anchor_frames, n_frames) whose last axis sums to 1, or None where the
            modality is missing. A sample without its anchor has one row of a learned stand-in.

        Raises
        ------
        AttributeError
            If the encoder has no cross-attention.
        """
        check_is_fitted(self, "encoder_")
        weights = {}
        if hasattr(self.encoder_, "attention_weights"):
            data = read_X(self, X, self.modalities, reset=False)
            device = resolve_device(self.device)
            data = self._text.read(data, device)
            weights = embed_attention(self.encoder_.to(device), data, self.anchor_, device)
        if not weights:
            raise AttributeError(
                f"The encoder {type(self.encoder_).__name__} has no attention_weights: it has no "
                "cross-attention. Use encoder=None, or a UMCEncoder with it, and several "
                "modalities."
            )
        return weights

    def score(self, X: Any, y: Any = None) -> float:
        """Mean silhouette of the predicted clusters in the space of the embedding.

        It judges a clustering by the embedding of its own encoder, so it does not compare
        estimators with different encoders or training; use labelled metrics for that where you
        have labels.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
        y : Ignored

        Returns
        -------
        float
            In [-1, 1]; of at most 5,000 samples, 0.0 where there is only one cluster.
        """
        del y
        embedding = self._embed(X).embedding
        labels = assign_labels(embedding, self.cluster_centers_)
        return SilhouetteMonitor(sample_size=5000)(embedding, labels)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __getstate__(self):
        state = super().__getstate__()
        if any(p.device.type != "cpu" for p in getattr(self, "encoder_", _NO_MODULE).parameters()):
            state = dict(state, encoder_=copy.deepcopy(self.encoder_).cpu())
        return state

    @property
    def _n_features_out(self) -> int:
        return self.embedding_.shape[1]

    def _embed(self, X: Any) -> Embedded:
        check_is_fitted(self, "encoder_")
        data = read_X(self, X, self.modalities, reset=False)
        device = resolve_device(self.device)
        data = self._text.read(data, device)
        return embed(self.encoder_.to(device), data, device, self.precision)

    def _make_text_reader(self, data: MultimodalData) -> TextReader:
        text = TextModel(
            self.text_model,
            n_trainable_layers=self.n_trainable_layers,
            layer=self.text_layer,
            learning_rate=self.text_learning_rate,
            max_length=self.max_text_length,
            memory=self.memory,
        )
        names = [name for name, width in data.widths.items() if width is None]
        return TextReader(names, text, self.verbose)

    def _make_parts(self) -> None:
        """Copy the parts, and hold each against its contract."""
        if isinstance(self.losses, dict):
            self.losses_ = WeightedLosses.from_mapping(self.losses)
        else:
            self.losses_ = self._make_part("losses")
        self.threshold_ = self._make_part("threshold")
        self.selector_ = self._make_part("selector")
        self.kmeans_ = self._make_part("kmeans")
        self.monitor_ = self._make_part("monitor")
        self._encoder_spec = self._make_part("encoder")
        check_parts(
            losses=self.losses_,
            threshold=self.threshold_,
            selector=self.selector_,
            kmeans=self.kmeans_,
            monitor=self.monitor_,
            encoder=self._encoder_spec,
        )

    def _check_samples(self, data: MultimodalData) -> None:
        if self.n_clusters > len(data):
            raise ValueError(
                f"Got n_clusters={self.n_clusters} for n_samples={len(data)}. Choose n_clusters "
                "at most n_samples."
            )
        n_distinct = data.count_distinct(self.n_clusters)
        if n_distinct < self.n_clusters:
            raise ValueError(
                f"Got n_clusters={self.n_clusters}, but X has only {n_distinct} distinct "
                "sample(s). Choose a smaller n_clusters."
            )

    def _choose_anchor(self, data: MultimodalData) -> str:
        if self.anchor is None:
            return "text" if "text" in data.names else data.names[0]
        if self.anchor not in data.names:
            raise ValueError(unknown_name_message("anchor", self.anchor, data.names))
        return self.anchor

    def _build_encoder(self, data: MultimodalData, device: torch.device) -> torch.nn.Module:
        encoder = self._encoder_spec
        if not isinstance(encoder, torch.nn.Module):
            encoder = self._build_from_specification(data, device)
        towers = self._text.towers
        return EncoderWithText(encoder, towers) if towers else encoder

    def _build_from_specification(
        self, data: MultimodalData, device: torch.device
    ) -> torch.nn.Module:
        statistics = {
            name: FrameStatistics(
                *self._text.mean_and_scale(data, name, device),
                self._text.pooling(name),
                max(int(data.packed(name).lengths.max()), 1),
            )
            for name in data.names
        }
        module = self._encoder_spec.build(statistics, self.anchor_)
        if not isinstance(module, torch.nn.Module):
            raise TypeError(
                f"encoder={self.encoder!r} built {type(module).__name__}, expected a "
                "torch.nn.Module. Check its build()."
            )
        return module

    def _settings(self, device: torch.device) -> TrainingSettings:
        shared = TrainingSettings.__dataclass_fields__.keys() & self.get_params(deep=False).keys()
        values = {name: getattr(self, name) for name in shared - {"anchor", "device"}}
        for name in ("learning_rate", "pretrain_learning_rate"):
            if values[name] is None:
                values[name] = getattr(self._encoder_spec, "learning_rate", _LEARNING_RATE)
        return TrainingSettings(anchor=self.anchor_, device=device, **values)


_NO_MODULE = torch.nn.Module()


def _seed_part(part: Any, rng: np.random.RandomState) -> None:
    """Make a part that draws random numbers repeatable, unless it has a seed of its own."""
    if hasattr(part, "get_params") and part.get_params().get("random_state", 0) is None:
        part.set_params(random_state=rng.randint(_MAX_SEED))
