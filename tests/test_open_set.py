"""Adaptation to other classes: pseudo-labels by clustering, banks of neighbours, the open-set score, the source domain."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from kdrun.data.digits import Digits
from kdrun.data.glyphs import Glyphs
from kdrun.errors import InputError
from kdrun.metrics.open_set import h_score
from kdrun.models.building import build, resolve
from kdrun.ops.banks import bank_nearest_neighbors, filled_banks, neighbor_soft_cross_entropy, zero_rows
from kdrun.ops.classification import cross_entropy
from kdrun.ops.clustering import kmeans_centroids, one_vs_all_pseudo_label
from kdrun.optim.schedules import Progress, inverse_power
from kdrun.parts.clusters import best_ratio
from kdrun.parts.select import of_classes


def blobs(*centers: list[float], rows: int = 30, spread: float = 0.05) -> torch.Tensor:
    """So many rows around each centre, one after the other."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(centers) * rows, len(centers[0]), generator=generator)
    return torch.tensor(centers).repeat_interleave(rows, 0) + spread * noise


THREE = blobs([1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0])
UNSURE = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]]).repeat_interleave(30, 0)


def test_rows_of_a_cluster_that_no_class_claims_are_unknown_and_uniform() -> None:
    found = one_vs_all_pseudo_label(5 * THREE, UNSURE, torch.tensor(1.5))
    assert found["hard"].tolist() == [0] * 30 + [1] * 30 + [2] * 30
    assert torch.equal(found["soft"], torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]).repeat_interleave(30, 0))
    torch.testing.assert_close(found["features"].norm(dim=1), torch.ones(90))
    closed = one_vs_all_pseudo_label(THREE, UNSURE, torch.tensor(1.5), reject=False)
    assert torch.equal(closed["hard"][:60], found["hard"][:60])
    assert closed["hard"].max() == 1


def test_rows_of_pseudo_labels_are_divided_by_their_sum_and_eps() -> None:
    soft = one_vs_all_pseudo_label(THREE, UNSURE, torch.tensor(1.5), eps=0.5)["soft"]
    assert soft[0].tolist() == pytest.approx([1 / 1.5, 0.0])
    assert soft[-1].tolist() == pytest.approx([1 / 2.5, 1 / 2.5])


def test_low_confidence_makes_acceptance_stricter() -> None:
    """Doubtful predictions halve the similarity with the own class, unless the prior is 1 at full weight."""
    near = blobs([1.0, 0.5], [0.5, 1.0])  # a cosine of 0.8 between the classes
    doubtful = 0.5 + 0.02 * (UNSURE[:60] - 0.5)
    lenient, strict = (
        one_vs_all_pseudo_label(near, doubtful, torch.tensor(1.0), prior_weight=w)["hard"] for w in (1.0, 0.0)
    )
    assert lenient.tolist() == [0] * 30 + [1] * 30
    assert (strict == 2).all()


def test_a_too_large_ratio_turns_members_into_negatives() -> None:
    found = one_vs_all_pseudo_label(THREE, UNSURE, torch.tensor(6.0))["hard"]
    assert (found == 2).float().mean() > 0.9


def test_centroids_are_the_means_of_apart_clusters() -> None:
    found = kmeans_centroids(THREE, 3)
    means = THREE.view(3, 30, 4).mean(1)
    order = (found @ means.T).argmax(1)
    torch.testing.assert_close(found, means[order])
    assert len(kmeans_centroids(THREE[:2], 5)) == 2


def test_the_silhouette_finds_the_number_of_clusters() -> None:
    centers = torch.eye(6).tolist()
    assert best_ratio(blobs(*centers, rows=15), 3, [0.25, 0.5, 1.0, 2.0, 3.0]) == 2.0
    assert best_ratio(blobs(*centers[:3], rows=30), 3, [0.5, 1.0, 2.0, 3.0]) == 1.0


def test_neighbours_leave_the_row_itself_and_empty_rows_out() -> None:
    bank = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.4], [-1.0, 0.1]]), dim=1)
    bank = torch.cat([bank, zero_rows(rows=1, columns=2)])
    scores = torch.eye(5)
    near = bank_nearest_neighbors(7 * bank[[0, 3]], bank, scores, k=3)
    assert near["index"].tolist() == [[1, 2, 3], [2, 1, 0]]
    assert torch.equal(near["scores"], scores[near["index"]])
    with pytest.raises(ValueError, match="do not fit"):
        bank_nearest_neighbors(bank, bank, scores, k=5)
    with pytest.raises(ValueError, match="give index and probabilities"):
        bank_nearest_neighbors(bank, bank, scores, k=1, update="after")


