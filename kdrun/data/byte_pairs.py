"""A tokenizer that is made in the run: byte-pair encoding over characters (Sennrich et al., 2016)."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable

from kdrun.data.tokenizers import letters

__all__ = ["BytePairs"]

Pair = tuple[int, int]

WORD = re.compile(r" ?[^\s]+|\s")
"""What is never merged across: a word with the space before it."""


class BytePairs:
    """Characters, of which the pairs that stood together most often in a text have become one id each; 0 is all that is unknown.

    The ids of characters, small letters only if ``lower``, are those of the tokenizer ``characters``; the others follow in the order
    of their merges.
    """

    def __init__(self, merges: Iterable[Pair], *, lower: bool = True) -> None:
        self.texts = ["\0", *letters(lower)]
        self.ids = {character: i for i, character in enumerate(self.texts) if i}
        self.merges: dict[Pair, int] = {}
        for first, second in merges:
            self.merges[first, second] = len(self.texts)
            self.texts.append(self.texts[first] + self.texts[second])
        self._known: dict[str, list[int]] = {}

    @classmethod
    def trained(cls, text: str, vocabulary: int, *, lower: bool = True) -> BytePairs:
        """The tokenizer with ``vocabulary`` ids, or fewer if a text has no more pairs, made from ``text``; ties go to the lower ids."""
        made = cls((), lower=lower)
        words = {tuple(made._characters(word)): count for word, count in Counter(WORD.findall(text)).items()}
        merges: list[Pair] = []
        while len(made.texts) + len(merges) < vocabulary:
            pairs: Counter[Pair] = Counter()
            for word, count in words.items():
                for pair in itertools.pairwise(word):
                    pairs[pair] += count
            pairs = Counter({pair: count for pair, count in pairs.items() if 0 not in pair})
            if not pairs:
                break
            best = min(pairs, key=lambda pair: (-pairs[pair], pair))
            new = len(made.texts) + len(merges)
            merges.append(best)
            joined: Counter[tuple[int, ...]] = Counter()
            for word, count in words.items():
                joined[tuple(_merged(list(word), best, new))] += count
            words = dict(joined)
        return cls(merges, lower=lower)

    def encode(self, text: str) -> list[int]:
        return [i for word in WORD.findall(text) for i in self._word(word)]

    def encode_with_ends(self, text: str) -> tuple[list[int], list[int]]:
        """Ids, and how many characters are read with each."""
        ids = self.encode(text)
        ends, end = [], 0
        for i in ids:
            end += len(self.texts[i])
            ends.append(end)
        return ids, ends

    def pieces(self) -> list[str]:
        return list(self.texts)

    def _characters(self, word: str) -> list[int]:
        return [self.ids.get(character, 0) for character in word]

    def _word(self, word: str) -> list[int]:
        if word not in self._known:
            ids = self._characters(word)
            for pair, new in self.merges.items():
                ids = _merged(ids, pair, new) if len(ids) > 1 else ids
            self._known[word] = ids
        return self._known[word]


def _merged(ids: list[int], pair: Pair, new: int) -> list[int]:
    """The ids with every occurrence of a pair, from the left, as one."""
    found: list[int] = []
    for i in ids:
        if found and (found[-1], i) == pair:
            found[-1] = new
        else:
            found.append(i)
    return found
