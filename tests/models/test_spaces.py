"""Spaces of architectures and their mutations."""

from __future__ import annotations

import torch

from support.models import CHOICES, choice_space


def test_a_mutation_changes_one_choice() -> None:
    space, generator = choice_space(), torch.Generator().manual_seed(0)
    for _ in range(30):
        spec = space.sample(generator)
        changed = space.mutate(spec, generator)
        flat = [(v, w) for k in CHOICES for v, w in zip(_flat(spec[k]), _flat(changed[k]), strict=True)]
        assert sum(v != w for v, w in flat) == 1
        assert changed["widths"][1] == 16


def _flat(value):
    return value if isinstance(value, list) else [value]
