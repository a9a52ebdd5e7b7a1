"""Cluster centers that carry gradient to the encoder."""

from __future__ import annotations

import torch

from skumc.losses._tensors import check_tensors, full_precision


def batch_centers(
    embedding: torch.Tensor, labels: torch.Tensor, centers: torch.Tensor
) -> torch.Tensor:
    """Return the mean of each cluster's members in the batch, or its stored center without members.

    Parameters
    ----------
    embedding : torch.Tensor of shape (n_samples, width)
        Embedding of the batch; gradient flows to it through the means.
    labels : torch.Tensor of shape (n_samples,)
        Row of each sample's cluster in ``centers``.
    centers : torch.Tensor of shape (n_clusters, width)
        Stored centers, taken as constants.

    Returns
    -------
    centers : torch.Tensor of shape (n_clusters, width)
        New centers on the device of the embedding and in its dtype (at least float32). They
        depend on the embedding even if no cluster has a member.

    Raises
    ------
    TypeError
        If embedding or centers are not floating tensors or labels not an integer tensor.
    ValueError
        If a shape is not as above or a label is not a row of the centers.

    Notes
    -----
    UMC methodology, section 3.6.4, takes the k-means centers. They are constants, so their
    separation would have no gradient. With means of the batch, both compactness and separation
    move the encoder.

    Examples
    --------
    >>> import torch
    >>> from skumc.losses import batch_centers
    >>> embedding = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    >>> stored = torch.tensor([[0.0, 0.0], [0.0, 7.0]])
    >>> batch_centers(embedding, torch.tensor([0, 0]), stored)
    tensor([[2., 0.],
            [0., 7.]])
    """
    checked = check_tensors(embedding=embedding, labels=labels, centers=centers)
    embedding, labels, stored = checked["embedding"], checked["labels"], checked["centers"].detach()
    # A matrix product sums in one fixed order; index_add on CUDA does not.
    rows = torch.arange(len(stored), device=labels.device)
    membership = (rows[:, None] == labels[None, :]).to(embedding.dtype)
    n_members = membership.sum(dim=1, keepdim=True)
    with full_precision(embedding.device):
        means = (membership @ embedding) / n_members.clamp(min=1)
    return torch.where(n_members > 0, means, stored)
