"""Contrast of cosine similarities, shared by all contrastive losses."""

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
        Labels of the samples; views with equal labels are positives of each other.
    temperature : float
        Divisor of the cosine similarities.

    Returns
    -------
    losses : torch.Tensor of shape (n_samples * n_views,)
        Negative log-probability of picking a positive among all other views, as the mean over
        the positives of each anchor; 0 for an anchor without positives.
    """
    n_samples, n_views, width = views.shape
    anchors = unit_rows(views.flatten(0, 1))
    # The smallest finite number, not -inf: the logsumexp of a lone anchor would be NaN.
    lowest = torch.finfo(anchors.dtype).min
    similarity = (anchors / temperature) @ anchors.T
    among_others = similarity.fill_diagonal_(lowest).logsumexp(dim=1)
    # The similarities to the positives sum to the similarity to their sum: no second matrix.
    same_label = (labels[:, None] == labels[None, :]).to(anchors.dtype)
    by_sample = anchors.unflatten(0, (n_samples, n_views))
    sums = (same_label @ by_sample.sum(dim=1)).unsqueeze(1) - by_sample
    to_positives = (by_sample * sums).sum(dim=-1).flatten() / temperature
    n_positives = (n_views * same_label.sum(dim=1) - 1).repeat_interleave(n_views)
    losses = among_others - to_positives / n_positives.clamp(min=1)
    return losses.where(n_positives > 0, 0.0)
