"""Masks by score, and what is left to a task by those before it."""

from __future__ import annotations

import pytest
import torch

from kdrun import ops
from support.tensors import rows


@pytest.mark.parametrize(("share", "kept"), [(0.0, 0), (0.1, 2), (0.34, 5), (0.5, 6), (1.0, 12)])
def test_the_largest_scores_are_kept_and_the_rest_is_cut_down(share, kept) -> None:
    scores = rows(3, 4)
    mask = ops.topk_mask(scores, share=share)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert mask.shape == scores.shape
    assert int(mask.sum()) == kept == 12 - int((1 - share) * 12)
    if 0 < kept < 12:
        assert scores.abs()[mask == 1].min() > scores.abs()[mask == 0].max()


def test_of_equal_scores_the_first_go_first() -> None:
    assert ops.topk_mask(torch.tensor([1.0, -1.0, 1.0, -1.0]), share=0.5).tolist() == [0, 0, 1, 1]


def test_the_gradient_goes_straight_through_to_the_magnitude() -> None:
    scores = rows(3, 4).requires_grad_()
    weight = rows(3, 4, seed=1)
    (ops.topk_mask(scores, share=0.25) * weight).sum().backward()
    torch.testing.assert_close(scores.grad, weight * scores.detach().sign())


def test_a_task_owns_what_no_earlier_one_keeps() -> None:
    masks = (rows(4, 5, 6) > 0).float()
    owned = ops.exclusive_mask(masks)
    assert not (owned.bool() & masks[:3].bool().any(0)).any()
    assert torch.equal(owned.bool() | masks[:3].bool().any(0), masks.bool().any(0))
    assert torch.equal(ops.exclusive_mask(masks[:1]), masks[0])


def test_overlap_is_the_share_that_is_not_owned() -> None:
    masks = (rows(4, 5, 6) > 0).float()
    assert ops.mask_overlap(masks).item() == pytest.approx(
        1 - (ops.exclusive_mask(masks).sum() / masks[-1].sum()).item()
    )
    assert ops.mask_overlap(masks[:1]) == 0
    assert ops.mask_overlap(torch.zeros(2, 3)) == 0
