"""CIFAR from its binary records."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdrun.data.cifar import PIXELS, Cifar10, Cifar100
from kdrun.errors import DataError


@pytest.mark.parametrize(("part", "labels"), [(Cifar10, 1), (Cifar100, 2)])
def test_cifar_is_read_from_binary_records(tmp_path, part, labels) -> None:
    data = part(root=str(tmp_path))
    with pytest.raises(DataError, match="is missing: put the binary version"):
        data.load()
    folder = tmp_path / data.folder
    folder.mkdir()
    record = np.zeros(labels + PIXELS, dtype=np.uint8)
    record[labels - 1] = 7
    record[labels : labels + 1024] = 255
    for name in (*data.train_files, data.test_file):
        (folder / name).write_bytes(record.tobytes() * 3)
    rows = data.load()["train"].rows()
    assert rows["label"].tolist() == [7] * 3 * len(data.train_files)
    red = (1 - data.mean[0]) / data.std[0]
    torch.testing.assert_close(rows["image"][0, 0], torch.full((32, 32), red))
    torch.testing.assert_close(rows["image"][0, 1], torch.full((32, 32), -data.mean[1] / data.std[1]))
    assert set(data.load()) == set(data.info()) == {"train", "test"}
    held = part(root=str(tmp_path), valid=2).load()
    assert {name: len(rows) for name, rows in held.items()} == {
        "train": 3 * len(data.train_files) - 2,
        "valid": 2,
        "test": 3,
    }
    (folder / data.test_file).write_bytes(b"123")
    with pytest.raises(DataError, match="not whole records"):
        data.load()
