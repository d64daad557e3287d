"""Right-censored survival data: bags of instances by cohort, rendered or from files, and small clinical tables.

Columns are ``time`` [rows] (float32), ``event`` [rows] (int64; 1: event, 0: censored), ``bin`` [rows] (int64, the
interval of the time) and either ``bag`` [rows, instances, features] or ``features`` [rows, features].
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, FileDataset, MemoryDataset
from kdrun.data.fingerprints import fingerprint_of
from kdrun.data.patients import LIST, BagReader, read_patients
from kdrun.errors import DataError
from kdrun.ops.survival import time_bins
from kdrun.registry import data
from kdrun.types import Count, Fraction, NonNegative, PathToRead, Positive, Unsigned

__all__ = ["BagFolder", "ClinicalTables", "SurvivalBags", "quantile_cutoffs"]


def quantile_cutoffs(time: Tensor, bins: int) -> list[float]:
    """The ``bins`` - 1 cut-offs between equally filled intervals of ``time`` [rows]. Raises ``DataError`` if some fall together."""
    cutoffs = time.double().quantile(torch.arange(1, bins, dtype=torch.float64) / bins).tolist()
    if len(set(cutoffs)) < len(cutoffs):
        raise DataError(f"too few different times for {bins} bins", key="data.bins")
    return [float(c) for c in cutoffs]


def _info(shape: tuple[int, ...], bins: int, size: int | None) -> DataInfo:
    columns = {
        "bag" if len(shape) == 2 else "features": Column(shape),
        "time": Column(()),
        "event": Column((), torch.int64),
        "bin": Column((), torch.int64),
    }
    return DataInfo(columns, bins, size, extra={"in_features": shape[-1]})


@data(name="survival_bags", fields=("train", "valid", "test"), items={"sources": "sources"})
class SurvivalBags:
    """Cohorts whose patients are bags of typed instances, with a prognosis that cohorts share in part.

    An instance is the prototype of its type, of ``types`` (N(0, 1.5²), the same for all cohorts), plus N(0, 0.7²) noise
    and the cohort's shift N(0, ``shift``²), in ``features`` dimensions; a patient mixes the types by Dirichlet(0.5).
    The log hazard is ``signal`` times the mixture's product with the cohort's vector, standardised in the cohort; times
    are exponential, and a share ``censored`` of them is cut at a uniform moment. A cohort's vector is ``ρ·general + √(1
    - ρ²)·own``: ``target`` is ρ of the cohort at hand (the splits), ``sources`` those of the others (a list, each with
    the same splits); -1 is the opposite prognosis, 0 an unrelated one. ``seed`` numbers the world: prototypes,
    prognoses and patients all depend on it.

    Columns: ``bag`` [instances, features]; ``time``; ``event`` (int64; 1: event, 0: censored); ``bin`` (int64), which
    of ``bins`` intervals, which hold equal shares of all training times. Raises ``DataError`` for a ρ outside [-1, 1].

    >>> splits = data.survival_bags(train=20, valid=5, test=5, instances=6, features=4, sources=[0.8]).load()
    >>> splits["train"].rows()["bag"].shape, len(splits["sources"][0]["test"])
    (torch.Size([20, 6, 4]), 5)
    """

    def __init__(
        self,
        *,
        target: float = 0.9,
        sources: list[float] = (0.8, 0.7, 0.6, -1.0, 0.0),  # type: ignore[assignment]
        train: Count = 300,
        valid: Count = 300,
        test: Count = 300,
        types: Count = 10,
        instances: Count = 30,
        features: Count = 16,
        bins: Count = 8,
        signal: Positive = 2.5,
        shift: NonNegative = 0.5,
        censored: Fraction = 0.35,
        seed: Unsigned = 0,
    ) -> None:
        self.weights = [float(target), *map(float, sources)]
        if any(abs(w) > 1 for w in self.weights):
            raise DataError(
                f"a cohort's share of the general prognosis is from -1 to 1, got {self.weights}", key="data"
            )
        self.counts = {"train": train, "valid": valid, "test": test}
        self.types, self.instances, self.features, self.bins = types, instances, features, bins
        self.signal, self.shift, self.censored, self.seed = signal, shift, censored, seed

    def info(self) -> dict[str, Any]:
        splits = {n: _info((self.instances, self.features), self.bins, c) for n, c in self.counts.items()}
        return {**splits, "sources": [dict(splits) for _ in self.weights[1:]]}

    def load(self) -> dict[str, Any]:
        world = torch.Generator().manual_seed(self.seed * 1000)
        prototypes = 1.5 * torch.randn(self.types, self.features, generator=world)
        general = torch.randn(self.types, generator=world)
        cohorts = [self._cohort(i, w, prototypes, general) for i, w in enumerate(self.weights)]
        cutoffs = quantile_cutoffs(torch.cat([c["time"][: self.counts["train"]] for c in cohorts]), self.bins)
        for cohort in cohorts:
            cohort["bin"] = time_bins(cohort["time"], cutoffs=cutoffs)
        splits = [self._splits(cohort) for cohort in cohorts]
        return {**splits[0], "sources": splits[1:]}

    def _cohort(self, number: int, weight: float, prototypes: Tensor, general: Tensor) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.seed * 1000 + 1 + number)
        rows = sum(self.counts.values())
        own = torch.randn(self.types, generator=generator)
        move = self.shift * torch.randn(self.features, generator=generator)
        # Dirichlet(1/2) by squares of normal numbers: a gamma variable of shape 1/2 is half of one.
        parts = torch.randn(rows, self.types, generator=generator).square()
        mixture = parts / parts.sum(1, keepdim=True)
        kind = torch.multinomial(mixture, self.instances, replacement=True, generator=generator)
        noise = torch.randn(rows, self.instances, self.features, generator=generator)
        product = mixture @ (weight * general + (1 - weight**2) ** 0.5 * own)
        risk = self.signal * (product - product.mean()) / product.std()
        time = torch.empty(rows).exponential_(generator=generator) / risk.exp()
        cut = torch.rand(rows, generator=generator) < self.censored
        time = torch.where(cut, time * torch.rand(rows, generator=generator), time)
        bag = prototypes[kind] + 0.7 * noise + move
        return {"bag": bag, "time": time, "event": (~cut).long(), "risk": risk}

    def _splits(self, cohort: dict[str, Tensor]) -> dict[str, MemoryDataset]:
        parts, start = {}, 0
        for name, count in self.counts.items():
            rows = {k: v[start : start + count] for k, v in cohort.items() if k != "risk"}
            parts[name] = MemoryDataset(rows, _info((self.instances, self.features), self.bins, count))
            start += count
        return parts


@data(name="bag_folder", fields=("train", "test"), items={"sources": "sources"}, fingerprint=True)
class BagFolder:
    """Features of slides by cohort: ``root/COHORT/patients.csv`` and ``root/COHORT/features/SLIDE.safetensors`` or ``.npz``.

    The list has a row a patient, with the columns ``slides`` (names, separated by blanks; their instances are joined),
    ``time`` (in the unit of ``interval``), ``event`` (0 or 1) and ``fold``: that of number ``fold`` (modulo their
    number, so that seeds may count through them) is tested, the others trained on. Files hold an array ``features``
    [instances, features].

    Columns: ``bag`` [instances, features], evenly thinned if longer, padded by rows of zeros if shorter; ``time``;
    ``event`` and ``bin`` (int64), which of ``bins`` intervals of ``interval`` each, the same for all cohorts.
    ``target`` is the cohort of the splits; ``sources`` names the others. Raises ``DataError`` for what is missing.

    >>> known = data.bag_folder(root="slides", target="blca", sources=["brca", "lgg"], instances=256).info()
    >>> known["train"].columns["bag"].shape, known["train"].classes, len(known["sources"])
    ((256, 1536), 32, 2)
    """

    def __init__(
        self,
        *,
        root: PathToRead,
        target: str,
        sources: list[str],
        fold: Unsigned = 0,
        features: Count = 1536,
        instances: Count = 4096,
        bins: Count = 32,
        interval: Positive = 365.0,
    ) -> None:
        self.root, self.names, self.fold = Path(root).expanduser(), [target, *sources], fold
        self.shape, self.bins = (instances, features), bins
        self.cutoffs = [interval * (i + 1) for i in range(bins - 1)]

    def info(self) -> dict[str, Any]:
        unknown = _info(self.shape, self.bins, None)
        splits = {"train": unknown, "test": unknown}
        return {**splits, "sources": [dict(splits) for _ in self.names[1:]]}

    def fingerprint(self) -> str:
        """A hash of the lists, and of every feature file's name, size and time of change."""
        return fingerprint_of((p for name in self.names for p in sorted((self.root / name).rglob("*.*"))), self.root)

    def load(self) -> dict[str, Any]:
        cohorts = [self._cohort(self.root / name) for name in self.names]
        return {**cohorts[0], "sources": cohorts[1:]}

    def _cohort(self, folder: Path) -> dict[str, FileDataset]:
        patients = read_patients(folder, self.cutoffs)
        decode = BagReader(patients, *self.shape)
        folds = sorted({p.fold for p in patients})
        if len(folds) < 2:
            raise DataError(f"{folder / LIST} has one fold: nothing is left to train on", key="data.root")
        test = torch.tensor([p.fold == folds[self.fold % len(folds)] for p in patients])
        whole = FileDataset(decode, len(patients), _info(self.shape, self.bins, len(patients)))
        decode(0)
        return {"train": whole.select((~test).nonzero().squeeze(1)), "test": whole.select(test.nonzero().squeeze(1))}


