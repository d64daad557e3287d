"""Models of bags of instances: pooling, attention, routed experts."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.models.bags import GatedAttentionMIL, MeanPoolingMIL, TopKExpertRouting
from kdrun.models.building import build

ATTENTION = {"embedding": 8, "attention": 6, "in_features": 5, "num_classes": 3}


@pytest.mark.parametrize("network", [GatedAttentionMIL(**ATTENTION), MeanPoolingMIL(in_features=5, num_classes=3)])
def test_bags_have_no_order_and_padding_does_not_count(network) -> None:
    network.eval()
    bag = torch.randn(2, 7, 5)
    plain = network(bag)
    mixed = network(bag[:, torch.randperm(7)])
    padded = network(F.pad(bag, (0, 0, 0, 4)))
    for name in ("logits", "feature"):
        torch.testing.assert_close(mixed[name], plain[name])
        torch.testing.assert_close(padded[name], plain[name])
    torch.testing.assert_close(padded["weights"].sum(1), torch.ones(2))
    assert not padded["weights"][:, 7:].any()
    assert torch.isfinite(network(torch.zeros(1, 3, 5))["logits"]).all()


def test_attention_pools_by_its_weights_and_can_single_out_an_instance() -> None:
    network = GatedAttentionMIL(embedding=None, attention=6, in_features=5, num_classes=3).eval()
    bag = torch.randn(2, 7, 5)
    found = network(bag)
    torch.testing.assert_close(found["feature"], (found["weights"][..., None] * bag).sum(1))
    with torch.no_grad():
        network.pool.score.weight.zero_()
    torch.testing.assert_close(network(bag)["feature"], bag.mean(1))
    with torch.no_grad():  # a large score for instances whose first feature is large
        network.pool.content[0].weight.zero_()[:, 0] = 1.0
        network.pool.gate[0].weight.zero_()
        network.pool.score.weight.fill_(1e3)
    chosen = bag[:, :, 0].argmax(1)
    torch.testing.assert_close(network(bag)["feature"], bag[torch.arange(2), chosen], atol=1e-3, rtol=1e-3)


def test_published_sizes() -> None:
    """Counted by hand for 1536 features, 512 and 384 wide, 32 intervals and 13 experts."""
    trunk = 1536 * 512 + 512 + 2 * (512 * 384 + 384) + 384 + 1
    size = {"in_features": 1536, "num_classes": 32}
    for spec, count in (
        ({"model": "gated_attention_mil", **size}, trunk + 512 * 32 + 32),
        (
            {"model": "topk_expert_routing", "num_experts": 13, **size},
            trunk + 13 * 512 + 13 * (512 * 512 + 512) + 512 * 32 + 32,
        ),
    ):
        with torch.device("meta"):
            assert sum(p.numel() for p in build(spec).parameters()) == count


def routing(**options) -> TopKExpertRouting:
    given = {"num_experts": 4, "top_k": 2, "embedding": 8, "attention": 6, "in_features": 5, "num_classes": 3}
    return TopKExpertRouting(**{**given, **options}).eval()


def test_only_the_largest_gates_count_and_they_are_not_renormalised() -> None:
    network, bag, sources = routing(experts="identity"), torch.randn(3, 7, 5), torch.randn(3, 4, 8)
    found = network(bag, sources)
    torch.testing.assert_close(found["gates"].sum(1), torch.ones(3))
    order = found["gates"].argsort(1, descending=True)
    by_hand = sum(
        found["gates"].gather(1, order[:, i : i + 1]) * sources[torch.arange(3), order[:, i]] for i in range(2)
    )
    torch.testing.assert_close(found["feature"], by_hand)
    others = sources.clone()
    others[torch.arange(3), order[:, 3]] += 100.0
    torch.testing.assert_close(network(bag, others)["logits"], found["logits"])
    others[torch.arange(3), order[:, 0]] += 1.0
    assert not torch.allclose(network(bag, others)["logits"], found["logits"])


def test_experts_are_rectified_linear_maps_of_their_own_source() -> None:
    network, bag, sources = routing(top_k=4), torch.randn(3, 7, 5), torch.randn(3, 4, 8)
    found = network(bag, sources)
    answers = [F.relu(sources[:, i] @ e.weight.T + e.bias) for i, e in enumerate(network.experts)]
    torch.testing.assert_close(found["feature"], sum(found["gates"][:, i : i + 1] * a for i, a in enumerate(answers)))
    with torch.no_grad():
        network.router.weight.zero_()
    torch.testing.assert_close(network(bag, sources)["feature"], torch.stack(answers).mean(0))


def test_gradient_reaches_gates_of_the_chosen_and_through_the_softmax_the_others() -> None:
    network = routing()
    network(torch.randn(1, 7, 5), torch.randn(1, 4, 8))["logits"].square().sum().backward()
    touched = [bool(expert.weight.grad.any()) for expert in network.experts]
    assert sum(touched) <= 2
    assert network.router.weight.grad.abs().sum(1).gt(0).all()


def test_gumbel_noise_is_for_training_alone() -> None:
    network, bag, sources = routing(gumbel=True, dropout=0.0), torch.randn(400, 2, 5), torch.randn(400, 4, 8)
    torch.testing.assert_close(network(bag, sources)["gates"], network(bag, sources)["gates"])
    with torch.no_grad():
        network.router.weight.zero_()
    network.train()
    best = network(bag, sources)["gates"].argmax(1).bincount(minlength=4)
    assert best.min() > 60  # equal logits with Gumbel noise: each expert is first equally often


def test_routing_refuses_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="top_k is at most"):
        routing(top_k=5)
    with pytest.raises(ValueError, match=r"sources \[batch, 4"):
        routing()(torch.randn(1, 7, 5), torch.randn(1, 3, 8))