@pytest.mark.parametrize(("update", "first"), [("after", [2]), ("before", [1])])
def test_banks_are_rewritten_before_or_after_neighbours_are_sought(update, first) -> None:
    """Row 0 moves next to row 1; before that, row 2 was nearest to it but for row 1 (dropped as the row itself)."""
    bank = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
    scores = torch.zeros(3, 2)
    feature = torch.tensor([[3.0, 0.1]], requires_grad=True)
    answer = torch.tensor([[0.2, 0.8]], requires_grad=True)
    near = bank_nearest_neighbors(feature, bank, scores, torch.tensor([0]), answer, k=1, update=update)
    assert near["index"][0].tolist() == first
    torch.testing.assert_close(bank[0], F.normalize(feature.detach(), dim=1)[0])
    assert torch.equal(scores[0], answer.detach()[0])
    assert not near["scores"].requires_grad
    assert not scores.requires_grad


def test_banks_hold_unit_rows() -> None:
    filled = filled_banks(THREE, UNSURE)
    torch.testing.assert_close(filled["features"], THREE / THREE.norm(dim=1, keepdim=True))
    assert torch.equal(filled["scores"], UNSURE)


def test_neighbour_cross_entropy_is_least_at_the_neighbours_mean() -> None:
    neighbours = torch.rand(4, 3, 5).softmax(-1).requires_grad_()
    logits = neighbours.detach().mean(1).log().requires_grad_()
    loss = neighbor_soft_cross_entropy(logits.softmax(-1), neighbours, eps=0.0)
    (slope,) = torch.autograd.grad(loss, logits)
    assert slope.abs().max() < 1e-6
    mean = neighbours.detach().mean(1)
    assert loss.item() == pytest.approx(-(mean * mean.log()).sum(1).mean().item(), rel=1e-5)
    assert neighbours.grad is None


def test_cross_entropy_of_probabilities_is_that_of_their_logits() -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 3, -100, 1, 2, 0])
    for target, smoothing in ((labels, 0.0), (labels, 0.2), (torch.rand(6, 4).softmax(-1), 0.1)):
        expected = cross_entropy(logits, target, label_smoothing=smoothing)
        found = cross_entropy(logits.softmax(-1), target, label_smoothing=smoothing, given="probabilities")
        torch.testing.assert_close(found, expected)
    sure = torch.tensor([[1.0, 0.0]])
    assert cross_entropy(sure, torch.tensor([1]), given="probabilities", eps=1e-5).item() == pytest.approx(
        -math.log(1e-5), rel=1e-5
    )


def test_h_score_is_the_harmonic_mean_over_present_classes_and_unknown_rows() -> None:
    def sure(*classes: int) -> torch.Tensor:
        return 20 * F.one_hot(torch.tensor(classes), 3).float()

    logits = torch.cat([sure(0, 0, 0, 1, 2), torch.zeros(1, 3), sure(0)])
    label = torch.tensor([0, 0, 0, 1, 1, 3, 5])  # class 2 does not occur
    found = h_score(logits, label, per_class=True)
    assert found == pytest.approx({"known": 0.75, "unknown": 0.5, "h": 0.6, "class_0": 1.0, "class_1": 0.5})
    assert h_score(logits, label, threshold=1.0)["unknown"] == 0.0
    assert h_score(logits, label, threshold=1.0)["h"] == 0.0
    assert math.isnan(h_score(logits[:5], label[:5])["h"])


def test_entropy_is_measured_against_that_of_the_models_own_classes() -> None:
    even = torch.tensor([[0.0, 0.0, -30.0, -30.0]])  # ln 2 of ln 4: one half
    assert h_score(even, torch.tensor([4]), threshold=0.49)["unknown"] == 1.0
    assert h_score(even, torch.tensor([4]), threshold=0.51)["unknown"] == 0.0


