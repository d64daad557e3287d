"""Sources of data: how they are dealt out, mixed, judged by a cheap learner and by transport, and chosen among."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.data.dataset import Column, DataInfo, FileDataset, MemoryDataset
from kdrun.data.sources import ClassSources, _renumbered
from kdrun.errors import DataError, InputError
from kdrun.metrics.classification import mean_absolute_error
from kdrun.metrics.selection import gradient_agreement, selection_regret
from kdrun.ops.simplex import simplex_grid
from kdrun.parts.mixtures import mixture_accuracy, mixture_ascent, mixture_rows, mixture_transport, source_mixture
from kdrun.parts.projections import principal_components
from kdrun.parts.tables import table_column

GROUPS = [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def digits(**options):
    return ClassSources(base={"data": "digits"}, groups=GROUPS, **{"seed": 3, **options})


def toy(count: int = 300, classes: int = 3, seed: int = 0) -> MemoryDataset:
    """Source i holds class i alone, around a corner of its own."""
    label = torch.arange(count) % classes
    x = 4 * torch.eye(classes)[label] + torch.randn(count, classes, generator=stream(seed))
    columns = {"image": x, "label": label, "source": label}
    return MemoryDataset(columns, DataInfo({n: Column(tuple(c.shape[1:]), c.dtype) for n, c in columns.items()}, 3))


def test_sources_hold_their_classes_and_a_few_others() -> None:
    data = digits(leakage=[0.02, 0.1, 0.0])
    splits, info = data.load(), data.info()
    rows = splits["pool"].rows()
    assert len(splits["pool"]) == info["pool"].size == 797
    assert rows["index"].tolist() == list(range(797))
    for i, (group, leak) in enumerate(zip(GROUPS, [0.02, 0.1, 0.0], strict=True)):
        foreign = ~torch.isin(rows["label"][rows["source"] == i], torch.tensor(group))
        assert abs(foreign.double().mean().item() - leak) < 0.01
    again = digits(leakage=[0.02, 0.1, 0.0]).load()["pool"].rows()
    assert all(torch.equal(rows[name], again[name]) for name in rows)
    with pytest.raises(DataError, match="3 sources need as many shares"):
        digits(leakage=[0.1])
    with pytest.raises(DataError, match="one source"):
        ClassSources(base={"data": "digits"}, groups=[[0, 1], [1, 2]])


def test_wrong_labels_are_in_their_source_alone_and_change_nothing_else() -> None:
    clean, noisy = digits().load()["pool"].rows(), digits(wrong_labels=[0.0, 0.4, 0.0]).load()["pool"].rows()
    changed = clean["label"] != noisy["label"]
    assert torch.equal(clean["image"], noisy["image"])
    assert not changed[clean["source"] != 1].any()
    assert abs(changed[clean["source"] == 1].double().mean().item() - 0.36) < 0.08  # a tenth is right by chance


def test_rows_of_files_are_numbered_anew() -> None:
    info = DataInfo({"image": Column(()), "label": Column((), torch.int64)}, 3)
    files = FileDataset(lambda i: {"image": torch.tensor(float(i)), "label": torch.tensor(i % 3)}, 9, info)
    chosen = _renumbered(files, torch.tensor([7, 2, 4]), {"label": torch.tensor([2, 2, 0])})
    rows = chosen.select(torch.tensor([2, 0])).rows()
    assert rows["image"].tolist() == [4, 7]
    assert rows["label"].tolist() == [0, 2]
    assert rows["index"].tolist() == [2, 0]


def test_mixtures_have_the_asked_shares() -> None:
    data = toy()
    mixed = source_mixture(data, torch.tensor([0.5, 0.295, 0.205]), size=101, generator=stream())
    assert torch.bincount(mixed.rows()["source"]).tolist() == [50, 30, 21]  # 50.5, 29.8, 20.7: largest remainders
    rows = mixture_rows(data, simplex_grid(sources=3, step=0.5), size=10, repeats=2, generator=stream())
    assert rows.shape == (2, 6, 10)
    assert not torch.equal(rows[0], rows[1])
    sources = data.rows()["source"][rows]
    assert (sources[:, 0] == 2).all()
    with pytest.raises(InputError, match="sum to 1"):
        source_mixture(data, torch.tensor([0.5, 0.6, 0.2]), size=10, generator=stream())
    with pytest.raises(InputError, match="do not cover"):
        source_mixture(data, shares=[0.5, 0.5], size=10, generator=stream())


def test_a_learner_is_as_good_as_its_mixture() -> None:
    data, target = toy(), toy(90, seed=1)
    cells = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    rows = mixture_rows(data, cells, size=60, repeats=2, generator=stream())
    for learner in ("logistic_regression", "ridge", "nearest_mean"):
        found = mixture_accuracy(rows, data, target, learner=learner, generator=stream())
        assert found[0] > 0.9
        assert 0.55 < found[1] < 0.7
        assert math.isclose(found[2], 1 / 3, abs_tol=1e-6)
    both = mixture_accuracy(rows, data, target, data, generator=stream())
    assert torch.equal(both[0], mixture_accuracy(rows, data, target, generator=stream()))
    with pytest.raises(InputError, match="learner 'ridge'"):
        mixture_accuracy(rows, data, target, learner="ridge", options={"rate": 1}, generator=stream())


def test_transport_is_least_at_the_targets_own_mixture_and_its_slopes_lead_there() -> None:
    pytest.importorskip("ot")
    data, target = toy(), toy(90, seed=1)
    features, other = data.rows()["image"], target.rows()["image"]
    grid = simplex_grid(sources=3, step=0.1)
    rows = mixture_rows(data, grid, size=60, repeats=1, generator=stream())
    found = mixture_transport(rows, data, features, target, other, sources=3, label_distance="means")
    best = grid[found["distance"].argmin()]
    assert (best - 1 / 3).abs().max() < 0.15
    assert gradient_agreement(found["gradient"], grid, found["distance"], step=0.1) > 0.9
    assert gradient_agreement(-found["gradient"], grid, found["distance"], step=0.1) < 0.1


def test_ascent_leaves_a_source_that_costs_and_stays_on_the_simplex() -> None:
    pytest.importorskip("ot")
    data, target = toy(), toy(90, seed=1)
    arguments = data, data.rows()["image"], target, target.rows()["image"]
    flat = torch.zeros(8, dtype=torch.float64)
    flat[1], flat[2] = 0.2, -0.2
    options = {"size": 80, "first_size": 20, "second_size": 40, "sources": 3, "rate": 0.1, "steps": 30, "decay": 1.0}
    found = mixture_ascent(flat, flat, *arguments, **options, label_distance="means", generator=stream())
    assert found["path"].shape == (31, 3)
    assert torch.allclose(found["path"].sum(1), torch.ones(31))
    # the slope is (0.2, -0.2, 0) at every size: 30 steps of 0.02, less what the face of the simplex stops
    assert found["proportions"][1] == 0
    assert found["proportions"][0] > found["proportions"][2] > 0
    nearer = torch.zeros(8, dtype=torch.float64)
    nearer[0] = -0.01  # accuracy falls with distance alone: uniform is best, and ascent stays near it
    near = mixture_ascent(nearer, nearer, *arguments, **options, label_distance="means", generator=stream())
    assert (near["proportions"] - 1 / 3).abs().max() < 0.1


def test_agreement_on_a_known_surface() -> None:
    grid = simplex_grid(sources=3, step=0.1)
    values = grid @ torch.tensor([1.0, 2.0, 4.0])
    slopes = torch.stack([(v - values) / (1 - grid[:, i]).clamp_min(1e-9) for i, v in enumerate([1.0, 2.0, 4.0])], 1)
    assert gradient_agreement(slopes, grid, values) == 1.0
    assert math.isnan(gradient_agreement(slopes[:1], grid[:1], values[:1]))
    assert selection_regret(torch.tensor([0.5, 0.75]), torch.tensor([0.5])) == 0.25


def test_errors_over_the_cells_of_a_mask() -> None:
    mask = torch.tensor([True, False, True])
    assert mean_absolute_error(torch.tensor([1.0, 9.0, 2.0]), torch.tensor([0.0, 0.0, 0.0]), mask) == 1.5


def test_principal_components_are_centred_uncorrelated_and_of_unit_variance() -> None:
    data = toy()
    model = principal_components(data, components=2)
    with torch.no_grad():
        z = model(data.rows()["image"])
    assert torch.allclose(z.mean(0), torch.zeros(2), atol=1e-5)
    assert torch.allclose(z.T.cov(), torch.eye(2), atol=1e-4)
    raw = principal_components(data, components=3, standardize=False)
    with torch.no_grad():
        turned = raw(data.rows()["image"])
    lengths = [(x - x.mean(0)).square().sum(1) for x in (turned, data.rows()["image"])]
    assert torch.allclose(*lengths, rtol=1e-4)  # all components: a rotation
    with pytest.raises(InputError, match="no 4 principal components"):
        principal_components(data, components=4)


def test_columns_of_tables_are_joined_in_order() -> None:
    assert table_column([[{"a": 1.0}], [{"a": 3.0}, {"a": 2.0}]], column="a").tolist() == [1, 3, 2]
    with pytest.raises(InputError, match="no column 'b'"):
        table_column([[{"a": 1.0}]], column="b")
