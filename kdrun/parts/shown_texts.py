"""Parts of the ``show`` stage for text: prompts, what models answer, and what they should have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.data.words import Reader, reader_of
from kdrun.errors import InputError
from kdrun.registry import show
from kdrun.runtime.artifacts import Value
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count

__all__ = ["answers", "written"]


@show(fields=("shown",))
def answers(
    model: Module, data: Dataset, *, answer: str = "answer", rows: Count = 30, batch_size: Count = 64, context: Context
) -> dict[str, Value]:
    """What a language model takes for likeliest after each prompt of the first ``rows`` rows, beside the right answer.

    Reads ``tokens`` [rows, length] (int64) and, in the column ``answer`` [rows, length], the id that should follow each token,
    below 0 where none is asked for; the model gives logits [rows, length, vocabulary]. Each answer's token is guessed after
    the true ones before it; told is also how probable the whole right answer is. Raises ``InputError`` for other columns or logits.
    """
    chosen = data.select(torch.arange(min(rows, len(data))))
    columns = outputs_over(model, chosen, {}, input="tokens", batch_size=batch_size, context=context)
    tokens, wanted = (chosen.rows().get(name) for name in ("tokens", answer))
    if tokens is None or wanted is None or wanted.shape != tokens.shape:
        raise InputError(
            f"answers are ids after each token, [rows, length] in the columns 'tokens' and '{answer}'",
            key=context.config_key,
        )
    logits = columns.get("logits")
    if logits is None or logits.shape[:2] != tokens.shape:
        raise InputError("the model gives no logits [rows, length, vocabulary]", key=f"{context.config_key}.from")
    read, numbers = reader_of(data), chosen.column("index").tolist()
    told = [_asked(*row, read) for row in zip(numbers, tokens, wanted, logits, strict=True)]
    return {"shown": Value({"kind": "texts", "rows": told})}


def _asked(number: int, tokens: Tensor, wanted: Tensor, logits: Tensor, read: Reader) -> dict[str, Any]:
    """A row: its prompt up to the first place that is asked about, the right answer and the model's, and how probable the right is."""
    places = (wanted >= 0).nonzero().flatten()
    right = wanted[places]
    chances = logits[places].double().log_softmax(-1)
    said = chances.argmax(-1)
    prompt = tokens[: int(places[0]) + 1] if len(places) else tokens
    return {
        "row": number,
        "prompt": read(prompt),
        "answer": read(said),
        "reference": read(right),
        "right": bool((said == right).all()),
        "probability": float(chances.gather(1, right[:, None]).sum().exp()),
    }


@show(fields=("shown",))
def written(*data: Dataset, rows: Count = 30) -> dict[str, Value]:
    """What was written after prompts (``generate`` by ``decoding``), the first ``rows`` rows of each data set.

    Reads ``tokens`` [rows, length], ``mask`` (bool) of those that count, if there is one, ``generated`` and ``emitted`` [rows,
    max_tokens], and, where there is one, the right ``answer`` [rows, answer_length], padded by ids below 0: a text is right if it is
    the answer up to its length. Raises ``InputError`` for data in which nothing was written.

    >>> columns = {"tokens": [[3, 4]], "generated": [[5, 1]], "emitted": [[1.0, 1.0]], "answer": [[5, 1]]}
    >>> pool = data.MemoryDataset({name: torch.tensor(rows) for name, rows in columns.items()}, data.DataInfo({}))
    >>> [(row["prompt"], row["answer"], row["right"]) for row in parts.written(pool)["shown"].value["rows"]]
    [('3 4', '5 1', True)]
    """
    found = [row for one in data for row in _written(one.select(torch.arange(min(rows, len(one)))))]
    return {"shown": Value({"kind": "texts", "rows": found})}


def _written(data: Dataset) -> list[dict[str, Any]]:
    columns, read = data.rows(), reader_of(data)
    missing = [name for name in ("tokens", "generated", "emitted") if name not in columns]
    if missing:
        raise InputError(f"nothing was written in this data: it has no column '{missing[0]}'")
    found = []
    for i, number in enumerate(columns["index"].tolist()):
        prompt, said = columns["tokens"][i], columns["generated"][i][columns["emitted"][i] > 0]
        prompt = prompt[columns["mask"][i].bool()] if "mask" in columns else prompt
        row: dict[str, Any] = {"row": number, "prompt": read(prompt), "answer": read(said)}
        if "answer" in columns:
            wanted = columns["answer"][i][columns["answer"][i] >= 0]
            row |= {"reference": read(wanted), "right": torch.equal(said[: len(wanted)], wanted)}
        found.append(row)
    return found
