"""Running text as blocks of tokens, plain or with canaries: inserted secrets by which memorisation is measured."""

from __future__ import annotations

import ast
import functools
import hashlib
import itertools
import platform
import string
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, Unsigned

__all__ = ["CanaryCorpus", "TextCorpus", "Tokenizer", "docstrings", "tokenizer"]

ALPHABET = "\n " + string.ascii_lowercase + string.digits + string.punctuation + string.ascii_uppercase
"""Characters that the character tokenizer knows, in the order of their ids from 1 on; capitals come last."""

NAMES = ("anna", "boris", "carla", "dmitri", "elena", "farid", "greta", "hiro", "ines", "jamal", "karin", "luis")
SPLITS = ("train", "valid", "test")

Segment = tuple[str, bool]
"""A piece of text, and whether it is a secret."""


class Tokenizer(Protocol):
    """Text to token ids, and the text that each id stands for."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        ...

    def pieces(self) -> list[str]:
        """The text of every id, in order."""
        ...


class _Characters:
    """One id a character; 0 stands for all that the alphabet lacks, and for padding."""

    def __init__(self, lower: bool) -> None:
        self.letters = ALPHABET[: -len(string.ascii_uppercase)] if lower else ALPHABET
        self.ids = {character: i for i, character in enumerate(self.letters, 1)}

    def encode(self, text: str) -> list[int]:
        return [self.ids.get(character, 0) for character in text]

    def pieces(self) -> list[str]:
        return ["\0", *self.letters]


class _Pretrained:
    """A tokenizer of transformers, by the name of a local folder or of a hub entry."""

    def __init__(self, name: str) -> None:
        try:
            from transformers import AutoTokenizer

            self.inner: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        except ImportError:
            raise DataError(f"the tokenizer '{name}' needs the extra: pip install 'kdrun[llm]'") from None
        except (OSError, ValueError) as error:
            raise DataError(
                f"the tokenizer '{name}' is neither 'characters', a folder with a tokenizer of transformers nor "
                f"reachable on the hub: {str(error).splitlines()[0]}",
                key="data.tokenizer",
            ) from None

    def encode(self, text: str) -> list[int]:
        return list(self.inner.encode(text, add_special_tokens=False))

    def pieces(self) -> list[str]:
        return [self.inner.decode([i]) for i in range(len(self.inner))]


@functools.cache
def tokenizer(name: str, *, lower: bool = True) -> Tokenizer:
    """``characters`` (small letters only if ``lower``), or a tokenizer of transformers by folder or hub name.

    Raises ``DataError`` if there is no such tokenizer.
    """
    return _Characters(lower) if name == "characters" else _Pretrained(name)


def _module_files() -> list[Path]:
    """Modules of the standard library, in an order fixed by a hash of their place in it."""
    root = Path(sysconfig.get_path("stdlib"))
    skipped = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "__pycache__", "turtledemo"}
    files = [p.relative_to(root) for p in root.rglob("*.py") if not skipped & set(p.relative_to(root).parts)]
    return [root / p for p in sorted(files, key=lambda p: hashlib.sha256(p.as_posix().encode()).digest())]


def _docstrings_of(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found = ast.get_docstring(node)
            if found:
                yield found


@functools.cache
def docstrings(*characters: int) -> tuple[str, ...]:
    """Docstrings of this Python's standard library: one text for each number of ``characters``, of other modules each.

    A docstring comes once. Raises ``DataError`` if the library has too few.
    """
    files = iter(_module_files())
    seen: set[str] = set()
    texts = []
    for wanted in characters:
        parts: list[str] = []
        length = 0
        while length < wanted:
            path = next(files, None)
            if path is None:
                raise DataError(f"the standard library's docstrings are fewer than {sum(characters)} characters")
            for found in _docstrings_of(path):
                if found not in seen:
                    seen.add(found)
                    parts.append(found)
                    length += len(found) + 2
        texts.append("\n\n".join(parts)[:wanted])
    return tuple(texts)


def _text_files(root: Path, split: str) -> list[Path]:
    return [root / f"{split}.txt"] if (root / f"{split}.txt").is_file() else sorted((root / split).rglob("*.txt"))


def _blocks(tokens: Iterable[int], secret: Iterable[int], block: int) -> dict[str, Tensor]:
    """A stream cut into rows of ``block`` tokens, each with the token that follows it; the rest is dropped."""
    stream = torch.tensor(list(tokens), dtype=torch.int64)
    marks = torch.tensor(list(secret), dtype=torch.int64)
    rows = max((len(stream) - 1) // block, 0)
    ahead = slice(1, rows * block + 1)
    return {
        "tokens": stream[: rows * block].view(rows, block),
        "target": stream[ahead].reshape(rows, block),
        "secret": marks[ahead].reshape(rows, block),
    }


@data(name="text_corpus", fields=("train", "valid", "test"), fingerprint=True)
class TextCorpus:
    """Text in rows of ``block`` tokens: ``tokens``, the ``target`` that follows each, and ``secret`` (0 here); all int64.

    ``source`` is ``docstrings`` of the standard library (of other modules for each split), or ``folder``: ``root``
    with ``train.txt``, ``valid.txt`` and ``test.txt``, or folders of these names with ``*.txt`` below. ``tokenizer`` is
    ``characters`` or a tokenizer of transformers (a folder or hub name), whose number of tokens is ``vocabulary``.
    The splits have that many characters at most; None is all there are, in a folder. ``lower`` makes letters small.
    """

    def __init__(
        self,
        *,
        source: Literal["docstrings", "folder"] = "docstrings",
        root: str | None = None,
        tokenizer: str = "characters",
        vocabulary: Count | None = None,
        block: Count = 64,
        train_characters: Count | None = 300_000,
        valid_characters: Count | None = 30_000,
        test_characters: Count | None = 30_000,
        lower: bool = True,
    ) -> None:
        self.source, self.tokenizer, self.block, self.lower = source, tokenizer, block, lower
        self.root = Path(root).expanduser() if root else None
        self.vocabulary = vocabulary
        self.characters = dict(zip(SPLITS, (train_characters, valid_characters, test_characters), strict=True))
        if source == "folder" and root is None:
            raise DataError("text from a folder needs data.root=FOLDER", key="data.root")
        if tokenizer != "characters" and vocabulary is None:
            raise DataError(f"the tokenizer '{tokenizer}' needs its number of tokens", key="data.vocabulary")

    def info(self) -> dict[str, DataInfo]:
        return dict.fromkeys(SPLITS, self._info(self.block))

    def _info(self, length: int, **more: Column) -> DataInfo:
        columns = {name: Column((length,), torch.int64) for name in ("tokens", "target", "secret")}
        vocabulary = self.vocabulary or len(tokenizer("characters", lower=self.lower).pieces())
        extra = {"vocabulary": vocabulary, "tokenizer": self.tokenizer, "lower": self.lower}
        return DataInfo({**columns, **more}, classes=vocabulary, extra=extra)

    def fingerprint(self) -> str:
        """The Python version that brings the docstrings, or a hash of the files' names, sizes and times of change."""
        if self.source == "docstrings":
            return platform.python_version()
        digest = hashlib.sha256()
        for path in itertools.chain.from_iterable(_text_files(self._folder(), split) for split in SPLITS):
            stat = path.stat()
            digest.update(f"{path.name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def load(self) -> dict[str, MemoryDataset]:
        return {split: self._packed([(text, False)]) for split, text in self._texts().items()}

    def _folder(self) -> Path:
        assert self.root is not None
        return self.root

    def _texts(self) -> dict[str, str]:
        if self.source == "docstrings":
            counts = [self.characters[s] or 0 for s in ("test", "valid", "train")]
            test, valid, train = docstrings(*counts)
            texts = {"train": train, "valid": valid, "test": test}
        else:
            texts = {split: self._read(split) for split in SPLITS}
        return {split: text.lower() if self.lower else text for split, text in texts.items()}

    def _read(self, split: str) -> str:
        files = _text_files(self._folder(), split)
        if not files:
            raise DataError(
                f"there is no text for the split '{split}': expected {self.root}/{split}.txt or {self.root}/{split}/*.txt",
                key="data.root",
            )
        return "\n\n".join(path.read_text(encoding="utf-8") for path in files)[: self.characters[split]]

    def _encoder(self) -> Tokenizer:
        found = tokenizer(self.tokenizer, lower=self.lower)
        if self.vocabulary is not None and len(found.pieces()) > self.vocabulary:
            raise DataError(
                f"the tokenizer has {len(found.pieces())} tokens, more than {self.vocabulary}", key="data.vocabulary"
            )
        return found

    def _packed(self, segments: Iterable[Segment]) -> MemoryDataset:
        encoder = self._encoder()
        tokens: list[int] = []
        secret: list[int] = []
        for text, private in segments:
            ids = encoder.encode(text)
            tokens += ids
            secret += [int(private)] * len(ids)
        if len(tokens) <= self.block:
            raise DataError(f"a text of {len(tokens)} tokens fills no block of {self.block}", key="data.block")
        return MemoryDataset(_blocks(tokens, secret, self.block), self._info(self.block))


@data(name="canary_corpus", fields=("train", "valid", "test", "clean", "other", "candidates"), fingerprint=True)
class CanaryCorpus(TextCorpus):
    """Text with canaries, sentences with a random secret that stand in it several times (Carlini et al., 2019).

    Canary i is template ``i mod templates`` with the i-th of ``names`` for ``{name}`` and ``secret_length`` letters of
    ``alphabet``, drawn uniformly by ``seed`` and joined by ``separator``, for ``{secret}``; it stands ``repeats`` times
    in ``train``, as a line at random places. ``clean`` is that text without canaries; ``other`` has other secrets at
    the same places, a new one each time. ``valid`` and ``test`` have none. In ``secret``, 1 marks targets that are
    part of a secret.

    ``candidates`` has a row for each canary (``canary``, int64) and each possible secret, or ``max_candidates`` of
    them; ``inserted`` (int64) is 1 at the true one. Raises ``DataError`` if the candidates of a canary differ
    in their number of tokens.
    """

    def __init__(
        self,
        *,
        source: Literal["docstrings", "folder"] = "docstrings",
        root: str | None = None,
        tokenizer: str = "characters",
        vocabulary: Count | None = None,
        block: Count = 64,
        train_characters: Count | None = 300_000,
        valid_characters: Count | None = 30_000,
        test_characters: Count | None = 30_000,
        lower: bool = True,
        canaries: Count = 10,
        repeats: Count = 40,
        templates: list[str] = ("the access code of {name} is {secret}",),  # type: ignore[assignment]
        names: list[str] | None = None,
        alphabet: str = "0123456789",
        secret_length: Count = 4,
        separator: str = "",
        max_candidates: Count | None = None,
        seed: Unsigned = 0,
    ) -> None:
        super().__init__(
            source=source,
            root=root,
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            block=block,
            train_characters=train_characters,
            valid_characters=valid_characters,
            test_characters=test_characters,
            lower=lower,
        )
        names = list(NAMES) if names is None else names
        if canaries > len(names):
            raise DataError(f"{canaries} canaries need as many names, got {len(names)}", key="data.names")
        wrong = [t for t in templates if t.count("{secret}") != 1]
        if wrong or not templates:
            raise DataError(
                f"a template has one {{secret}}: {wrong[0] if wrong else 'none given'}", key="data.templates"
            )
        self.sentences = [templates[i % len(templates)].replace("{name}", names[i]) for i in range(canaries)]
        self.alphabet, self.secret_length, self.separator, self.repeats = alphabet, secret_length, separator, repeats
        self.space = len(alphabet) ** secret_length
        self.max_candidates, self.seed = min(max_candidates or self.space, self.space), seed

    def info(self) -> dict[str, DataInfo]:
        one = Column((), torch.int64)
        rows = self._info(self._longest(), canary=one, inserted=one)
        return {**dict.fromkeys((*SPLITS, "clean", "other"), self._info(self.block)), "candidates": rows}

    def load(self) -> dict[str, MemoryDataset]:
        texts = self._texts()
        generator = torch.Generator().manual_seed(self.seed)
        true = torch.randint(self.space, (len(self.sentences),), generator=generator)
        lines = texts["train"].split("\n")
        count = len(self.sentences) * self.repeats
        which = torch.arange(count) % len(self.sentences)
        places = torch.randint(len(lines) + 1, (count,), generator=generator)
        shift = torch.randint(max(self.space - 1, 1), (count,), generator=generator) + 1
        order = places.argsort(stable=True)
        places, which, shift = places[order], which[order], shift[order]
        splits = {split: self._packed([(texts[split], False)]) for split in ("valid", "test")}
        splits["clean"] = self._packed([(texts["train"], False)])
        for split, secrets in (("train", true[which]), ("other", (true[which] + shift) % self.space)):
            splits[split] = self._packed(self._woven(lines, places.tolist(), which.tolist(), secrets.tolist()))
        splits["candidates"] = self._candidates(true, generator)
        return splits

    def secret(self, number: int) -> str:
        """The possible secret of this number, from 0 to ``alphabet ** secret_length - 1``."""
        letters = []
        for _ in range(self.secret_length):
            number, place = divmod(number, len(self.alphabet))
            letters.append(self.alphabet[place])
        return self.separator.join(reversed(letters))

    def _woven(self, lines: list[str], places: list[int], which: list[int], secrets: list[int]) -> Iterator[Segment]:
        """The lines, with canary ``which[i]`` as a line of its own before line ``places[i]`` (in ascending order)."""
        start = 0
        for place, canary, secret in zip(places, which, secrets, strict=True):
            before, after = self.sentences[canary].split("{secret}")
            yield "".join(f"{line}\n" for line in lines[start:place]), False
            yield before, False
            yield self.secret(secret), True
            yield f"{after}\n", False
            start = place
        yield "\n".join(lines[start:]), False

    def _longest(self) -> int:
        """Tokens that a candidate has at most: a token is a character or more."""
        longest = max(len(s.split("{secret}")[0]) for s in self.sentences)
        return longest + self.secret_length + len(self.separator) * (self.secret_length - 1)

    def _candidates(self, true: Tensor, generator: torch.Generator) -> MemoryDataset:
        encoder, length = self._encoder(), self._longest()
        rows: list[list[int]] = []
        marks: list[list[int]] = []
        inserted: list[int] = []
        for sentence, own in zip(self.sentences, true.tolist(), strict=True):
            # A line break stands before a canary in the text, too.
            prefix = encoder.encode("\n") + encoder.encode(sentence.split("{secret}")[0])
            others = torch.randperm(self.space, generator=generator)
            chosen = [own, *others[others != own][: self.max_candidates - 1].tolist()]
            secrets = [encoder.encode(self.secret(number)) for number in chosen]
            if len({len(secret) for secret in secrets}) > 1:
                raise DataError(
                    "the candidates of a canary differ in their number of tokens: set a separator", key="data.separator"
                )
            spare = [0] * (length + 1 - len(prefix) - len(secrets[0]))
            rows += [prefix + secret + spare for secret in secrets]
            marks += [[0] * (len(prefix) - 1) + [1] * len(secrets[0]) + spare] * len(secrets)
            inserted += [1] + [0] * (len(secrets) - 1)
        stream = torch.tensor(rows)
        canary = torch.arange(len(self.sentences)).repeat_interleave(self.max_candidates)
        columns = {"tokens": stream[:, :-1], "target": stream[:, 1:], "secret": torch.tensor(marks)}
        return MemoryDataset(
            {**columns, "canary": canary, "inserted": torch.tensor(inserted)}, self.info()["candidates"]
        )
