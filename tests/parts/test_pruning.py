"""What pruning keeps: classes by votes, rows in the middle, and gradients row by row."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.parts.pruning import middle_of_classes, per_sample_gradient_norm, top_classes
from support.contexts import stage_context
from support.data import dataset, labelled
from support.models import make
from support.tensors import generator


def test_classes_with_the_most_votes_stay_whole_and_are_numbered_in_their_old_order() -> None:
    pool = labelled(22, classes=5)
    kept = top_classes(torch.tensor([3.0, 9.0, 0.0, 4.0, 1.0]), pool, share=0.4)
    assert kept.info.classes == 2
    old = pool.column("label")[kept.column("index")]
    assert sorted(set(old.tolist())) == [1, 3]
    assert len(kept) == int(((pool.column("label") == 1) | (pool.column("label") == 3)).sum())
    assert torch.equal(kept.column("label"), (old == 3).long())
    assert kept.column("index").diff().min() > 0


def test_of_equal_votes_lower_classes_stay_whichever_end_is_kept() -> None:
    pool, votes = labelled(12, classes=4), torch.tensor([0.0, 2.0, 0.0, 0.0])
    assert set(top_classes(votes, pool, share=0.5).column("index").remainder(4).tolist()) == {0, 1}
    assert set(top_classes(votes, pool, share=0.5, largest=False).column("index").remainder(4).tolist()) == {0, 2}


def test_smaller_shares_keep_a_part_of_larger_ones_and_one_class_is_the_least() -> None:
    pool, votes = labelled(60, classes=6), torch.rand(6, generator=generator())
    kept = [set(top_classes(votes, pool, share=s).column("index").tolist()) for s in (0.01, 0.34, 0.67, 1.0)]
    assert all(small < large for small, large in itertools.pairwise(kept))
    assert [len(k) for k in kept] == [10, 20, 40, 60]


def test_votes_for_other_classes_than_the_datas_are_refused() -> None:
    with pytest.raises(InputError, match="one score a class"):
        top_classes(torch.ones(3), labelled(8), share=0.5)
    with pytest.raises(InputError, match="no row"):
        top_classes(torch.tensor([0.0, 0.0, 1.0]), dataset(3, label=torch.tensor([0, 1])), share=0.3)


@pytest.mark.parametrize(("share", "ranks"), [(0.5, [2, 3, 4, 5, 6, 7]), (0.2, [4, 5]), (1.0, list(range(10)))])
def test_the_middle_is_kept_by_rank_class_by_class(share: float, ranks: list[int]) -> None:
    order = torch.randperm(10, generator=generator())
    pool = labelled(20, classes=2)
    scores = torch.empty(20)
    scores[0::2], scores[1::2] = order.float(), 100.0 + order
    kept = middle_of_classes(scores, pool, share=share).column("index")
    for label in (0, 1):
        own = kept[kept % 2 == label]
        assert sorted((scores[own] - 100 * label).tolist()) == [float(r) for r in ranks]
    with pytest.raises(InputError, match="one score a row"):
        middle_of_classes(scores[:3], pool, share=share)


def test_each_rows_norm_is_that_of_its_own_backward_pass() -> None:
    model = make("cnn", num_classes=4, image_size=8).eval()
    image = torch.randn(7, 3, 8, 8, generator=generator())
    label = torch.arange(7) % 4
    found = per_sample_gradient_norm(model, dataset(4, image=image, label=label), batch_size=3, context=stage_context())
    for row in range(7):
        model.zero_grad()
        F.cross_entropy(model(image[row : row + 1]), label[row : row + 1]).backward()
        wanted = torch.stack([p.grad.square().sum() for p in model.parameters()]).sum().sqrt()
        torch.testing.assert_close(found[row], wanted)


def test_a_linear_classifiers_norm_in_closed_form() -> None:
    """The gradient is the outer product of (p - y) and the input."""
    model = make("linear_classifier", in_features=6, num_classes=3)
    image, label = torch.randn(5, 6, generator=generator()), torch.tensor([0, 1, 2, 0, 1])
    found = per_sample_gradient_norm(model, dataset(3, image=image, label=label), context=stage_context())
    error = (model(image).softmax(1) - F.one_hot(label, 3)).norm(dim=1)
    torch.testing.assert_close(found, (error * (image.square().sum(1) + 1).sqrt()).detach())
