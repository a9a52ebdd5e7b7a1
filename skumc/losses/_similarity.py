"""The masked log-softmax over cosine similarities that all contrastive losses share."""

from __future__ import annotations

import torch


def unit_rows(rows: torch.Tensor) -> torch.Tensor:
    """Scale each row to length 1; a zero row stays zero and gets gradient 0."""
    # Dividing by the largest entry first keeps the squares of the norm from overflowing or
    # vanishing. The result does not depend on that scale, so it is a constant for autograd.
    scale = rows.detach().abs().amax(dim=-1, keepdim=True)
    is_zero = scale < torch.finfo(rows.dtype).tiny ** 0.5
    scaled = (rows / scale.masked_fill(is_zero, 1.0)).masked_fill(is_zero, 0.0)
    length = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return scaled / length.masked_fill(is_zero, 1.0)


def contrast_per_anchor(
    views: torch.Tensor, labels: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Contrast every view with all other views of the batch.

    Parameters
    ----------
    views : torch.Tensor of shape (n_samples, n_views, width)
        Embeddings of the views.
    labels : torch.Tensor of shape (n_samples,)
        Views of samples with equal labels are positives of each other.
    temperature : float
        Divides the cosine similarities.

    Returns
    -------
    losses : torch.Tensor of shape (n_samples * n_views,)
        For each anchor the mean over its positives of the negative log-probability to pick
        that positive among all other views; 0 for an anchor without a positive.
    """
    anchors = unit_rows(views.flatten(0, 1))
    anchor_labels = labels.repeat_interleave(views.shape[1])
    is_self = torch.eye(len(anchors), dtype=torch.bool, device=anchors.device)
    is_positive = (anchor_labels[:, None] == anchor_labels[None, :]) & ~is_self
    similarity = anchors @ anchors.T / temperature
    # The smallest finite number, not -inf, which makes NaN of a lone anchor's softmax.
    lowest = torch.finfo(similarity.dtype).min
    log_probability = similarity.masked_fill(is_self, lowest).log_softmax(dim=1)
    n_positives = is_positive.sum(dim=1).clamp(min=1)
    return -log_probability.masked_fill(~is_positive, 0.0).sum(dim=1) / n_positives
