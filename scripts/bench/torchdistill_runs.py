"""Distillation by torchdistill with the models, rows and settings that kdrun is given: what ``shared_teacher.py`` compares it with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchdistill.core.distillation import get_distillation_box
from torchvision.transforms import v2

__all__ = ["Rows", "distil"]

WHOLE = {"io": "output", "path": "."}
LOGITS = {
    "student_module_path": ".",
    "student_module_io": "output",
    "teacher_module_path": ".",
    "teacher_module_io": "output",
}
LEVELS = ["levels.0", "levels.1", "levels.2"]


class Rows(torch.utils.data.Dataset):
    """Images [rows, channels, height, width] and labels, each image cropped and mirrored by chance when it is read."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels
        size = images.shape[-1]
        self.change = v2.Compose([v2.RandomCrop(size, padding=4), v2.RandomHorizontalFlip()])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.change(self.images[row]), int(self.labels[row])


def distil(method: str, teacher: nn.Module, student: nn.Module, rows: Rows, *, epochs: int, batch_size: int) -> None:
    """One whole run on the CPU, as torchdistill's own examples write it."""
    taps = {"attention": LEVELS, "similarity": LEVELS[-1:]}.get(method, [])
    hooks = {"input": [], "output": taps}
    config = {
        "num_epochs": epochs,
        "train_data_loader": {
            "dataset_id": "rows",
            "sampler": {"class_or_func": torch.utils.data.RandomSampler, "kwargs": {}},
            "kwargs": {"batch_size": batch_size, "num_workers": 0},
        },
        "teacher": {"forward_proc": "forward_batch_only", "forward_hook": hooks, "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only", "forward_hook": hooks},
        "optimizer": {"key": "SGD", "kwargs": {"lr": 0.05, "momentum": 0.9, "weight_decay": 5.0e-4}},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": _terms(method)}},
    }
    box = get_distillation_box(teacher, student, {"rows": rows}, config, torch.device("cpu"), [], False, 1.0)
    for epoch in range(epochs):
        box.pre_epoch_process(epoch=epoch)
        for images, labels, others in box.train_data_loader:
            loss = box.forward_process(images, labels, others)
            box.post_forward_process(loss)
        box.post_epoch_process()
    box.clean_modules()


def _terms(method: str) -> dict[str, Any]:
    """The loss of a method, under torchdistill's names."""
    labels = {
        "criterion": {"key": "CrossEntropyLoss", "kwargs": {}},
        "criterion_wrapper": {
            "key": "SimpleLossWrapper",
            "kwargs": {
                "input": {"is_from_teacher": False, "module_path": ".", "io": "output"},
                "target": {"uses_label": True},
            },
        },
        "weight": 1.0,
    }
    pairs = {
        path: {"teacher": {"io": "output", "path": path}, "student": {"io": "output", "path": path}, "weight": 1}
        for path in LEVELS
    }
    own = {
        "kd": {"key": "KDLoss", "kwargs": {**LOGITS, "temperature": 4.0, "alpha": 0.1}},
        "standardized": {"key": "LogitStdKDLoss", "kwargs": {**LOGITS, "temperature": 2.0, "alpha": 0.1, "eps": 1e-7}},
        "attention": {"key": "ATLoss", "kwargs": {"at_pairs": pairs, "mode": "code"}},
        "similarity": {
            "key": "SPKDLoss",
            "kwargs": {"student_output_path": LEVELS[-1], "teacher_output_path": LEVELS[-1], "reduction": "batchmean"},
        },
    }[method]
    term = {"criterion": own, "weight": 1.0}
    return {"own": term} if method in ("kd", "standardized") else {"ce": labels, "own": term}
