"""Tokens of one text, aligned by how alike they are written."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from kdrun.ops.token_alignment import edit_aligned_places, edit_distances
from support.tensors import generator


def codes(*texts: str, width: int = 8) -> Tensor:
    return torch.tensor([[*map(ord, text), *[-1] * (width - len(text))] for text in texts])


def test_distances_are_those_of_the_books() -> None:
    first = codes("kitten", "flaw", "", "abc", "intention", width=9)
    second = codes("sitting", "lawn", "abc", "", "execution", width=12)
    assert edit_distances(first, second).tolist() == [3, 2, 3, 3, 5]


def test_distances_are_a_metric_between_all_pairs() -> None:
    texts = codes(*["".join(word) for n in range(4) for word in itertools.product("ab", repeat=n)], width=3)
    apart = edit_distances(texts[:, None], texts[None])
    assert torch.equal(apart, apart.T)
    assert torch.equal(apart == 0, torch.eye(len(texts), dtype=torch.bool))
    assert (apart[:, :, None] + apart[None, :, :] >= apart[:, None, :]).all()
    lengths = (texts >= 0).sum(1)
    assert (apart >= (lengths[:, None] - lengths).abs()).all()
    assert (apart <= torch.maximum(lengths[:, None], lengths)).all()


def test_texts_cut_alike_are_aligned_one_by_one() -> None:
    text, ends = codes("aroseis", width=7), torch.tensor([[1, 2, 4, 5, 7, -1]])
    assert edit_aligned_places(text, ends, ends).tolist() == [[0, 1, 2, 3, -1]]


def test_what_is_written_with_several_tokens_is_aligned_with_none() -> None:
    """a|ro|se|i|s and a|rose|is: "ro" and "se" stand for "rose", "i" and "s" for "is"; the first is no target."""
    text = codes("aroseis", width=7)
    one, two = torch.tensor([[0, 1, 3, 5, 6, 7]]), torch.tensor([[0, 1, 5, 7, -1]])
    assert edit_aligned_places(text, one, two).tolist() == [[0, -1, -1, -1, -1]]
    assert edit_aligned_places(text, two, one).tolist() == [[0, -1, -1, -1]]
    late = edit_aligned_places(codes("xyzabc", width=6), torch.tensor([[0, 2, 3, 6]]), torch.tensor([[0, 1, 3, 6]]))
    assert late.tolist() == [[0, 1, 2]]  # xy|z|abc and x|yz|abc: written alike, though no longer the same text


def ways(n: int, m: int) -> list[list[tuple[int, int]]]:
    """All ways from (0, 0) to (n - 1, m - 1)."""
    if n == 1 and m == 1:
        return [[(0, 0)]]
    before = [(n - 1, m - 1)] * (n > 1 and m > 1) + [(n - 1, m)] * (n > 1) + [(n, m - 1)] * (m > 1)
    return [[*way, (n - 1, m - 1)] for sizes in before for way in ways(*sizes)]


def test_no_other_way_through_both_is_cheaper() -> None:
    """All ways of short rows are tried; what is aligned lies alone on a cheapest one."""
    chosen = generator(0)
    for _ in range(30):
        text = torch.randint(97, 100, (1, 7), generator=chosen)
        cuts = [sorted({0, 7, *torch.randint(1, 7, (3,), generator=chosen).tolist()}) for _ in range(2)]
        parts = [["".join(map(chr, text[0, i:j])) for i, j in itertools.pairwise(own)] for own in cuts]
        apart = edit_distances(codes(*parts[0])[:, None], codes(*parts[1])[None])
        found = ways(*apart.shape)
        costs = [sum(int(apart[pair]) for pair in way) for way in found]
        best = [way for way, cost in zip(found, costs, strict=True) if cost == min(costs)]
        expected = [
            [
                next(
                    (
                        j
                        for i, j in way
                        if i == own and [i for i, _ in way].count(own) == 1 and [k for _, k in way].count(j) == 1
                    ),
                    -1,
                )
                for own in range(len(parts[0]))
            ]
            for way in best
        ]
        places = edit_aligned_places(text, *(torch.tensor([own]) for own in cuts))[0].tolist()
        assert places in expected


def test_rows_of_a_batch_do_not_see_each_other() -> None:
    text = codes("aroseis", "isarose", width=7)
    one = torch.tensor([[0, 1, 3, 5, 6, 7], [0, 2, 3, 5, 7, -1]])
    two = torch.tensor([[0, 1, 5, 7, -1], [0, 2, 3, 7, -1]])
    both = edit_aligned_places(text, one, two)
    assert torch.equal(
        both, torch.cat([edit_aligned_places(*(v[i : i + 1] for v in (text, one, two))) for i in range(2)])
    )
    empty = torch.full((2, 5), -1)
    assert (edit_aligned_places(text, one, empty) == -1).all()
    assert (edit_aligned_places(text, empty, two) == -1).all()
