"""What the autoencoder is taught by; each loss is a scalar, lower is better."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_SIGMA = 3.0
_REACH = 8
"""Points: width of the Gaussian that decoded spectra are compared with, and how far it reaches."""


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient points the other way (arXiv:1409.7495)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def adversarial(judge: nn.Module, styles: Tensor, drawn: Tensor, reversal: float) -> Tensor:
    """How badly `judge` tells styles from drawn numbers; the encoder is taught to make it worse.

    Parameters
    ----------
    judge
        Gives one logit a row, shape ``(n, 1)``: high for drawn ones.
    styles, drawn
        Of the encoder, and from the normal distribution; shape ``(n, styles)``.
    reversal
        What the gradient is multiplied by, with its sign turned, on its way into the encoder.
    """
    reversed_: Tensor = _Reversed.apply(styles, reversal)  # type: ignore[no-untyped-call]
    logits = judge(torch.cat([reversed_, drawn])).squeeze(1)
    truth = torch.cat([torch.zeros(len(styles)), torch.ones(len(drawn))])
    return functional.binary_cross_entropy_with_logits(logits, truth)


def rank_constraint(styles: Tensor, descriptors: Tensor) -> Tensor:
    """How far styles are from ranking rows as their descriptors do.

    For each pair of rows whose descriptors differ, the difference of their styles, counted as
    positive where it has the sign of the descriptors' difference: Kendall's rank correlation with
    the styles' differences in place of their signs, so that there is a gradient. Its negative mean
    over pairs, averaged over descriptors.

    Parameters
    ----------
    styles, descriptors
        Shape ``(n, k)`` each; the k-th style follows the k-th descriptor. Rows whose descriptor is
        NaN take no part for it.
    """
    with torch.no_grad():
        known = descriptors.T.isfinite()
        values = torch.where(known, descriptors.T, torch.inf).contiguous()
        ordered = values.sort(dim=1).values
        below = torch.searchsorted(ordered, values)
        above = known.sum(dim=1, keepdim=True) - torch.searchsorted(ordered, values, right=True)
        # sum_ij sign_ij (s_i - s_j) = 2 sum_i s_i sum_j sign_ij, as the signs are antisymmetric.
        signs = torch.where(known, below - above, 0)
        pairs = torch.where(known, below + above, 0).sum(dim=1, keepdim=True).clamp(min=1)
        places = (2.0 * signs / pairs).T
    return -(places * styles).sum(dim=0).mean()


def round_trip(encoder: nn.Module, drawn: Tensor, decoded: Tensor) -> Tensor:
    """How far drawn styles come back changed from being decoded and encoded."""
    return functional.mse_loss(encoder(decoded), drawn)


def smoothing(points: int) -> Tensor:
    """Return the matrix, shape ``(points, points)``, that smooths spectra by a Gaussian.

    Beyond its ends a spectrum goes on with its first and last value.
    """
    offsets = torch.arange(-_REACH, _REACH + 1)
    weights = torch.exp(-0.5 * (offsets / _SIGMA) ** 2)
    weights = weights / weights.sum()
    matrix = torch.zeros(points, points)
    for offset, weight in zip(offsets.tolist(), weights.tolist(), strict=True):
        source = (torch.arange(points) + offset).clamp(0, points - 1)
        matrix[torch.arange(points), source] += weight
    return matrix


def roughness(spectra: Tensor, smooths: Tensor) -> Tensor:
    """How far spectra, shape ``(n, points)``, are from themselves smoothed by a matrix."""
    return functional.mse_loss(spectra, (spectra @ smooths.T).detach())


def dependence(styles: Tensor) -> Tensor:
    """How far styles hang together: their squared covariances, summed over pairs of styles.

    The adversary alone lets two correlate whose descriptors do.

    Parameters
    ----------
    styles
        Shape ``(n, styles)``.
    """
    centred = styles - styles.mean(dim=0)
    covariances = centred.T @ centred / len(styles)
    return torch.triu(covariances, diagonal=1).square().sum()
