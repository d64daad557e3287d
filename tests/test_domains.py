"""Domains, tasks, clients, and models with restricted access."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.domains import DomainGlyphs, Wilds
from kdrun.data.sampling import one_group_a_batch
from kdrun.data.tasks import RotatedDigits, SplitCifar100
from kdrun.errors import DataError, InputError
from kdrun.metrics.leakage import feature_knn_distance
from kdrun.models.building import build
from kdrun.parts.diffusion import class_requests
from kdrun.parts.initialize import opaque
from kdrun.parts.inversion import boundary_repulsion
from kdrun.parts.partition import label_skew
from kdrun.runtime.checkpoints import Checkpoints
from kdrun.runtime.context import Context
from kdrun.runtime.progress import Reporter


def rows(count: int, classes: int = 4) -> MemoryDataset:
    label = torch.arange(count) % classes
    return MemoryDataset({"label": label}, DataInfo({"label": Column((), torch.int64)}, classes=classes))


def test_skewed_clients_are_disjoint_and_tested_on_their_own_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    clients = label_skew(rows(400), rows(200), parts=4, concentration=0.1, size=50, test_size=40, generator=generator)
    index = torch.cat([c["train"].rows()["index"] for c in clients])
    assert len(index.unique()) == 200
    for client in clients:
        shares = [torch.bincount(client[n].rows()["label"], minlength=4) / len(client[n]) for n in ("train", "test")]
        assert (shares[0] - shares[1]).abs().max() < 0.35
    assert max(float((torch.bincount(c["train"].rows()["label"]) / 50).max()) for c in clients) > 0.6


def test_groups_share_their_priors() -> None:
    clients = label_skew(
        rows(4000),
        rows(400),
        parts=4,
        concentration=0.3,
        size=200,
        groups=2,
        shared=1.0,
        generator=torch.Generator().manual_seed(1),
    )
    counts = torch.stack([torch.bincount(c["train"].rows()["label"], minlength=4) / 200 for c in clients])
    assert (counts[0] - counts[1]).abs().max() < 0.12 < (counts[0] - counts[2]).abs().max()
    with pytest.raises(InputError, match="there are"):
        label_skew(rows(10), rows(10), parts=4, size=50, generator=torch.Generator())


def test_domains_differ_between_and_agree_within_runs() -> None:
    data = DomainGlyphs(per_domain=20, seed=3)
    first, again = data.load(), DomainGlyphs(per_domain=20, seed=3).load()
    assert torch.equal(first["train"].rows()["image"], again["train"].rows()["image"])
    assert len(first["train"]) == 240
    assert [len(first[n]) for n in ("valid", "test")] == [2, 6]
    assert first["test"][0].rows()["domain"].unique().tolist() == [14]
    assert first["train"].rows()["domain"].unique().tolist() == list(range(12))


def test_a_batch_has_one_domain() -> None:
    data = DomainGlyphs(per_domain=20, source_domains=3).load()["train"]
    order = one_group_a_batch(data, 8, generator=torch.Generator().manual_seed(0))
    domains = data.rows()["domain"][order].view(-1, 8)
    assert domains.shape == (6, 8)
    assert (domains == domains[:, :1]).all()
    with pytest.raises(InputError, match="has 50 rows"):
        one_group_a_batch(data, 50, generator=torch.Generator())


def test_tasks_turn_and_share_no_rows_between_train_and_test() -> None:
    tasks = RotatedDigits(tasks=3, noise=0.0).load()["tasks"]
    assert [len(tasks[0][n]) for n in ("train", "test")] == [200, 500]
    assert tasks[2]["train"].rows()["task"].unique().tolist() == [2]
    image = tasks[0]["train"].rows()["image"].flatten(1)
    everything = torch.cat([image, tasks[0]["test"].rows()["image"].flatten(1)])
    assert len(everything.unique(dim=0)) == 700, "no picture stands in both"
    assert not torch.equal(image, tasks[1]["train"].rows()["image"].flatten(1))


def test_absent_data_is_asked_for(tmp_path) -> None:
    with pytest.raises(DataError, match="cifar-100-python"):
        SplitCifar100(root=str(tmp_path)).load()
    assert len(SplitCifar100(root="x").info()["tasks"]) == 10
    with pytest.raises(DataError, match="not 'mnist'"):
        Wilds(name="mnist", root="x")
    assert len(Wilds(name="fmow", root="x", test_domains=3).info()["test"]) == 3


def test_a_black_box_counts_and_tells_labels_only() -> None:
    network = build({"model": "mlp", "hidden": [4], "in_features": 6, "num_classes": 3}, seed=(0,))
    box = opaque(network)
    image = torch.randn(5, 6, requires_grad=True)
    answer = box(image)
    assert list(answer) == ["label"]
    assert torch.equal(answer["label"], network(image).argmax(-1))
    assert not answer["label"].requires_grad
    assert int(box.queries) == 5
    assert not box.train().base.training


def test_the_nearest_private_row_is_of_the_class() -> None:
    features, reference = torch.tensor([[0.0], [0.0]]), torch.tensor([[0.1], [2.0]])
    labels = torch.tensor([0, 1])
    assert feature_knn_distance(features, labels, reference, labels) == pytest.approx((0.01 + 4.0) / 2)


class _Plane(torch.nn.Module):
    """Answers label 1 where the first coordinate is above 0."""

    def forward(self, point):
        return {"label": (point[:, 0] > 0).long()}


class _Itself(torch.nn.Module):
    def forward(self, latent, label):
        return latent


def surroundings(folder) -> Context:
    """A stage on the processor that saves a checkpoint whenever it may."""
    hardware = SimpleNamespace(device=torch.device("cpu"))
    return Context("solve", "key", "solve", 0, cast("Any", hardware), Checkpoints(folder, "key"), Reporter(), 0.0)


def repelled(folder, target: torch.nn.Module) -> dict[str, torch.Tensor]:
    data = class_requests(classes=2, per_class=20)
    generator = torch.Generator().manual_seed(0)
    return boundary_repulsion(
        _Itself(), target, data, latent=3, rounds=60, context=surroundings(folder), generator=generator
    )


def test_repulsion_moves_away_from_the_boundary(tmp_path) -> None:
    found = repelled(tmp_path, _Plane())
    signed = found["latent"][:, 0] * (2 * class_requests(classes=2, per_class=20).rows()["label"] - 1)
    assert (signed > 2).all(), "a whole sphere of the first radius lies in the class"
    assert set(found["style"].tolist()) == {0, 1}
    assert int(found["queries"]) >= 60 * 32 * 40


def test_repulsion_goes_on_from_its_checkpoint(tmp_path) -> None:
    class Breaking(_Plane):
        asked = 0

        def forward(self, point):
            self.asked += 1
            if self.asked == 40:
                raise KeyboardInterrupt
            return super().forward(point)

    whole = repelled(tmp_path / "whole", _Plane())
    with pytest.raises(KeyboardInterrupt):
        repelled(tmp_path / "broken", Breaking())
    counted = Breaking()
    counted.asked = 1000
    resumed = repelled(tmp_path / "broken", counted)
    assert counted.asked - 1000 < 60
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name
