"""Each loss says what it promises."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nearedge.models.styles.losses import (
    adversarial,
    dependence,
    rank_constraint,
    roughness,
    round_trip,
    smoothing,
)


def drawn(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def test_the_rank_constraint_is_the_mean_over_pairs_whose_descriptors_differ() -> None:
    styles = drawn(40, 3)
    descriptors = torch.randint(0, 5, (40, 3), generator=torch.Generator().manual_seed(1)).float()
    descriptors[::7, 1] = float("nan")
    signs = torch.sign(descriptors[:, None] - descriptors[None]).nan_to_num(nan=0.0)
    differences = styles[:, None] - styles[None]
    sums = (signs * differences).sum(dim=(0, 1)) / signs.abs().sum(dim=(0, 1))
    assert rank_constraint(styles, descriptors).item() == pytest.approx(-sums.mean().item())


def test_rows_without_a_descriptor_get_no_gradient_from_it() -> None:
    styles = drawn(6, 2).requires_grad_()
    descriptors = drawn(6, 2, seed=1)
    descriptors[2, 0] = float("nan")
    descriptors[:, 1] = float("nan")  # of nobody
    rank_constraint(styles, descriptors).backward()  # type: ignore[no-untyped-call]
    assert styles.grad is not None
    assert torch.isfinite(styles.grad).all()
    assert styles.grad[2, 0] == 0
    assert (styles.grad[:, 1] == 0).all()
    assert (styles.grad[[0, 1, 3, 4, 5], 0] != 0).any()


def test_the_adversary_learns_where_the_encoder_is_pushed_the_other_way() -> None:
    judge = nn.Linear(2, 1)
    styles = (drawn(8, 2) + 3.0).requires_grad_()
    noise = drawn(8, 2, seed=1)
    adversarial(judge, styles, noise, reversal=0.5).backward()  # type: ignore[no-untyped-call]
    plain = styles.detach().clone().requires_grad_()
    logits = judge(torch.cat([plain, noise])).squeeze(1)
    truth = torch.cat([torch.zeros(8), torch.ones(8)])
    nn.functional.binary_cross_entropy_with_logits(logits, truth).backward()
    assert styles.grad is not None
    assert plain.grad is not None
    torch.testing.assert_close(styles.grad, -0.5 * plain.grad)


def test_smoothing_keeps_constants_and_sums_up_noise() -> None:
    smooths = smoothing(40)
    torch.testing.assert_close(smooths.sum(dim=1), torch.ones(40))
    flat, wild = torch.full((2, 40), 0.7), drawn(2, 40)
    assert roughness(flat, smooths).item() == pytest.approx(0.0, abs=1e-12)
    assert roughness(wild, smooths).item() > 0.5


def test_a_round_trip_that_changes_nothing_costs_nothing() -> None:
    styles = drawn(5, 3)
    assert round_trip(nn.Identity(), styles, styles).item() == 0.0
    assert round_trip(nn.Identity(), styles, styles + 2.0).item() == pytest.approx(4.0)


def test_styles_hang_together_by_their_squared_covariances_whatever_their_means() -> None:
    styles = drawn(50, 3) + torch.tensor([0.0, 5.0, -2.0])
    styles[:, 2] += styles[:, 0]
    covariances = torch.cov(styles.T, correction=0)
    expected = sum(covariances[a, b].item() ** 2 for a, b in ((0, 1), (0, 2), (1, 2)))
    assert dependence(styles).item() == pytest.approx(expected, rel=1e-5)
    assert expected > 0.5
    assert dependence(styles[:, :1]).item() == 0.0
