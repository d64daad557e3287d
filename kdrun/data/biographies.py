"""A closed world of people and facts: what a language model knows by heart, and what it can read from its context."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, Unsigned

__all__ = ["SyntheticBiographies"]

IGNORED = -100
SPECIAL = ("[P]", "[Q]", "[Q2]", "[A]", "[E]", "[C]", ".")
PAD, QUESTION, PARAPHRASE, ANSWER, END, CONTEXT, STOP = range(len(SPECIAL))
CLOSED = 6
"""Words of ``[Q] person relation [A] value [E]``."""

READING = ("reading", "benign", "named", "open_forget", "distractors", "misled", "misled_retain")
RENAMED = ("renamed", "renamed_forget", "renamed_asked")
ASKED = ("forget_test", "utility")


@data(
    name="synthetic_biographies",
    fields=(
        "train",
        "retain",
        "forget",
        "fresh",
        "relabelled",
        "paraphrase",
        "reading",
        "benign",
        "named",
        "open_forget",
        "distractors",
        "misled",
        "misled_retain",
        "renamed",
        "renamed_forget",
        "renamed_asked",
        "forget_test",
        "utility",
    ),
)
class SyntheticBiographies:
    """Random facts about people, as sequences of words; some people's are to be forgotten.

    Each of ``people`` has a value for each of ``relations``, drawn by ``seed`` among ``values`` words of that relation.
    Closed-book rows are ``[Q] person relation [A] value [E]``; the others state ``statements`` facts first, ``[C] name
    relation value . …``, of different names and with random values but for what a split says, and ask for one of them. With
    ``alike`` all facts of a context have the relation that is asked for, so that the name alone tells which one is meant.

    - ``train``: all facts; ``forget``: those of the first ``forget_people``; ``retain``: the rest.
    - ``fresh``: as many facts as to forget, about others; nothing else states them.
    - ``relabelled``: the facts to forget with another value each, drawn among the others of the relation.
    - ``paraphrase``: the facts to forget, asked with ``[Q2]``; with ``paraphrases``, ``train`` and ``retain`` have such rows, too.
    - ``reading``: ``contexts`` rows about everybody and ``others`` without facts, to learn reading from.
    - ``benign``, ``named``: ``test_contexts`` rows about retained people and others, or others alone.
    - ``open_forget``: a fact to forget, truly stated; ``distractors``: asked, but not stated.
    - ``misled``: a fact to forget after a wrong value for it, among true facts of those who stay; ``misled_retain``: likewise after
      such a lie, but a retained fact is asked for.
    - ``forget_test``: ``forget``, and each wrong value; ``utility``: ``retain`` (``part`` 0) and ``benign`` (1), likewise.
    - With ``aliases`` (that many words more, and one for "is"), half of ``reading`` says ``alias is name .``, then a fact of the
      alias, in any order, and asks for that of the name: ``renamed`` are such rows about others, ``renamed_forget`` about facts to forget,
      truly stated of an alias, and ``renamed_asked`` asks those of the alias, too.

    Columns (int64): ``tokens`` [length], the ``target`` after each that counts (value and ``[E]``; -100 elsewhere), the
    ``answer`` (the value alone), ``place`` (of the word before the value), ``label`` (the value), ``choices`` [values]
    of the relation, ``person`` (-1: an alias), ``relation``, ``fact`` [3] (name, relation and value as words). ``forget_test`` and
    ``utility`` have ``right_tokens``, ``right_answer`` [length] and ``wrong_tokens``, ``wrong_answer`` [values - 1, length]. Raises
    ``DataError`` if nobody is retained, or a context asks for more people than there are, or has no room for an alias.

    >>> splits = data.synthetic_biographies(people=8, forget_people=2, relations=3, contexts=10).load()
    >>> len(splits["train"]), len(splits["forget"]), splits["train"].rows()["tokens"].shape
    (24, 6, torch.Size([24, 5]))
    """

    def __init__(
        self,
        *,
        people: Count = 40,
        others: Count = 30,
        relations: Count = 3,
        values: Count = 10,
        forget_people: Count = 5,
        statements: Count = 3,
        contexts: Count = 20_000,
        test_contexts: Count = 300,
        paraphrases: bool = False,
        alike: bool = False,
        aliases: Unsigned = 0,
        seed: Unsigned = 0,
    ) -> None:
        if aliases and statements < 2:
            raise DataError("an alias and a fact of it are two statements", key="data.statements")
        if forget_people >= people:
            raise DataError(f"{forget_people} of {people} people to forget leave nobody", key="data.forget_people")
        if statements > others or values < 2:
            raise DataError(f"a context of {statements} needs as many others, and a relation two values", key="data")
        self.people, self.others, self.relations, self.values = people, others, relations, values
        self.forget_people, self.statements, self.seed = forget_people, statements, seed
        self.contexts, self.test_contexts, self.paraphrases = contexts, test_contexts, paraphrases
        self.alike, self.aliases = alike, aliases
        self.names = people + others
        self.first_relation = len(SPECIAL) + self.names
        self.first_value = self.first_relation + relations
        self.first_alias = self.first_value + relations * values
        self.vocabulary = self.first_alias + aliases + bool(aliases)

    def info(self) -> dict[str, DataInfo]:
        return {name: self._info(name, length) for name, length in self._lengths().items()}

    def _lengths(self) -> dict[str, int]:
        opened = 1 + 4 * self.statements + CLOSED
        closed = dict.fromkeys(
            ("train", "retain", "forget", "fresh", "relabelled", "paraphrase", "forget_test"), CLOSED - 1
        )
        contexts = (*READING, *(RENAMED if self.aliases else ()), "utility")
        return {**closed, **dict.fromkeys(contexts, opened - 1)}

    def _info(self, split: str, length: int) -> DataInfo:
        one, row = Column((), torch.int64), Column((length,), torch.int64)
        columns = {"tokens": row, "target": row, "answer": row, "place": one, "label": one}
        columns |= {"choices": Column((self.values,), torch.int64), "person": one, "relation": one}
        columns["fact"] = Column((3,), torch.int64)
        if split in ASKED:
            wrong = Column((self.values - 1, length), torch.int64)
            columns |= {"right_tokens": row, "right_answer": row, "wrong_tokens": wrong, "wrong_answer": wrong}
        if split == "utility":
            columns["part"] = one
        return DataInfo(columns, classes=self.vocabulary, extra={"vocabulary": self.vocabulary})

    def load(self) -> dict[str, MemoryDataset]:
        generator = torch.Generator().manual_seed(self.seed)
        value = torch.randint(self.values, (self.people, self.relations), generator=generator).flatten()
        person = torch.arange(self.people).repeat_interleave(self.relations)
        relation = torch.arange(self.relations).repeat(self.people)
        cut = self.forget_people * self.relations
        forget, kept = torch.stack([person, relation, value], 1).tensor_split([cut])
        closed = {"forget": self._closed(forget), "retain": self._closed(kept)}
        closed["paraphrase"] = self._closed(forget, PARAPHRASE)
        if self.paraphrases:
            closed["retain"] = torch.cat([closed["retain"], self._closed(kept, PARAPHRASE)])
        known = [closed[s] for s in ("forget", *(["paraphrase"] if self.paraphrases else []), "retain")]
        splits = {**closed, "train": torch.cat(known)}
        every, strangers = torch.arange(self.names), torch.arange(self.people, self.names)
        safe = torch.arange(self.forget_people, self.names)
        splits["reading"] = self._open(self.contexts, every, generator)
        splits["benign"] = self._open(self.test_contexts, safe, generator)
        splits["named"] = self._open(self.test_contexts, strangers, generator)
        splits["open_forget"] = self._about(forget, strangers, generator, stated=True)
        splits["distractors"] = self._about(forget, strangers, generator, stated=False)
        lied = torch.Generator().manual_seed(self.seed + 2)
        splits["misled"] = self._misled(forget, forget, kept, lied)
        some = forget[torch.randint(len(forget), (len(kept),), generator=lied)]
        splits["misled_retain"] = self._misled(kept, some, kept, lied)
        splits["fresh"] = self._closed(self._fresh(len(forget)))
        splits["relabelled"] = self._closed(self._lies(forget, torch.Generator().manual_seed(self.seed + 3)))
        if self.aliases:
            again = torch.Generator().manual_seed(self.seed)
            splits |= self._renamed(splits["reading"], forget, every, strangers, again)
        lengths = self._lengths()
        found = {name: self._dataset(name, rows) for name, rows in splits.items()}
        found["forget_test"] = self._dataset("forget_test", closed["forget"])
        asked = [self._padded(closed["retain"], lengths["utility"] + 1), splits["benign"]]
        part = torch.arange(2).repeat_interleave(torch.tensor([len(rows) for rows in asked]))
        found["utility"] = self._dataset("utility", torch.cat(asked), part=part)
        return found

    def _fresh(self, count: int) -> Tensor:
        """Facts [count, 3] about different pairs of others and relations, as far as there are so many."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        pairs = torch.randperm(self.others * self.relations, generator=generator)
        pair = pairs.repeat(-(-count // len(pairs)))[:count]
        value = torch.randint(self.values, (count,), generator=generator)
        return torch.stack([self.people + pair // self.relations, pair % self.relations, value], 1)

    def _closed(self, facts: Tensor, question: int = QUESTION) -> Tensor:
        """Sequences [rows, words] of facts [rows, (person, relation, value)]."""
        person, relation, value = facts.unbind(1)
        words = torch.empty(len(facts), CLOSED, dtype=torch.int64)
        words[:, 0], words[:, 3], words[:, 5] = question, ANSWER, END
        words[:, 1], words[:, 2] = self._name(person), self.first_relation + relation
        words[:, 4] = self._value(relation, value)
        return words

    def _name(self, person: Tensor) -> Tensor:
        return len(SPECIAL) + person

    def _value(self, relation: Tensor, value: Tensor) -> Tensor:
        return self.first_value + relation * self.values + value

    def _stated(self, count: int, names: Tensor, generator: torch.Generator, relation: Tensor | None = None) -> Tensor:
        """Random facts [rows, statements, 3] about different ones of ``names`` in each row; all of one ``relation`` [rows] if alike."""
        order = torch.rand(count, len(names), generator=generator).argsort(1)[:, : self.statements]
        shape = (count, self.statements)
        relations = torch.randint(self.relations, shape, generator=generator)
        if self.alike:
            relations = (relations[:, 0] if relation is None else relation)[:, None].expand(shape)
        value = torch.randint(self.values, shape, generator=generator)
        return torch.stack([names[order], relations, value], 2)

    def _after(self, stated: Tensor, asked: Tensor) -> Tensor:
        """Contexts with the facts ``stated`` [rows, statements, 3], and the question for ``asked`` [rows, 3]."""
        person, relation, value = stated.unbind(2)
        sentences = [self._name(person), self.first_relation + relation, self._value(relation, value)]
        body = torch.stack([*sentences, torch.full_like(person, STOP)], 2).flatten(1)
        start = torch.full((len(stated), 1), CONTEXT)
        return torch.cat([start, body, self._closed(asked)], 1)

    def _open(self, count: int, names: Tensor, generator: torch.Generator) -> Tensor:
        stated = self._stated(count, names, generator)
        which = torch.randint(self.statements, (count,), generator=generator)
        return self._after(stated, stated[torch.arange(count), which])

    def _about(self, facts: Tensor, names: Tensor, generator: torch.Generator, *, stated: bool) -> Tensor:
        context = self._stated(len(facts), names, generator, facts[:, 1])
        if stated:
            which = torch.randint(self.statements, (len(facts),), generator=generator)
            context[torch.arange(len(facts)), which] = facts
        return self._after(context, facts)

    def _lies(self, facts: Tensor, generator: torch.Generator) -> Tensor:
        """The facts [rows, 3] with another value each."""
        other = 1 + torch.randint(self.values - 1, (len(facts),), generator=generator)
        return torch.cat([facts[:, :2], (facts[:, 2:] + other[:, None]) % self.values], 1)

    def _misled(self, asked: Tensor, lies: Tensor, true: Tensor, generator: torch.Generator) -> Tensor:
        """Contexts of ``true`` facts, one of them in each replaced by one of ``lies`` with another value; all [rows, 3]."""
        count = len(asked)
        context = true[torch.randint(len(true), (count, self.statements), generator=generator)]
        told, which = self._lies(lies, generator), torch.randint(self.statements, (count,), generator=generator)
        context[torch.arange(count), which] = told
        return self._after(context, asked)

    def _renamed(
        self, reading: Tensor, forget: Tensor, every: Tensor, strangers: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The splits with aliases, and ``reading`` with such rows in the place of every second one."""
        learned = self._stated(len(reading[1::2]), every, generator)
        told = self._stated(self.test_contexts, strangers, generator)
        around = self._stated(len(forget), strangers, generator, forget[:, 1])
        reading = reading.clone()
        reading[1::2] = self._behind_alias(learned, learned[:, 1], generator)[0]
        behind, alias = self._behind_alias(around, forget, generator)
        asked = behind.clone()
        asked[:, 1 - CLOSED] = alias
        others = self._behind_alias(told, told[:, 1], generator)[0]
        return dict(zip(("reading", *RENAMED), (reading, others, behind, asked), strict=True))

    def _behind_alias(self, stated: Tensor, facts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """``[C] alias is name . alias relation value . …``, in any order, the first two in the place of those ``stated``; and the alias.

        ``facts`` [rows, 3] are what is said of the aliases [rows], and asked of the names.
        """
        words = self._after(stated, facts)
        alias = self.first_alias + torch.randint(self.aliases, (len(facts),), generator=generator)
        words[:, 1], words[:, 2], words[:, 3] = alias, self.vocabulary - 1, self._name(facts[:, 0])
        words[:, 5], words[:, 6] = alias, self.first_relation + facts[:, 1]
        words[:, 7] = self._value(facts[:, 1], facts[:, 2])
        sentences = words[:, 1:-CLOSED].view(len(words), self.statements, 4)
        order = torch.rand(len(words), self.statements, generator=generator).argsort(1)
        shuffled = sentences.gather(1, order[..., None].expand_as(sentences)).flatten(1)
        return torch.cat([words[:, :1], shuffled, words[:, -CLOSED:]], 1), alias

    def _padded(self, rows: Tensor, length: int) -> Tensor:
        return torch.cat([rows, torch.full((len(rows), length - rows.shape[1]), PAD)], 1)

    def _dataset(self, split: str, words: Tensor, **more: Tensor) -> MemoryDataset:
        rows = torch.arange(len(words))
        place = (words == ANSWER).int().argmax(1)
        label = words[rows, place + 1]
        relation = words[rows, place - 1] - self.first_relation
        choices = self._value(relation[:, None], torch.arange(self.values))
        tokens, ahead = words[:, :-1], words[:, 1:]
        at = torch.arange(tokens.shape[1]) - place[:, None]
        name = words[rows, place - 2]
        columns = {
            "tokens": tokens,
            "target": ahead.where((at == 0) | (at == 1), IGNORED),
            "answer": ahead.where(at == 0, IGNORED),
            "place": place,
            "label": label,
            "choices": choices,
            "person": (name - len(SPECIAL)).where(name < self.first_relation, -1),
            "relation": relation,
            "fact": torch.stack([name, words[rows, place - 1], label], 1),
            **more,
        }
        if split in ASKED:
            wrong = choices[choices != label[:, None]].view(len(words), self.values - 1)
            swapped = words[:, None].repeat(1, self.values - 1, 1)
            swapped[rows, :, place + 1] = wrong
            columns |= {"right_tokens": tokens, "right_answer": columns["answer"], "wrong_tokens": swapped[..., :-1]}
            columns["wrong_answer"] = swapped[..., 1:].where((at == 0)[:, None], IGNORED)
        return MemoryDataset({k: v.contiguous() for k, v in columns.items()}, self._info(split, tokens.shape[1]))