def test_inverse_power_falls_from_one() -> None:
    rates = [inverse_power(Progress(s, 100, s // 10, 10, 10)) for s in (0, 10, 90)]
    assert rates == pytest.approx([1.0, 2**-0.75, 10**-0.75])


def test_classes_are_kept_and_numbered_by_their_place() -> None:
    digits = Digits().load()["all"]
    assert len(digits) == 1797
    assert digits.rows()["index"].tolist() == list(range(1797))
    kept = of_classes(digits, classes=[7, 2], renumber=True)
    was = digits.rows(kept.rows()["index"])["label"]
    assert kept.info.classes == 2
    assert torch.equal(torch.tensor([7, 2])[kept.rows()["label"]], was)
    assert len(was) == int(((digits.rows()["label"] == 7) | (digits.rows()["label"] == 2)).sum())
    plain = of_classes(digits, classes=[7, 2])
    assert torch.equal(plain.rows()["label"], was)
    assert plain.info.classes == 10
    with pytest.raises(InputError, match="no row is of the classes"):
        of_classes(digits, classes=[12], renumber=True)


def test_fitted_glyphs_touch_opposite_sides_and_reach_one() -> None:
    few = {"per_class": 4, "valid_per_class": 1, "test_per_class": 1, "teacher_per_class": 1}
    part = Glyphs(**few, characters="0189", size=8, shift=0.0, noise=0.0, shear=0.15, fit=True, typefaces=3)
    image = part.load()["train"].rows()["image"]
    assert torch.equal(image.amax((1, 2, 3)), torch.ones(16))
    assert (image[:, 0, 0].amax(1) > 0.1).all()
    assert (image[:, 0, -1].amax(1) > 0.1).all()  # digits are taller than wide
    upright = Glyphs(**few, characters="1", size=20, rotation=0.0, shift=0.0, scale=0.0, noise=0.0, typefaces=1)
    slanted = Glyphs(
        **few, characters="1", size=20, rotation=0.0, shift=0.0, scale=0.0, noise=0.0, typefaces=1, shear=0.3
    )
    first, second = (p.load()["train"].rows()["image"][0, 0] for p in (upright, slanted))
    torch.testing.assert_close(first.sum(1), second.sum(1), atol=0.2, rtol=0.1)  # shear moves along rows alone
    assert not torch.allclose(first, second, atol=0.1)


def network(**options):
    sizes = {"num_classes": 5, "in_channels": 3, "image_size": 32, "in_features": 3072}
    return build(resolve({"model": "bottleneck_classifier", "width": 7, **options}, sizes), seed=(0, "test"))


@pytest.mark.parametrize("backbone", [{"model": "cnn"}, {"model": "cifar_resnet", "depth": 8}, {"model": "mlp"}])
def test_a_bottleneck_sits_between_backbone_and_head(backbone) -> None:
    module = network(backbone=backbone)
    image = torch.rand(4, 3, 32, 32)
    logits = module(image)
    assert logits.shape == (4, 5)
    feature = module.bottleneck(module.backbone(image))
    torch.testing.assert_close(logits, feature @ module.head.weight.T + module.head.bias)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_the_heads_rows_have_the_norm_of_its_length() -> None:
    head = network(backbone={"model": "cnn"}).head
    before = head.weight.clone()
    reference = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(7, 5))
    reference.weight = before
    torch.testing.assert_close(reference.weight, before)
    with torch.no_grad():
        head.direction.mul_(3.0)
    torch.testing.assert_close(head.weight, before)
    with torch.no_grad():
        head.length.mul_(2.0)
    torch.testing.assert_close(head.weight, 2 * before)


def test_a_backbone_without_a_linear_head_is_refused() -> None:
    with pytest.raises(InputError, match="names no linear head"):
        network(backbone={"model": "linear", "in_features": 3, "out_features": 3})


REFRESHED = """
# @package _global_
defaults: [{override /student: linear}, {override /protocol: null}, {override /transfer: null}]
graph:
  part: {stage: select, by: of_classes, from: [data.train], classes: [3, 4]}
  fit:
    stage: train
    from: {model: student, data: part}
    step:
      state:
        features: {op: zero_rows, rows: auto, columns: 64}
        scores: {op: zero_rows, rows: auto, columns: 10}
      nodes:
        m: {call: model, from: [batch.image], taps: {feature: feature}}
        own: {op: gather, from: [scores, batch.index]}
        ce: {op: cross_entropy, from: [m.probabilities, own], given: probabilities}
      updates: {main: {minimize: {ce: 1.0}, train: [model], optimizer: {optimizer: sgd, lr: 1.0e-9}}}
    refresh: {op: filled_banks, from: [m.feature, m.probabilities], every: 1}
    epochs: 2
"""


def test_a_refresh_writes_the_state_at_each_rows_index(session, tmp_path) -> None:
    """Each row's target is its own first prediction, so that the loss is the mean entropy of predictions."""
    path = tmp_path / "own.yaml"
    path.write_text(REFRESHED)
    ready = session(str(path))
    ready.plan()
    ready.run()
    log = ready.store.read(ready.keys["fit"])["log"].rows
    from kdrun.grammar.nodes import Ref

    state = ready.executor.value(Ref("fit")).state
    rows = ready.executor.value(Ref("part")).rows()
    assert int(rows["index"].max()) >= len(rows["index"])
    p = (rows["image"].flatten(1) @ state["head.weight"].T + state["head.bias"]).softmax(1)
    entropies = -(p * p.log()).sum(1)
    assert log[0]["ce"] == pytest.approx(entropies.mean().item(), rel=0.02)  # a mean over batches, the last one short
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(
        REFRESHED.replace("scores:", "answers:").replace("[scores,", "[answers,").replace("features:", "x:", 1)
    )
    with pytest.raises(InputError, match="no state of the step has such a name"):
        session(str(wrong)).run()
    wrong.write_text(REFRESHED.replace("columns: 64", "columns: 63"))
    with pytest.raises(InputError, match=r"for the state 'features' \[\d+, 63\]"):
        session(str(wrong)).run()
