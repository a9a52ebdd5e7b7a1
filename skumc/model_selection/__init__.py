"""Choice of settings and of the number of clusters without labels."""

from skumc._cluster_count import NClustersEstimate
from skumc.model_selection._agreement import modality_agreement_score
from skumc.model_selection._all_samples import AllSamples
from skumc.model_selection._candidates import candidate_parameters
from skumc.model_selection._density_validity import density_validity_score
from skumc.model_selection._estimate_n_clusters import estimate_n_clusters
from skumc.model_selection._input_scores import (
    input_calinski_harabasz_score,
    input_silhouette_score,
    prediction_strength_score,
)
from skumc.model_selection._modularity import neighborhood_modularity_score
from skumc.model_selection._silhouette import embedding_silhouette_score
from skumc.model_selection._unsupervised_search import UnsupervisedSearchCV
from skumc.model_selection._z_scores import select_candidate

__all__ = [
    "AllSamples",
    "NClustersEstimate",
    "UnsupervisedSearchCV",
    "candidate_parameters",
    "density_validity_score",
    "embedding_silhouette_score",
    "estimate_n_clusters",
    "input_calinski_harabasz_score",
    "input_silhouette_score",
    "modality_agreement_score",
    "neighborhood_modularity_score",
    "prediction_strength_score",
    "select_candidate",
]
