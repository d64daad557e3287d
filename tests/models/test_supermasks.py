"""A network behind a mask for each task."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.models.supermasks import NormByTask, SupermaskNetwork
from support.models import make
from support.tensors import rows

INSIDE = {"model": "mlp", "hidden": [9], "in_features": 6, "num_classes": 3}
NORMED = {"model": "cifar_resnet", "depth": 8, "num_classes": 3, "in_channels": 1}


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return rows(*shape, seed=seed).float()


def network(**base) -> SupermaskNetwork:
    module = make("supermask_network", base=base or INSIDE, tasks=3, density=0.3)
    assert isinstance(module, SupermaskNetwork)
    return module


def of(task: int, count: int = 5) -> torch.Tensor:
    return torch.full((count,), task)


def test_weights_outside_of_a_tasks_mask_do_not_matter_to_it() -> None:
    module, image = network().eval(), numbers(5, 6)
    before = [module(image, of(task)) for task in range(3)]
    assert not torch.allclose(before[0], before[1])
    with torch.no_grad():
        for name, mask in module.masks(torch.tensor(1)).items():
            module.base.get_parameter(name).add_((1 - mask) * 7.0)
    after = [module(image, of(task)) for task in range(3)]
    assert torch.equal(before[1], after[1])
    assert not torch.allclose(before[0], after[0])


def test_only_the_scores_of_the_task_and_the_masked_weights_get_gradients() -> None:
    module = network()
    module(numbers(5, 6), of(1)).square().sum().backward()
    for scores in module.scores.values():
        assert scores.grad is not None
        assert not scores.grad[[0, 2]].any()
        assert scores.grad[1].any()
    for name, parameter in module.base.named_parameters():
        if name.endswith("bias"):
            assert not parameter.requires_grad
            assert not parameter.any()
        else:
            assert parameter.grad is not None
            assert not (parameter.grad * (1 - module.masks(torch.tensor(1))[name])).any()


def test_a_batch_has_one_task() -> None:
    logits = network().eval()(numbers(3, 6), torch.tensor([2, 2, 0]))
    assert logits[:2].isfinite().all()
    assert logits[2].isnan().all()


def test_batch_norms_keep_the_statistics_of_each_task() -> None:
    module = network(**NORMED)
    norms = [m for m in module.modules() if isinstance(m, NormByTask)]
    assert norms
    module.train()(numbers(8, 1, 8, 8), of(1, 8))
    for norm in norms:
        assert torch.equal(norm.mean[[0, 2]], torch.zeros_like(norm.mean[[0, 2]]))
        assert norm.mean[1].any()
    image = numbers(4, 1, 8, 8, seed=1)
    before = module.eval()(image, of(1, 4))
    module.train()(5 + numbers(8, 1, 8, 8, seed=2), of(2, 8))
    assert torch.equal(module.eval()(image, of(1, 4)), before)


def test_the_norm_of_a_task_is_torchs_own() -> None:
    own, layer = NormByTask(torch.nn.BatchNorm1d(4), 2), torch.nn.BatchNorm1d(4, affine=False)
    own.task = torch.tensor(1)
    for seed in range(3):
        torch.testing.assert_close(own(numbers(6, 4, seed=seed)), layer(numbers(6, 4, seed=seed)))
    torch.testing.assert_close(own.eval()(numbers(6, 4)), layer.eval()(numbers(6, 4)))
    torch.testing.assert_close(own.variance[1], layer.running_var)


def test_a_base_without_layers_to_mask_is_refused() -> None:
    with pytest.raises(InputError, match="no linear or convolutional layer"):
        SupermaskNetwork(base={"model": "row_vectors", "rows": 3, "features": 2}, tasks=2)


def test_a_head_of_each_task_learns_by_its_own_rows_alone() -> None:
    inside = {
        "model": "multi_head_network",
        "hidden": [9],
        "tasks": 3,
        "num_classes": 3,
        "in_channels": 1,
        "image_size": 4,
    }
    module = network(**inside)
    module(numbers(5, 1, 4, 4), of(1)).square().sum().backward()
    heads = module.base.head.weight
    assert heads.grad[1].any()
    assert not heads.grad[[0, 2]].any()
    assert sorted(module.scores) == ["body/1/weight"]
