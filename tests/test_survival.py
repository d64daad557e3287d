"""Bags of instances, routed experts, survival data and tables of transfer."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.survival import BagFolder, ClinicalTables, SurvivalBags, quantile_cutoffs
from kdrun.errors import DataError, InputError
from kdrun.metrics.survival import concordance_index, discrete_concordance_index
from kdrun.models.bags import GatedAttentionMIL, MeanPoolingMIL, TopKExpertRouting
from kdrun.models.building import build
from kdrun.ops.survival import discrete_survival_nll
from kdrun.parts.corrupt import permuted_columns
from kdrun.parts.label import stacked_features
from kdrun.parts.merge import best_scored
from kdrun.parts.transferability import pivot_scores, transfer_correlates
from kdrun.runtime.hardware import Hardware

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


def rank(values: torch.Tensor) -> torch.Tensor:
    return values.argsort().argsort().double()


def test_rendered_cohorts_are_as_promised_and_share_a_prognosis() -> None:
    part = SurvivalBags(target=1.0, sources=[1.0, -1.0], train=400, valid=10, test=20, signal=3.0, censored=0.3)
    promised, splits = part.info(), part.load()
    for info, found in zip([promised, *promised["sources"]], [splits, *splits["sources"]], strict=True):
        for name in ("train", "valid", "test"):
            rows = found[name].rows()
            assert len(found[name]) == info[name].size
            for column, described in info[name].columns.items():
                assert (rows[column].shape[1:], rows[column].dtype) == (described.shape, described.dtype)
            assert 0 <= int(rows["bin"].min()) <= int(rows["bin"].max()) < info[name].classes
    times = torch.cat([s["train"].rows()["time"] for s in (splits, *splits["sources"])])
    bins = torch.cat([s["train"].rows()["bin"] for s in (splits, *splits["sources"])])
    assert bins.bincount().tolist() == [150] * 8
    assert (rank(times) // 150 == bins).all()  # one set of cut-offs for all cohorts
    assert splits["train"].rows()["event"].double().mean() == pytest.approx(0.7, abs=0.08)
    again = SurvivalBags(target=1.0, sources=[1.0, -1.0], train=400, valid=10, test=20, signal=3.0, censored=0.3).load()
    assert torch.equal(again["test"].rows()["bag"], splits["test"].rows()["bag"])


def test_the_opposite_prognosis_is_found_by_least_squares_on_mean_instances() -> None:
    splits = SurvivalBags(target=1.0, sources=[1.0, -1.0, 0.0], shift=0.0, censored=0.0).load()

    def direction(cohort) -> torch.Tensor:
        rows = cohort["train"].rows()
        mean = rows["bag"].mean(1).double()
        return torch.linalg.lstsq(mean - mean.mean(0), -rows["time"].double().log()[:, None]).solution[:, 0]

    test = splits["test"].rows()
    scores = [
        concordance_index(test["bag"].mean(1).double() @ direction(c), test["time"], test["event"])
        for c in (splits, *splits["sources"])
    ]
    assert min(scores[:2]) > 0.7
    assert scores[2] < 0.3


def test_cohorts_refuse_shares_outside_their_range_and_bins_without_times() -> None:
    with pytest.raises(DataError, match="from -1 to 1"):
        SurvivalBags(target=1.2)
    with pytest.raises(DataError, match="too few different times"):
        quantile_cutoffs(torch.ones(10), 4)


def write_cohort(root, name: str, rows: list[dict], sizes: dict[str, int]) -> None:
    folder = root / name / "features"
    folder.mkdir(parents=True)
    with (root / name / "patients.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["slides", "time", "event", "fold"])
        writer.writeheader()
        writer.writerows(rows)
    for slide, count in sizes.items():
        values = torch.arange(1.0, count + 1)[:, None].expand(-1, 3).contiguous()
        if slide.startswith("n"):
            np.savez(folder / f"{slide}.npz", features=values.numpy())
        else:
            save_file({"features": values}, folder / f"{slide}.safetensors")


def test_bags_from_files(tmp_path) -> None:
    part = BagFolder(root=str(tmp_path), target="A", sources=["B"], features=3, instances=4, bins=4, fold=1)
    assert part.info()["train"].columns["bag"].shape == (4, 3)  # known without files
    with pytest.raises(
        DataError, match=r"no list .*A/patients.csv: expected .* slides, time, event, fold, and .*SLIDE"
    ):
        part.load()
    rows = [
        {"slides": "s1 n2", "time": 10, "event": 1, "fold": 0},
        {"slides": "n3", "time": 365, "event": 0, "fold": 1},
        {"slides": "s4", "time": 99999, "event": 1, "fold": 2},
    ]
    sizes = {"s1": 1, "n2": 2, "n3": 9, "s4": 4}
    for name in ("A", "B"):
        write_cohort(tmp_path, name, rows, sizes)
    before = part.fingerprint()
    splits = part.load()
    train, test = splits["train"].rows(), splits["test"].rows()
    assert train["bag"][:, :, 0].tolist() == [[1, 1, 2, 0], [1, 2, 3, 4]]  # joined and padded
    assert test["bag"][0, :, 0].tolist() == [1, 4, 6, 9]  # thinned
    assert train["bin"].tolist() == [0, 3]
    assert test["bin"].tolist() == [1]
    assert len(splits["sources"][0]["train"]) == 2
    (tmp_path / "B" / "features" / "s4.safetensors").unlink()
    assert part.fingerprint() != before
    with pytest.raises(DataError, match=r"patients.csv:4: expected .*s4.safetensors or .npz"):
        part.load()
    again = BagFolder(root=str(tmp_path), target="A", sources=[], features=3, instances=4, bins=4, fold=7).load()
    assert torch.equal(again["test"].rows()["bag"], test["bag"])  # the folds are counted through
    with pytest.raises(DataError, match=r"expected features \[instances, 5\], got \[1, 3\]"):
        BagFolder(root=str(tmp_path), target="A", sources=[], features=5, instances=4).load()


@pytest.mark.parametrize("change", [{"event": 2}, {"time": "soon"}, {"time": -1}, {"slides": ""}])
def test_a_wrong_row_is_named(tmp_path, change) -> None:
    write_cohort(tmp_path, "A", [{"slides": "s1", "time": 1, "event": 1, "fold": 0, **change}], {"s1": 1})
    with pytest.raises(DataError, match=r"patients.csv:2"):
        BagFolder(root=str(tmp_path), target="A", sources=[], features=3).load()


@pytest.mark.parametrize("name", ["whas500", "gbsg2", "veterans"])
def test_a_linear_hazard_orders_real_patients(name) -> None:
    """Harrell's index of Cox regressions on these sets is between 0.65 and 0.8 in the literature."""
    pytest.importorskip("sksurv")
    part = ClinicalTables(name=name)
    splits = part.load()
    for split, info in part.info().items():
        rows = splits[split].rows()
        assert (len(splits[split]), rows["features"].shape[1:]) == (info.size, info.columns["features"].shape)
    train, test = splits["train"].rows(), splits["test"].rows()
    network = nn.Linear(train["features"].shape[1], 8)
    nn.init.zeros_(network.weight)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03, weight_decay=0.01)
    losses = []
    for _ in range(80):
        loss = discrete_survival_nll(network(train["features"]), train["bin"], train["event"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert discrete_concordance_index(network(test["features"]).detach(), test["time"], test["event"]) > 0.6


def rows_of(**columns: torch.Tensor) -> MemoryDataset:
    return MemoryDataset(columns, DataInfo({n: Column(tuple(c.shape[1:]), c.dtype) for n, c in columns.items()}))


def test_permuted_columns_stay_together_and_lose_the_others() -> None:
    data = rows_of(bag=torch.arange(50), time=torch.arange(50), event=2 * torch.arange(50))
    found = permuted_columns(data, columns=["time", "event"], generator=torch.Generator().manual_seed(0)).rows()
    assert torch.equal(found["bag"], torch.arange(50))
    assert torch.equal(found["event"], 2 * found["time"])
    assert sorted(found["time"].tolist()) == list(range(50))
    assert (found["time"] == found["bag"]).sum() < 10
    with pytest.raises(InputError, match="no column 'tme'"):
        permuted_columns(data, columns=["tme"], generator=torch.Generator())


def test_the_best_model_wins() -> None:
    models = [nn.Linear(1, 1) for _ in range(3)]
    table = [{"c": 0.4}, {"c": float("nan")}, {"c": 0.6}]
    assert best_scored(models, table, column="c") is models[2]
    assert best_scored(models, table, column="c", largest=False) is models[0]
    with pytest.raises(InputError, match="no column 'd'"):
        best_scored(models, table, column="d")
    with pytest.raises(InputError, match="as many rows, got 1"):
        best_scored(models, table[:1], column="c")


def test_transfer_tables() -> None:
    sizes, centres = [10, 20, 30], [0.0, 1.0, 4.0]
    data = [
        rows_of(bag=torch.full((n, 2, 3), c + 1), event=torch.ones(n, dtype=torch.int64))
        for n, c in zip(sizes, centres, strict=True)
    ]
    near = [[-abs(a - b) for b in centres] for a in centres]  # the nearer, the better
    tables = [[{"model": i, "c": v} for i, v in enumerate(row)] for row in near]
    assert pivot_scores(tables, column="c") == [{str(i): v for i, v in enumerate(row)} for row in near]
    (found,) = transfer_correlates(tables, data, column="c")
    assert found["distance"] == pytest.approx(-1.0)
    assert "event_rate" not in found  # the same everywhere
    assert "self_score" not in found
    by_size = [[{"c": float(n)} for n in sizes]] * 3
    assert transfer_correlates(by_size, data, column="c")[0]["size"] == pytest.approx(1.0)
    with pytest.raises(InputError, match="does not fit 2 data sets"):
        transfer_correlates(tables, data[:2], column="c")


def test_features_of_several_models_stand_in_their_order() -> None:
    models = [GatedAttentionMIL(**ATTENTION).eval() for _ in range(3)]
    data = rows_of(bag=torch.randn(5, 4, 5), time=torch.rand(5))
    hardware = Hardware({"device": "cpu", "precision": "fp32", "threads": 1, "workers": 0})
    context = SimpleNamespace(config_key="x", hardware=hardware, device=hardware.device)
    found = stacked_features(models, data, batch_size=2, context=context).rows()["sources"]
    expected = torch.stack([m(data.rows()["bag"])["feature"] for m in models], dim=1)
    torch.testing.assert_close(found, expected.detach())
