"""Texts made of what data says of itself, as tokens for an encoder."""

from __future__ import annotations

import torch

from kdrun.data.dataset import Column, DataInfo, Dataset, MemoryDataset
from kdrun.data.knowledge_graphs import token_rows
from kdrun.errors import InputError
from kdrun.registry import label, shape_of
from kdrun.types import Count, PretrainedName

__all__ = ["class_prompts"]


@label
def class_prompts(
    data: Dataset, *, template: str = "a photo of a {}", tokenizer: PretrainedName = "minilm", max_tokens: Count = 16
) -> Dataset:
    """One text for each class of ``data``, of which the names of classes alone are read: column ``tokens`` [classes, max_tokens] (int64).

    In ``template`` each ``{}`` stands for the name, whose underscores are read as spaces. ``tokenizer`` is ``characters`` or that of
    an encoder (``minilm``, a folder, a hub entry); texts are cut or padded. ``label`` is the class (int64). Raises ``InputError`` if the
    data has no names, or the template no ``{}``.

    >>> pool = data.MemoryDataset({"label": torch.tensor([0])}, data.DataInfo({}, 2, class_names=("sea_lion", "cat")))
    >>> parts.class_prompts(pool, template="a {}", tokenizer="characters", max_tokens=12).column("tokens").shape
    torch.Size([2, 12])
    """
    names = _names(data, template)
    texts = [template.replace("{}", name.replace("_", " ")) for name in names]
    return _asked(token_rows(texts, tokenizer, max_tokens), names)


@shape_of("label", "class_prompts")
def class_prompts_shape(
    data: Dataset, *, template: str = "a photo of a {}", tokenizer: str = "minilm", max_tokens: int = 16
) -> Dataset:
    """The tokenizer is not needed to tell how many texts there are."""
    names = _names(data, template)
    return _asked(torch.zeros(len(names), max_tokens, dtype=torch.int64), names)


def _names(data: Dataset, template: str) -> tuple[str, ...]:
    if "{}" not in template:
        raise InputError(f"a template has {{}} where the name of a class stands, got {template!r}")
    if not data.info.class_names:
        raise InputError("the data does not name its classes, and prompts are made of the names")
    return data.info.class_names


def _asked(tokens: torch.Tensor, names: tuple[str, ...]) -> Dataset:
    columns = {"tokens": Column((tokens.shape[1],), torch.int64), "label": Column((), torch.int64)}
    info = DataInfo(columns, len(names), len(names), names)
    return MemoryDataset({"tokens": tokens, "label": torch.arange(len(names))}, info)