@data(name="clinical_tables", fields=("train", "test"), extra="survival", requires=("sksurv",))
class ClinicalTables:
    """Real right-censored data that scikit-survival ships: whas500 (heart attacks), gbsg2 (breast cancer), veterans (lung cancer).

    Columns: ``features`` [features], clinical variables, categories one-hot, standardised over all rows; ``time`` in
    days; ``event`` (int64); ``bin`` (int64), which of ``bins`` intervals, which hold equal shares of all times.
    ``test_share`` of the rows is set aside, by ``seed``, the number of the split. Raises ``DataError`` without the
    extra, or for more bins than different times.

    >>> known = data.clinical_tables(name="gbsg2", test_share=0.25).info()
    >>> known["train"].size, known["test"].size, known["train"].columns["features"].shape
    (514, 172, (9,))
    """

    def __init__(
        self,
        *,
        name: Literal["whas500", "gbsg2", "veterans"] = "whas500",
        bins: Count = 8,
        test_share: Fraction = 0.3,
        seed: Unsigned = 0,
    ) -> None:
        self.name, self.bins, self.test_share, self.seed = name, bins, test_share, seed

    def info(self) -> dict[str, DataInfo]:
        rows, features = {"whas500": (500, 14), "gbsg2": (686, 9), "veterans": (137, 8)}[self.name]
        test = round(rows * self.test_share)
        return {n: _info((features,), self.bins, c) for n, c in (("train", rows - test), ("test", test))}

    def load(self) -> dict[str, MemoryDataset]:
        features, time, event = self._table()
        time_ = torch.tensor(time, dtype=torch.float32)
        values = torch.tensor(features, dtype=torch.float32)
        columns = {
            "features": (values - values.mean(0)) / values.std(0).clamp_min(1e-6),
            "time": time_,
            "event": torch.tensor(event, dtype=torch.int64),
            "bin": time_bins(time_, cutoffs=quantile_cutoffs(time_, self.bins)),
        }
        info = self.info()
        order = torch.randperm(len(time_), generator=torch.Generator().manual_seed(self.seed))
        count = info["train"].size or 0
        chosen = {"train": order[:count], "test": order[count:]}
        return {n: MemoryDataset({k: v[rows] for k, v in columns.items()}, info[n]) for n, rows in chosen.items()}

    def _table(self) -> tuple[Any, Sequence[float], Sequence[bool]]:
        try:
            import pandas
            from sksurv import datasets
        except ImportError as error:
            raise DataError(
                f"the data '{self.name}' needs an extra: pip install 'kdrun[survival]' ({error})"
            ) from error
        names = {"whas500": "load_whas500", "gbsg2": "load_gbsg2", "veterans": "load_veterans_lung_cancer"}
        table, outcome = getattr(datasets, names[self.name])()
        happened, time = outcome.dtype.names
        coded = pandas.get_dummies(table, drop_first=True, dtype=float)
        return coded.to_numpy(dtype=float), outcome[time].tolist(), outcome[happened].tolist()
