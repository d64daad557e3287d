"""Data, images, tables and weights that are not what they are called."""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from support.hostile import Case, World
from trust.inputs.carried import READ, SCORED

FOLDER = f"{READ}data: {{data: folder, root: images, size: 8}}\n"


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int) -> bytes:
    """A picture of so many points, of which only the header and a few bytes are there."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(b"\0" * 100)) + _chunk(b"IEND", b"")


def _bmp(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    )


def _gif(width: int, height: int) -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 0, width, height, 0)
        + b"\x02\x02\x44\x01\x00;"
    )


def _tiff(width: int, height: int) -> bytes:
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (278, 4, 1, height),
        (279, 4, 1, 10),
    ]
    return (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", len(entries))
        + b"".join(struct.pack("<HHII", *entry) for entry in entries)
        + b"\0" * 4
    )


GOOD = png(2, 2)

IMAGES: list[tuple[str, dict[str, bytes]]] = [
    ("text", {"images/a/x.png": b"no picture", "images/b/x.png": b"no picture"}),
    ("empty", {"images/a/x.png": b"", "images/b/x.png": b""}),
    ("cut off", {"images/a/x.png": png(8, 8)[:40], "images/b/x.png": png(8, 8)[:40]}),
    ("of no size", {"images/a/x.png": png(0, 0), "images/b/x.png": png(0, 0)}),
    ("huge, PNG", {"images/a/x.png": png(60_000, 60_000), "images/b/x.png": png(60_000, 60_000)}),
    ("larger than counted, PNG", {"images/a/x.png": png(2**31 - 1, 2**31 - 1)}),
    ("long, PNG", {"images/a/x.png": png(2**30, 1), "images/b/x.png": png(1, 2**30)}),
    ("huge, BMP", {"images/a/x.bmp": _bmp(60_000, 60_000), "images/b/x.bmp": _bmp(60_000, 60_000)}),
    ("huge, GIF", {"images/a/x.gif": _gif(65_535, 65_535), "images/b/x.gif": _gif(65_535, 65_535)}),
    ("huge, TIFF", {"images/a/x.tiff": _tiff(100_000, 100_000), "images/b/x.tiff": _tiff(100_000, 100_000)}),
    (
        "a remark that grows",
        {"images/a/x.png": GOOD[:33] + _chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x" * 80_000_000)) + GOOD[33:]},
    ),
    ("no pictures", {"images/a/x.txt": b"", "images/b/x.txt": b""}),
    ("no classes", {"images/x.png": GOOD}),
    ("a file for the folder", {"images": b""}),
    ("nothing", {}),
    ("a script for a picture", {"images/a/x.png": b"%!PS\n(mark) (w) file\n", "images/b/x.eps": b"%!PS\n"}),
]


def _fifo(name: str) -> Callable[[World], None]:
    def make(world: World) -> None:
        path = world.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)

    return make


def _linked(name: str, to: str) -> Callable[[World], None]:
    def make(world: World) -> None:
        path = world.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(world.filled(to))

    return make


SPECIAL = [
    ("a pipe for a recipe", _fifo("stranger.yaml"), ("check", "stranger.yaml"), "stranger.yaml"),
    ("a pipe for a recipe, run", _fifo("stranger.yaml"), ("run", "stranger.yaml"), "stranger.yaml"),
    ("a pipe among recipes", _fifo("recipes/pipe.yaml"), ("run", "pipe"), "pipe"),
    ("a pipe for an option", _fifo("conf/data/pipe.yaml"), ("check", "kd", "data=pipe"), "pipe"),
    ("a pipe for a plug-in", _fifo("pipe.py"), ("check", "kd", "plugins=[pipe.py]"), "pipe.py"),
    ("a pipe for weights", _fifo("pipe.pt"), ("run", "scored.yaml", "student.weights=pipe.pt"), "pipe.pt"),
    (
        "a pipe for safetensors",
        _fifo("pipe.safetensors"),
        ("run", "scored.yaml", "student.weights=pipe.safetensors"),
        "pipe.safetensors",
    ),
    ("a pipe for a picture", _fifo("images/a/x.png"), ("run", "read.yaml"), "images"),
    ("zeros for a recipe", _linked("stranger.yaml", "/dev/zero"), ("check", "stranger.yaml"), "stranger.yaml"),
    ("zeros for an option", _linked("conf/data/pipe.yaml", "/dev/zero"), ("check", "kd", "data=pipe"), "pipe"),
    (
        "zeros for weights",
        _linked("zero.pt", "/dev/zero"),
        ("run", "scored.yaml", "student.weights=zero.pt"),
        "zero.pt",
    ),
    (
        "zeros for safetensors",
        _linked("zero.safetensors", "/dev/zero"),
        ("run", "scored.yaml", "student.weights=zero.safetensors"),
        "zero",
    ),
    ("zeros for a picture", _linked("images/a/x.png", "/dev/zero"), ("run", "read.yaml"), "images"),
    ("a folder of pictures in itself", _linked("images/a", ".."), ("run", "read.yaml"), "images"),
]


def _saved(value: Any) -> Callable[[World], None]:
    def make(world: World) -> None:
        import torch

        torch.save(value() if callable(value) else value, world.work / "w.pt")

    return make


def _tensors(**tensors: Any) -> Callable[[World], None]:
    def make(world: World) -> None:
        import torch
        from safetensors.torch import save_file

        save_file(
            {name: torch.full(shape, value) for name, (shape, value) in tensors.items()}, world.work / "w.safetensors"
        )

    return make


def _packed(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header


def _claimed(world: World) -> None:
    """An archive of arrays whose headers claim far more than is there."""
    import numpy as np

    header = str({"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)}).encode() + b"\n"
    path = world.work / "slides" / "a" / "features" / "s.npz"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "features.npy", np.lib.format.MAGIC_PREFIX + b"\x01\x00" + struct.pack("<H", len(header)) + header
        )
    (world.work / "slides" / "a" / "patients.csv").write_text("slides,time,event,fold\ns,1,1,0\ns,2,0,1\n")


WEIGHTS: list[tuple[str, str, dict[str, bytes], Callable[[World], None] | None]] = [
    ("are text", "w.pt", {"w.pt": b"no weights"}, None),
    ("are empty", "w.pt", {"w.pt": b""}, None),
    ("are not there", "w.pt", {}, None),
    ("are a folder", "w", {"w/x": b""}, None),
    ("are an empty archive", "w.pt", {"w.pt": b"PK\x05\x06" + b"\0" * 18}, None),
    ("are a number", "w.pt", {}, _saved(3)),
    ("are a list", "w.pt", {}, _saved([1, 2])),
    ("are numbers by name", "w.pt", {}, _saved({"0.weight": 3})),
    ("have numbers for names", "w.pt", {}, _saved({3: 4})),
    ("are nothing", "w.pt", {}, _saved({})),
    ("nest", "w.pt", {}, _saved({"state_dict": {"state_dict": {}}})),
    ("are of other names", "w.safetensors", {}, _tensors(nobody=((1,), 1.0))),
    ("are of other shapes", "w.safetensors", {}, _tensors(**{"0.weight": ((1,), 1.0)})),
    ("are safetensors without a header", "w.safetensors", {"w.safetensors": b"\0" * 4}, None),
    ("are safetensors with a long header", "w.safetensors", {"w.safetensors": _packed(b"{}", 2**60)}, None),
    (
        "are safetensors that claim more",
        "w.safetensors",
        {
            "w.safetensors": _packed(
                json.dumps({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()
            )
        },
        None,
    ),
    (
        "are safetensors of no shape",
        "w.safetensors",
        {"w.safetensors": _packed(b'{"a": {"dtype": "F32", "shape": -1, "data_offsets": [0, 4]}}')},
        None,
    ),
    ("are safetensors, nested", "w.safetensors", {"w.safetensors": _packed(b"[" * 100_000)}, None),
]

SLIDES = f"{READ}data: {{data: bag_folder, root: slides, target: a, sources: [], features: 1, instances: 1, bins: 2}}\n"

TABLES: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("without columns", b"\n\n"),
    ("of other columns", b"a,b\n1,2\n"),
    ("without rows", b"slides,time,event,fold\n"),
    ("of words", b"slides,time,event,fold\ns,soon,yes,first\n"),
    ("of numbers without end", b"slides,time,event,fold\ns,inf,1,0\ns,nan,0,1\n"),
    ("of many digits", b"slides,time,event,fold\ns,1," + b"9" * 5000 + b",0\n"),
    ("of short rows", b"slides,time,event,fold\ns\n"),
    ("of long rows", b"slides,time,event,fold\n" + b"s,1,1,0," * 100 + b"\n"),
    ("of a long field", b'slides,time,event,fold\n"' + b"s" * 300_000 + b'",1,1,0\n'),
    ("with zeros", b"slides,time,event,fold\n\0,1,1,0\n"),
    ("in Latin", b"slides,time,event,fold\n\xe9,1,1,0\n"),
    ("that climb", b"slides,time,event,fold\n../../../../outside/s,1,1,0\n../../../../outside/s,1,1,1\n"),
    ("at the root", b"slides,time,event,fold\n/etc/hostname,1,1,0\n/etc/hostname,1,1,1\n"),
    ("of slides that are not there", b"slides,time,event,fold\nnobody,1,1,0\nnobody,2,1,1\n"),
]

QUESTIONS = f"{READ}data: {{data: question_folder, tasks: [t], root: ask, vocabulary: 100}}\n".replace(
    "data.train", "data.tasks.0.train"
)

LINES: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("text", b"hello\n"),
    ("lists", b"[1, 2]\n"),
    ("without answers", b'{"prompt": "a"}\n'),
    ("with lists", b'{"prompt": ["a"], "answer": {"b": 1}}\n'),
    ("cut off", b'{"prompt": "a", "answer": "b"}\n{"prompt"'),
    ("nested", b'{"prompt": ' + b"[" * 100_000 + b"\n"),
    ("of many digits", b'{"prompt": ' + b"9" * 5000 + b', "answer": "b"}\n'),
    ("in Latin", b'{"prompt": "\xe9", "answer": "b"}\n'),
    ("with halves of pairs", b'{"prompt": "\\ud800", "answer": "b"}\n'),
    ("UTF-16", '{"prompt": "a", "answer": "b"}\n'.encode("utf-16")),
]

CASES = [
    *(
        Case(f"images, {name}", ("run", "read.yaml"), "images", files={"read.yaml": FOLDER, **files})
        for name, files in IMAGES
    ),
    *(
        Case(f"special, {name}", words, says, files={"read.yaml": FOLDER, "scored.yaml": SCORED}, prepare=make)
        for name, make, words, says in SPECIAL
    ),
    *(
        Case(
            f"weights {name}",
            ("run", "scored.yaml", f"student.weights={file}"),
            f"\\b{file}|weights",
            files={"scored.yaml": SCORED, **files},
            prepare=make,
        )
        for name, file, files, make in WEIGHTS
    ),
    Case(
        "weights of another file",
        ("run", "scored.yaml", "student.weights='{outside}/../../../etc/hostname'"),
        "weights|hostname",
        files={"scored.yaml": SCORED},
    ),
    *(
        Case(
            f"tables {name}",
            ("run", "read.yaml"),
            "patients.csv|slides",
            files={"read.yaml": SLIDES, "slides/a/patients.csv": content, "../outside/s.npz": b"PK"},
        )
        for name, content in TABLES
    ),
    Case("arrays that claim more", ("run", "read.yaml"), "slides", files={"read.yaml": SLIDES}, prepare=_claimed),
    *(
        Case(
            f"lines, {name}",
            ("run", "read.yaml"),
            "ask",
            files={"read.yaml": QUESTIONS, **{f"ask/t/{split}.jsonl": content for split in ("train", "valid", "test")}},
        )
        for name, content in LINES
    ),
]
