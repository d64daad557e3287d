"""Images with a sentence each, drawn here or read from files."""

from __future__ import annotations

import itertools
import string
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from kdrun.config.places import refuse_links_out
from kdrun.data.answer_tables import AnswerTable, splits_of
from kdrun.data.dataset import Column, DataInfo, Dataset, FileDataset, MemoryDataset
from kdrun.data.fingerprints import fingerprint_of
from kdrun.data.glyph_images import Glyphs
from kdrun.data.image_reading import Preparation
from kdrun.data.knowledge_graphs import token_rows
from kdrun.data.text_reading import read_table
from kdrun.errors import DataError, nearest
from kdrun.registry import data
from kdrun.types import Count, Fraction, PathToRead, PretrainedName, Unsigned

__all__ = ["CaptionedFolder", "CaptionedGlyphs"]

COLOURS = {
    "red": (0.9, 0.15, 0.1),
    "green": (0.15, 0.75, 0.2),
    "blue": (0.15, 0.25, 0.9),
    "yellow": (0.95, 0.9, 0.15),
    "white": (1.0, 1.0, 1.0),
    "black": (0.0, 0.0, 0.0),
}
PLACES = {
    "at the upper left": (-2, -2),
    "at the upper right": (-2, 2),
    "at the lower left": (2, -2),
    "at the lower right": (2, 2),
}
"""What a sentence says of the place, and by how many pixels down and across a character is moved."""

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPLITS = ("train", "valid", "test")


def _spoken(character: str) -> str:
    """How a sentence calls a character: 'digit seven', 'letter A', 'small letter a'."""
    if character in string.digits:
        return f"digit {DIGITS[int(character)]}"
    return f"letter {character}" if character.isupper() else f"small letter {character}"


def _texts(length: int, count: int | None) -> DataInfo:
    return DataInfo({"tokens": Column((length,), torch.int64)}, size=count)


@data(name="captioned_glyphs", fields=("train", "valid", "test", "captions"))
class CaptionedGlyphs:
    """Coloured characters on pieces of photographs, each with a sentence, such as "a photo of a red digit seven at the upper left".

    ``characters`` are the classes, which are named as sentences call them ("digit seven", "letter A"). Of each class ``train``,
    ``valid`` and ``test`` have ``per_class``, ``valid_per_class`` and ``test_per_class`` rows, in one of 6 colours, 4 places and the
    first ``typefaces``; behind it is a random square of a photograph that scikit-learn ships. A sentence leaves out the colour in a
    share ``unsaid`` of the rows, and the place in as many. Columns: ``image`` [3, size, size],
    pixels in [0, 1], ``label`` and ``caption`` (int64): the sentence's row in ``captions``, which has all sentences that there are
    as ``tokens`` [max_tokens] (int64) of the ``tokenizer``. The draw depends on ``seed`` alone; splits are drawn independently.

    >>> splits = data.captioned_glyphs(characters="7A", per_class=3, tokenizer="characters", max_tokens=60).load()
    >>> splits["train"].rows()["image"].shape, splits["train"].info.class_names, len(splits["captions"])
    (torch.Size([6, 3, 16, 16]), ('digit seven', 'letter A'), 70)
    """

    def __init__(
        self,
        *,
        characters: str = "0123456789",
        size: Count = 16,
        per_class: Count = 200,
        valid_per_class: Count = 50,
        test_per_class: Count = 100,
        typefaces: Count = 20,
        unsaid: Fraction = 0.33,
        tokenizer: PretrainedName = "minilm",
        max_tokens: Count = 16,
        seed: Unsigned = 0,
    ) -> None:
        self.names = tuple(_spoken(character) for character in characters)
        self.size, self.unsaid, self.tokenizer, self.max_tokens, self.seed = size, unsaid, tokenizer, max_tokens, seed
        self.drawing = Glyphs(
            characters=characters,
            size=size,
            per_class=per_class,
            valid_per_class=valid_per_class,
            test_per_class=test_per_class,
            teacher_per_class=1,
            typefaces=typefaces,
            rotation=10.0,
            shift=0.03,
            magnify=1.2,
            noise=0.0,
            seed=seed,
        )

    def info(self) -> dict[str, DataInfo]:
        columns = {
            "image": Column((3, self.size, self.size)),
            "label": Column((), torch.int64),
            "caption": Column((), torch.int64),
        }
        drawn = self.drawing.info()
        sets = {name: DataInfo(columns, len(self.names), drawn[name].size, self.names) for name in SPLITS}
        return {**sets, "captions": _texts(self.max_tokens, len(self.names) * (len(COLOURS) + 1) * (len(PLACES) + 1))}

    def load(self) -> dict[str, MemoryDataset]:
        from sklearn.datasets import load_sample_images

        photographs = [torch.from_numpy(i.copy()).permute(2, 0, 1).float() / 255 for i in load_sample_images().images]
        info, drawn = self.info(), self.drawing.load()
        sets = {}
        for number, name in enumerate(SPLITS):
            generator = torch.Generator().manual_seed(self.seed * 1000 + number)
            sets[name] = MemoryDataset(_coloured(drawn[name].rows(), photographs, self.unsaid, generator), info[name])
        said = [
            " ".join(filter(None, ("a photo of a", colour, name, place)))
            for name, colour, place in itertools.product(self.names, [*COLOURS, ""], [*PLACES, ""])
        ]
        tokens = token_rows(said, self.tokenizer, self.max_tokens)
        return {**sets, "captions": MemoryDataset({"tokens": tokens}, info["captions"])}


