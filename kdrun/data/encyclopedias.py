"""A made-up encyclopedia: people, places and companies under latent rules, as a graph with a line of text an entity."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.data.dataset import DataInfo, MemoryDataset
from kdrun.data.knowledge_graphs import Triples, graph_info, graph_splits
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, Fraction, PretrainedName, Unsigned

__all__ = ["Encyclopedia"]

KINDS = ("person", "city", "country", "company", "field", "language")
RELATIONS = (
    "city_in",
    "official_language",
    "based_in",
    "industry",
    "works_for",
    "lives_in",
    "born_in",
    "citizen_of",
    "speaks",
    "expert_in",
    "colleague",
)
LANGUAGES = [
    "Finnish",
    "Danish",
    "Polish",
    "Czech",
    "Greek",
    "Turkish",
    "Hindi",
    "Korean",
    "Swahili",
    "Basque",
    "Welsh",
    "Maltese",
]
COUNTRIES = [
    "Norland",
    "Averia",
    "Tolvania",
    "Quessia",
    "Belmark",
    "Sarovia",
    "Ostrana",
    "Miravia",
    "Kelland",
    "Drovia",
    "Lusania",
    "Pergamia",
]
FIELDS = {
    "physics": "physicist",
    "chemistry": "chemist",
    "biology": "biologist",
    "geology": "geologist",
    "mathematics": "mathematician",
    "medicine": "physician",
    "architecture": "architect",
    "astronomy": "astronomer",
    "botany": "botanist",
    "economics": "economist",
    "engineering": "engineer",
    "photography": "photographer",
    "journalism": "journalist",
    "law": "lawyer",
    "music": "musician",
    "nursing": "nurse",
    "painting": "painter",
    "pharmacy": "pharmacist",
    "statistics": "statistician",
    "tailoring": "tailor",
}
FIRST = [
    "Anna",
    "Boris",
    "Carla",
    "Dmitri",
    "Elena",
    "Farid",
    "Greta",
    "Hiro",
    "Ines",
    "Jamal",
    "Karin",
    "Luis",
    "Maya",
    "Nils",
    "Olga",
    "Pavel",
    "Rosa",
    "Sven",
    "Tara",
    "Yusuf",
    "Adam",
    "Bella",
    "Cyril",
    "Dunja",
    "Emre",
    "Freya",
    "Goran",
    "Heidi",
    "Igor",
    "Jana",
    "Kofi",
    "Lena",
    "Marco",
    "Noor",
    "Oskar",
    "Petra",
    "Ravi",
    "Signe",
    "Timo",
    "Wanda",
]
LAST = [
    "Keller",
    "Moreau",
    "Novak",
    "Rossi",
    "Tanaka",
    "Silva",
    "Berg",
    "Okafor",
    "Haddad",
    "Lindqvist",
    "Petrov",
    "Castillo",
    "Yilmaz",
    "Brandt",
    "Ferrari",
    "Adeyemi",
    "Becker",
    "Costa",
    "Dvorak",
    "Eriksen",
    "Fontana",
    "Gruber",
    "Hansen",
    "Ivanov",
    "Jansen",
    "Kowalski",
    "Laurent",
    "Mendes",
    "Nakamura",
    "Olsen",
]
STARTS, MIDDLES = (
    ["Kol", "Bran", "Tes", "Mar", "Vel", "Sto", "Lin", "Har", "Dor", "Pel", "Ras", "Fen"],
    ["ma", "ve", "ro", "li", "na"],
)
PLACE_ENDS, FIRM_ENDS = ["r", "burg", "ton", "stad", "mouth"], ["tec", "works", "soft", "lab", "corp"]


@data(name="encyclopedia", fields=("train", "valid", "test", "entities"))
class Encyclopedia:
    """484 entities of six kinds and about 2,300 triples of eleven relations, most of them functional.

    Cities lie in countries, companies in cities; people mostly live where their employer is, are born in that country,
    are its citizens and speak its language, and know their employer's field. An entity's text names its kind and
    attributes that are training facts: no held-out triple is told. ``test`` and ``valid`` are shares of the triples,
    drawn among those whose ends keep two others or more. Each ``seed`` is another world.

    Columns (int64): ``head``, ``relation`` and ``tail`` of a triple; in ``entities`` the text as ``tokens``
    [max_tokens] of ``tokenizer`` (``characters``, or that of a sentence encoder) and ``label``, the kind. Raises
    ``DataError`` if names are too few.

    >>> splits = data.encyclopedia(people=40, cities=10, companies=12, tokenizer="characters").load()
    >>> list(splits), splits["entities"].rows()["tokens"].shape
    (['train', 'valid', 'test', 'entities'], torch.Size([106, 24]))
    """

    def __init__(
        self,
        *,
        people: Count = 300,
        cities: Count = 60,
        companies: Count = 80,
        valid: Fraction = 0.05,
        test: Fraction = 0.12,
        tokenizer: PretrainedName = "minilm",
        max_tokens: Count = 24,
        seed: Unsigned = 0,
    ) -> None:
        if people > len(FIRST) * len(LAST) or max(cities, companies) > len(STARTS) * len(MIDDLES) * 5:
            raise DataError(
                f"there are names for {len(FIRST) * len(LAST)} people and 300 places and companies", key="data"
            )
        counts = (people, cities, len(COUNTRIES), companies, len(FIELDS), len(LANGUAGES))
        self.counts = dict(zip(KINDS, counts, strict=True))
        self.shares = {"test": test, "valid": valid}
        self.tokenizer, self.max_tokens, self.seed = tokenizer, max_tokens, seed

    def info(self) -> dict[str, DataInfo]:
        return graph_info(sum(self.counts.values()), len(RELATIONS), self.max_tokens, KINDS)

    def load(self) -> dict[str, MemoryDataset]:
        return graph_splits(self.graph(), self.info(), self.tokenizer)

    def graph(self) -> Triples:
        """Triples by split, and texts that tell training facts only."""
        generator = torch.Generator().manual_seed(self.seed)
        names, kinds = self._names(generator)
        triples = self._facts(generator)
        splits = self._split(triples, generator)
        told = {(h, RELATIONS[r]): t for h, r, t in splits["train"].tolist()}
        texts = [self._text(i, names, KINDS[kind], told) for i, kind in enumerate(kinds)]
        return Triples(splits, texts, RELATIONS, kinds)

    def _range(self, kind: str) -> range:
        order = list(self.counts)
        start = sum(self.counts[k] for k in order[: order.index(kind)])
        return range(start, start + self.counts[kind])

    def _names(self, generator: torch.Generator) -> tuple[list[str], list[int]]:
        def chosen(every: list[str], count: int) -> list[str]:
            return [every[i] for i in torch.randperm(len(every), generator=generator)[:count].tolist()]

        people = [f"{first} {last}" for first in FIRST for last in LAST]
        stems = [a + b for a in STARTS for b in MIDDLES]
        names = {
            "person": chosen(people, self.counts["person"]),
            "city": chosen([s + e for s in stems for e in PLACE_ENDS], self.counts["city"]),
            "country": COUNTRIES,
            "company": chosen([s + e for s in stems for e in FIRM_ENDS], self.counts["company"]),
            "field": list(FIELDS),
            "language": LANGUAGES,
        }
        kinds = [i for i, kind in enumerate(KINDS) for _ in names[kind]]
        return [name for kind in KINDS for name in names[kind]], kinds

    def _facts(self, generator: torch.Generator) -> Tensor:
        """All triples [count, 3]."""

        def draw(options: range | list[int]) -> int:
            return options[int(torch.randint(len(options), (), generator=generator))]

        def mostly(share: float, usual: int, options: range) -> int:
            return usual if float(torch.rand((), generator=generator)) < share else draw(options)

        ranges = {kind: self._range(kind) for kind in KINDS}
        city_in = {c: draw(ranges["country"]) for c in ranges["city"]}
        inside = {k: [c for c in ranges["city"] if city_in[c] == k] or list(ranges["city"]) for k in ranges["country"]}
        language = dict(zip(ranges["country"], ranges["language"], strict=True))
        seat = {f: draw(ranges["city"]) for f in ranges["company"]}
        trade = {f: draw(ranges["field"]) for f in ranges["company"]}
        employer = {p: draw(ranges["company"]) for p in ranges["person"]}
        home = {p: mostly(0.85, seat[f], ranges["city"]) for p, f in employer.items()}
        birth = {p: mostly(0.8, draw(inside[city_in[c]]), ranges["city"]) for p, c in home.items()}
        country = {p: city_in[c] for p, c in birth.items()}
        skill = {p: mostly(0.85, trade[f], ranges["field"]) for p, f in employer.items()}
        staff = {f: [p for p in employer if employer[p] == f] for f in ranges["company"]}
        beside = {
            p: q for team in staff.values() if len(team) > 1 for p, q in zip(team, team[1:] + team[:1], strict=True)
        }
        spoken = {p: language[k] for p, k in country.items()}
        facts = (city_in, language, seat, trade, employer, home, birth, country, spoken, skill, beside)
        rows = [(h, r, t) for r, fact in enumerate(facts) for h, t in fact.items()]
        return torch.tensor(rows, dtype=torch.int64)

    def _split(self, triples: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        degree = torch.bincount(triples[:, [0, 2]].flatten(), minlength=sum(self.counts.values())).tolist()
        wanted = [name for name, share in self.shares.items() for _ in range(round(share * len(triples)))]
        owner = ["train"] * len(triples)
        for row in torch.randperm(len(triples), generator=generator).tolist():
            head, _, tail = triples[row].tolist()
            if wanted and min(degree[head], degree[tail]) > 2:
                owner[row] = wanted.pop(0)
                degree[head] -= 1
                degree[tail] -= 1
        return {name: triples[[o == name for o in owner]] for name in ("train", "valid", "test")}

    def _text(self, entity: int, names: list[str], kind: str, told: dict[tuple[int, str], int]) -> str:
        def fact(relation: str, pattern: str) -> str:
            other = told.get((entity, relation))
            return "" if other is None else pattern.format(names[other])

        name = names[entity]
        if kind == "city":
            return f"{name}, a city" + fact("city_in", " in {}")
        if kind == "country":
            return f"{name}, a country" + fact("official_language", " where {} is spoken")
        if kind == "company":
            return f"{name}, a company" + fact("industry", " for {}") + fact("based_in", " based in {}")
        if kind == "person":
            skill = told.get((entity, "expert_in"))
            work = "a person" if skill is None else FIELDS[names[skill]]
            return f"{name}, {work}" + (fact("lives_in", " living in {}") or fact("born_in", " born in {}"))
        return f"{name}, a field of knowledge" if kind == "field" else f"{name}, a language"
