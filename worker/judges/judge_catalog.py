"""Judges that this worker offers, by the operator's settings; models are loaded when they are first asked for."""

from __future__ import annotations

import importlib.util
import re
from threading import Lock
from typing import TYPE_CHECKING, Any

from worker.errors import SettingsInvalid
from worker.judges.loading import load_plugin
from worker.judges.onnx_session import OnnxUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from PIL import Image

    from worker.judges.faces.embedding import FaceAnalyser
    from worker.judges.faces.enrolment import FaceReferences
    from worker.judges.judge import Judge
    from worker.settings import Settings

AESTHETIC = "aesthetic"
BUILT_IN = frozenset({"face", "quality", "moderation", AESTHETIC})
REFERENCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_JUDGE_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_BLANK_RANGE = 8
"""Grey values; a picture with no more of them is like every other blank one."""
_TAKEN = frozenset({"accepted", "seed", "index", "why", "duplicate_of", "key"})
"""Names that stand beside the judges' in an answer."""


class JudgeUnavailable(Exception):
    """A job asks for a judge that this worker does not have; the message says what is missing."""


class JudgeCatalog:
    """The judges of one worker; used by several threads.

    Args:
        settings: The worker's.

    Raises:
        SettingsInvalid: one of the operator's own judges can't be loaded.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._analyser: FaceAnalyser | None = None
        self._aesthetic: Judge | None = None
        self._enrolled: dict[tuple[str, ...], FaceReferences] = {}
        self._own = _own_judges(settings)

    @property
    def names(self) -> tuple[str, ...]:
        """The judges that jobs may name in `judges`."""
        aesthetic = (AESTHETIC,) if self._settings.aesthetic_model is not None else ()
        return (*aesthetic, *self._own)

    def analyser(self) -> FaceAnalyser:
        """Return the models for faces, loaded at the first call.

        Raises:
            JudgeUnavailable: there are none.
            SettingsInvalid: they can't be loaded.
        """
        detector, embedder = self._settings.face_detector, self._settings.face_embedder
        if detector is None or embedder is None:
            raise JudgeUnavailable("faces are not judged here: FACE_DETECTOR and FACE_EMBEDDER are not set")
        require_numpy("faces")
        with self._lock:
            if self._analyser is None:
                from worker.judges.faces.embedding import FaceAnalyser  # noqa: PLC0415 - needs numpy, an extra

                try:
                    self._analyser = FaceAnalyser(detector, embedder)
                except OnnxUnusable as error:
                    raise SettingsInvalid(str(error)) from None
            return self._analyser

    def references(self, name: str) -> FaceReferences:
        """Return the references enrolled as `name`.

        Raises:
            JudgeUnavailable: there are none, or they can't be used.
        """
        analyser = self.analyser()
        from worker.judges.faces.enrolment import ReferencesUnusable, read_references  # noqa: PLC0415 - as above

        path = self.references_file(name)
        try:
            return read_references(path.read_bytes(), analyser.identity)
        except FileNotFoundError:
            raise JudgeUnavailable(f"{name!r} is nobody who was enrolled here") from None
        except OSError as error:
            raise JudgeUnavailable(f"the references of {name!r} can't be read: {error.strerror}") from None
        except ReferencesUnusable as error:
            raise JudgeUnavailable(f"the file of {name!r} {error}") from None

    def enrolled_once(self, key: tuple[str, ...], enrol: Callable[[], FaceReferences]) -> FaceReferences:
        """Return what `enrol` returned for `key`, the first time or now; `key` tells the very pictures."""
        with self._lock:
            found = self._enrolled.get(key)
        if found is None:
            found = enrol()
            with self._lock:
                self._enrolled[key] = found
        return found

    def references_file(self, name: str) -> Path:
        """Return where the references of `name` are kept. Raises JudgeUnavailable for no plain name."""
        if not REFERENCE_NAME.fullmatch(name):
            raise JudgeUnavailable(f"{name[:80]!r} is no name: letters, digits, '.', '_', '-', at most 64")
        return self._settings.faces_root / f"{name}.json"

    def judge(self, name: str) -> Judge:
        """Return the aesthetic model or one of the operator's own judges.

        Raises:
            JudgeUnavailable: there is none of that name.
            SettingsInvalid: it can't be loaded.
        """
        if name in self._own:
            return self._own[name]
        path = self._settings.aesthetic_model
        if name != AESTHETIC or path is None:
            known = ", ".join(self.names) or "none besides face and quality"
            raise JudgeUnavailable(f"there is no judge {name[:80]!r} here; there is {known}")
        require_numpy(AESTHETIC)
        with self._lock:
            if self._aesthetic is None:
                from worker.judges.scoring_model import ScoringJudge, ScoringModel  # noqa: PLC0415 - needs numpy, an extra

                try:
                    self._aesthetic = ScoringJudge(AESTHETIC, ScoringModel(path))
                except OnnxUnusable as error:
                    raise SettingsInvalid(f"AESTHETIC_MODEL={str(path)!r}: {error}") from None
            return self._aesthetic

    def hash_of(self, image: Image.Image) -> int | None:
        """Return the perceptual hash of a picture; None for a blank one, and where numpy is not installed."""
        if not has_numpy():
            return None
        values = [value for value, count in enumerate(image.convert("L").histogram()) if count]
        if values[-1] - values[0] <= _BLANK_RANGE:
            return None
        from worker.judges.perceptual_hash import perceptual_hash  # noqa: PLC0415 - needs numpy, an extra

        return perceptual_hash(image)


def has_numpy() -> bool:
    """Return whether numpy, which comes with the extras, is installed."""
    return importlib.util.find_spec("numpy") is not None


def require_numpy(what: str) -> None:
    """Raise JudgeUnavailable where numpy is not installed."""
    if not has_numpy():
        raise JudgeUnavailable(f"{what} can't be judged here: numpy is not installed; it comes with the extra faces")


def _own_judges(settings: Settings) -> Mapping[str, Judge]:
    judges: dict[str, Judge] = {}
    for place in (part.strip() for part in settings.judges.split(",") if part.strip()):
        judge: Any = load_plugin(
            place, settings, variable="JUDGES", hint="package.module:factory, several separated by commas."
        )
        name = getattr(judge, "name", None)
        if not isinstance(name, str) or not _JUDGE_NAME.fullmatch(name) or name in BUILT_IN | _TAKEN | judges.keys():
            raise SettingsInvalid(
                f"JUDGES={place!r}: its name {name!r} is taken, or not made of a-z, 0-9 and _, at most 40"
            )
        if not isinstance(getattr(judge, "model", None), str) or not callable(getattr(judge, "look", None)):
            raise SettingsInvalid(f"JUDGES={place!r}: it is no judge: it needs name, model and look(image)")
        judges[name] = judge
    return judges
