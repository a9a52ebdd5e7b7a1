"""Choice of settings without labels: scores of fitted clusterers, candidates, and the search."""

from skumc.model_selection._agreement import modality_agreement_score
from skumc.model_selection._candidates import candidate_parameters
from skumc.model_selection._modularity import neighborhood_modularity_score
from skumc.model_selection._silhouette import embedding_silhouette_score
from skumc.model_selection._unsupervised_search import UnsupervisedSearchCV
from skumc.model_selection._z_scores import select_candidate

__all__ = [
    "UnsupervisedSearchCV",
    "candidate_parameters",
    "embedding_silhouette_score",
    "modality_agreement_score",
    "neighborhood_modularity_score",
    "select_candidate",
]