def _coloured(
    drawn: dict[str, Tensor], photographs: list[Tensor], unsaid: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Characters [rows, 1, size, size] in random colours and places on pieces of photographs, with their sentences' numbers."""
    rows, size = len(drawn["label"]), drawn["image"].shape[-1]
    colour = torch.randint(len(COLOURS), (rows,), generator=generator)
    place = torch.randint(len(PLACES), (rows,), generator=generator)
    moves = list(PLACES.values())
    moved = [one.roll(moves[int(at)], (1, 2)) for one, at in zip(drawn["image"], place, strict=True)]
    mask = torch.stack(moved).clamp(0, 1)
    behind = torch.stack([_piece(photographs, size, generator) for _ in range(rows)])
    ink = torch.tensor(list(COLOURS.values()))[colour][:, :, None, None]
    said_colour, said_place = (
        torch.where(torch.rand(rows, generator=generator) < unsaid, nothing, value)
        for value, nothing in ((colour, len(COLOURS)), (place, len(PLACES)))
    )
    caption = (drawn["label"] * (len(COLOURS) + 1) + said_colour) * (len(PLACES) + 1) + said_place
    return {"image": mask * ink + (1 - mask) * behind, "label": drawn["label"], "caption": caption}


def _piece(photographs: list[Tensor], size: int, generator: torch.Generator) -> Tensor:
    """A random square [3, size, size] of one of them."""
    photograph = photographs[int(torch.randint(len(photographs), (), generator=generator))]
    top, left = (int(torch.randint(full - size + 1, (), generator=generator)) for full in photograph.shape[1:])
    return photograph[:, top : top + size, left : left + size]


class _Reader:
    """Decodes row ``i`` of a list of files; picklable, for worker processes."""

    def __init__(self, files: list[Path], captions: list[int], prepare: Preparation) -> None:
        self.files, self.captions, self.prepare = files, captions, prepare

    def __call__(self, row: int) -> dict[str, Tensor]:
        return {"image": self.prepare(self.files[row]), "caption": torch.tensor(self.captions[row])}


@data(name="captioned_folder", fields=("train", "valid", "test", "captions"), fingerprint=True)
class CaptionedFolder:
    """Images below ``root`` with sentences, as a CSV file ``table`` below it says: a line ``file,caption``, several an image.

    A column ``split`` says train, valid or test; without it ``valid_share`` and ``test_share`` are set aside by a hash of the
    file's name, so that all sentences of an image stay together. A row is a pair. Columns: ``image`` [3, size, size], pixels in
    [0, 1], the shorter side brought to ``size`` and the centre cut out, and ``caption`` (int64): the sentence's row in
    ``captions``, which has each sentence once as ``tokens`` [max_tokens] (int64) of the ``tokenizer``. ``pairs``, the number of lines, lets a
    run be planned where the data are not. Raises ``DataError`` for missing or broken files and cells.

    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> from PIL import Image
    >>> root = Path(mkdtemp())
    >>> Image.new("RGB", (40, 30)).save(root / "0.png")
    >>> _ = (root / "captions.csv").write_text("file,caption,split\\n0.png,a cat,train\\n0.png,a black cat,train")
    >>> splits = data.captioned_folder(root=str(root), size=24, tokenizer="characters").load()
    >>> splits["train"].column("caption"), splits["captions"].column("tokens").shape
    (tensor([0, 1]), torch.Size([2, 77]))
    """

    def __init__(
        self,
        *,
        root: PathToRead,
        table: str = "captions.csv",
        size: Count = 224,
        tokenizer: PretrainedName = "openai/clip-vit-base-patch32",
        max_tokens: Count = 77,
        valid_share: Fraction = 0.05,
        test_share: Fraction = 0.05,
        pairs: Count | None = None,
    ) -> None:
        self.pairs = pairs
        self.root = Path(root).expanduser()
        self.table = self.root / table
        self.prepare = Preparation(3, size, size)
        self.tokenizer, self.max_tokens = tokenizer, max_tokens
        self.shares = {"valid": valid_share, "test": test_share}

    def info(self) -> dict[str, DataInfo]:
        if not self.table.is_file():
            shares = {**self.shares, "train": 1 - sum(self.shares.values())}
            rows = {name: round(self.pairs * share) if self.pairs else None for name, share in shares.items()}
            sets = {name: self._info(rows[name]) for name in SPLITS}
            return {**sets, "captions": _texts(self.max_tokens, self.pairs)}
        _, splits, said = self._read()
        sets = {name: self._info(len(rows)) for name, rows in splits.items()}
        return {**sets, "captions": _texts(self.max_tokens, len(said))}

    def fingerprint(self) -> str:
        """A hash of the table's and the images' names, sizes and times of change."""
        files = [self.root / line["file"] for line in self._read()[0]] if self.table.is_file() else []
        return fingerprint_of([self.table, *dict.fromkeys(files)], self.root)

    def load(self) -> dict[str, Dataset]:
        lines, splits, said = self._read()
        number = {text: place for place, text in enumerate(said)}
        sets: dict[str, Dataset] = {}
        for name, rows in splits.items():
            files = [self.root / lines[row]["file"] for row in rows]
            reader = _Reader(files, [number[lines[row]["caption"]] for row in rows], self.prepare)
            sets[name] = FileDataset(reader, len(rows), self._info(len(rows)))
        tokens = token_rows(said, self.tokenizer, self.max_tokens)
        return {**sets, "captions": MemoryDataset({"tokens": tokens}, _texts(self.max_tokens, len(said)))}

    def _info(self, rows: int | None) -> DataInfo:
        return DataInfo(
            {"image": Column((3, self.prepare.size, self.prepare.size)), "caption": Column((), torch.int64)}, size=rows
        )

    def _read(self) -> tuple[list[dict[str, str]], dict[str, list[int]], Sequence[str]]:
        """Lines, the lines of each split, and each sentence once."""
        refuse_links_out([self.table], self.root)
        header, lines = read_table(self.table)
        for name in ("file", "caption"):
            if name not in header:
                raise DataError(f"{self.table} has no column '{name}'{nearest(name, header)}", key="data.table")
        table = AnswerTable(self.table, (), lines, torch.empty(len(lines), 0))
        empty = next((row for row, line in enumerate(lines) if not (line["file"] and line["caption"])), None)
        if empty is not None:
            raise DataError(f"{table.where(empty)}: a line has a file and a caption", key="data.table")
        splits = splits_of(table, [line["file"] for line in lines], "split", self.shares)
        return lines, splits, list(dict.fromkeys(line["caption"] for line in lines))
