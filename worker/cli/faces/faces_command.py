"""``worker faces …``: reference faces of people, and how similar the faces in pictures are to them."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Column, Table

from worker.cli.printing import complain, console, write, write_json
from worker.common.atomic_files import write_atomically
from worker.errors import WorkerError
from worker.images.formats.picture import BrokenPicture
from worker.images.incoming import opaque, read_picture
from worker.judges.judge_catalog import JudgeCatalog, JudgeUnavailable
from worker.judges.onnx_session import OnnxUnusable
from worker.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL import Image

    from worker.judges.faces.embedding import FaceAnalyser
    from worker.judges.faces.enrolment import FaceReference, FaceReferences

FAILED = 1
ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif"})

app = typer.Typer(name="faces", add_completion=False, no_args_is_help=True)
Pictures = Annotated[list[Path], typer.Argument(metavar="PICTURE", help="Picture files.")]
Threshold = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Lowest similarity that is accepted; default: as enrolled, else 0.45."),
]


@app.callback()
def faces() -> None:
    """Enrol people, and compare the faces in pictures with them.

    FACE_DETECTOR (YuNet) and FACE_EMBEDDER (SFace) name the models; references are kept in FACES_DIR. Face vectors are
    personal data. Only for photographs: these models cannot tell drawn faces apart.
    """


@contextmanager
def _catalog() -> Iterator[JudgeCatalog]:
    """Open the judges of the environment's settings; tell errors and exit with code 1."""
    try:
        yield JudgeCatalog(read_settings(os.environ))
    except WorkerError as error:
        complain(f"{error.code}: {error.message}")
        raise typer.Exit(FAILED) from None
    except (JudgeUnavailable, OnnxUnusable) as error:
        complain(str(error))
        raise typer.Exit(FAILED) from None
    except OSError as error:
        complain(f"{error.filename or 'a file'}: {error.strerror}")
        raise typer.Exit(FAILED) from None


@app.command()
def enrol(
    name: Annotated[str, typer.Argument(help="Name of the person or character.")],
    pictures: Pictures,
    *,
    threshold: Threshold = None,
) -> None:
    """Enrol a person from pictures with one face each.

    Exit code 1, and nothing is written, when a picture has no face, one below 40 pixels, or somebody else's.
    """
    with _catalog() as catalog:
        path, analyser = catalog.references_file(name), catalog.analyser()
        references = _enrolled(name, pictures, analyser, threshold)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, references.to_json().encode())
        for remark in references.remarks:
            write(remark)
        write(f"{name}: {len(references.members)} references in {path}")


def _enrolled(name: str, pictures: Sequence[Path], analyser: FaceAnalyser, threshold: float | None) -> FaceReferences:
    from worker.judges.faces.enrolment import ReferencesUnusable, enrol  # noqa: PLC0415 - needs numpy, an extra

    members = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), _read(path)) for path in pictures]
    try:
        return enrol(name, members, analyser, threshold=threshold)
    except ReferencesUnusable as error:
        for file, why in error.mistakes.items():
            complain(f"{file} {why}")
        complain(f"{name} was not enrolled")
        raise typer.Exit(FAILED) from None


@app.command()
def compare(
    name: Annotated[str, typer.Argument(help="Name of a person who is enrolled.")],
    pictures: Pictures,
    *,
    threshold: Threshold = None,
    against: Annotated[
        Literal["mean", "best", "worst"], typer.Option(help="Which reference faces are compared with.")
    ] = "mean",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the faces in pictures with an enrolled person; exit code 1 when a picture is not accepted."""
    with _catalog() as catalog:
        references, analyser = catalog.references(name), catalog.analyser()
        from worker.judges.faces.face_judge import FaceJudge  # noqa: PLC0415 - needs numpy, an extra

        judge = FaceJudge(references, analyser, threshold, against)
        verdicts = [(path, judge.look(_read(path))) for path in pictures]
    if json:
        write_json(
            [
                {"file": str(path), "accepted": verdict.accepted, **verdict.details, **_reason(verdict.why)}
                for path, verdict in verdicts
            ]
        )
    else:
        table = Table("similarity", "faces", "accepted", Column("picture", overflow="fold"), box=None, pad_edge=False)
        for path, verdict in verdicts:
            similarity = "-" if verdict.score is None else f"{verdict.score:.3f}"
            table.add_row(similarity, str(verdict.details["faces"]), "yes" if verdict.accepted else "no", str(path))
        console().print(table)
    raise typer.Exit(0 if all(verdict.accepted for _, verdict in verdicts) else FAILED)


def _reason(why: str | None) -> dict[str, str]:
    return {} if why is None else {"why": why}


@app.command()
def calibrate(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder that has a folder of pictures for each person.")
    ],
) -> None:
    """Measure how well people are told apart, and propose a threshold.

    Each picture is compared with the mean of the person's other pictures, and with the mean of every other person.
    """
    with _catalog() as catalog:
        analyser = catalog.analyser()
        from worker.judges.faces.calibration import measure_thresholds  # noqa: PLC0415 - needs numpy, an extra
        from worker.judges.faces.enrolment import largest_face  # noqa: PLC0415 - as above

        persons: dict[str, list[FaceReference]] = {}
        for person in sorted(path for path in folder.iterdir() if path.is_dir()):
            for path in sorted(file for file in person.iterdir() if file.suffix.lower() in ENDINGS):
                face = largest_face(path.name, "", _read(path), analyser)
                if face is None:
                    complain(f"{person.name}/{path.name} has no usable face and is left out")
                else:
                    persons.setdefault(person.name, []).append(face)
    found = measure_thresholds(persons)
    if found is None:
        complain(f"{folder}: needs pictures of at least two people, and at least two pictures of one of them")
        raise typer.Exit(FAILED)
    write(
        f"{len(persons)} people: {len(found.same)} comparisons within one person, {len(found.different)} between people"
    )
    write(f"same person: at least {min(found.same):.3f}; different people: at most {max(found.different):.3f}")
    table = Table("threshold", "same refused", "different accepted", box=None, pad_edge=False)
    for row in found.rows():
        table.add_row(f"{row.threshold:.3f}", f"{row.refused:.1%}", f"{row.accepted:.1%}")
    console().print(table)
    write(f"proposed threshold: {found.proposed:.2f}")


@app.command()
def fold(
    source: Annotated[Path, typer.Argument(metavar="INT8.onnx", help="The quantised model.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="Where the folded one is written.")],
) -> None:
    """Turn the int8 files of YuNet and SFace into plain ones that onnxruntime runs; needs the package onnx."""
    with _catalog():
        from worker.judges.faces.fold_int8 import fold_file  # noqa: PLC0415 - needs numpy, an extra

        count = fold_file(source, target)
        write(f"{target}: {count} weights folded, {target.stat().st_size} bytes")


def _read(path: Path) -> Image.Image:
    try:
        return opaque(read_picture(path.read_bytes(), max_pixels=read_settings(os.environ).max_input_pixels))
    except BrokenPicture as broken:
        complain(f"{path} is not a usable picture: {broken}")
        raise typer.Exit(FAILED) from None
