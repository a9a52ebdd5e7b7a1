"""Cluster centres that carry gradient to the encoder."""

from __future__ import annotations

import torch

from skumc.losses._checks import check_tensors, full_precision


def batch_centers(
    embedding: torch.Tensor, labels: torch.Tensor, centers: torch.Tensor
) -> torch.Tensor:
    """Give each cluster the mean of its members in the batch, or else its stored centre.

    Parameters
    ----------
    embedding : torch.Tensor of shape (n_samples, width)
        Embeddings of the batch; gradient flows to them through the means.
    labels : torch.Tensor of shape (n_samples,)
        For each sample the row of its cluster in ``centers``.
    centers : torch.Tensor of shape (n_clusters, width)
        Stored centres, taken as constants.

    Returns
    -------
    centers : torch.Tensor of shape (n_clusters, width)
        New centres on the device of the embedding and in its dtype (at least float32). They
        depend on the embedding even where no cluster has a member.

    Raises
    ------
    TypeError
        If embedding or centers are no floating tensor or labels no integer tensor.
    ValueError
        If a shape is not as above or a label is no row of the centres.

    Notes
    -----
    UMC methodology, section 3.6.4, takes the centres of k-means, which are constants: the
    separation of constants would move nothing. Means of the batch let compactness and
    separation both move the encoder.

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
    # A product with the memberships adds up in one fixed order; index_add on CUDA does not.
    rows = torch.arange(len(stored), device=labels.device)
    membership = (rows[:, None] == labels[None, :]).to(embedding.dtype)
    n_members = membership.sum(dim=1, keepdim=True)
    with full_precision(embedding.device):
        means = (membership @ embedding) / n_members.clamp(min=1)
    return torch.where(n_members > 0, means, stored)
