"""Cohorts with survival times: rendered, from files, from real patients."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kdrun.data.survival import BagFolder, ClinicalTables, SurvivalBags, quantile_cutoffs
from kdrun.errors import DataError
from kdrun.metrics.survival import concordance_index, discrete_concordance_index
from kdrun.ops.survival import discrete_survival_nll


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
