"""The judges that a job asks for, ready to look at pictures."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from worker.contract.operator.presets import Consistency
from worker.errors import InvalidInput, Problem
from worker.images.convert import on_white
from worker.images.pixels import decoded
from worker.jobs.judging.character_references import character_named, references_of
from worker.judges.judge_catalog import JudgeUnavailable, has_numpy, require_numpy
from worker.judges.panel import JudgedPictures, LeastScore, Panel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PIL import Image

    from worker.contract.types.composed.acceptance import Criteria, FaceCriterion
    from worker.images.formats.picture import Picture
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.judges.faces.enrolment import FaceReferences
    from worker.judges.panel import Looked


async def panel_for(criteria: Criteria, path: str, context: JobContext, services: JobServices) -> Panel:
    """Return the judges that `criteria` ask for, with the references' pictures fetched and enrolled.

    Args:
        criteria: The job's.
        path: Of the criteria in the job; empty: they are fields of the job itself.
        context: The job's.
        services: The worker's.

    Raises:
        InvalidInput: this worker has no such judge, or no such references; names the field.
        SettingsInvalid: a model of the operator's can't be loaded.
    """
    pictures: Mapping[str, Image.Image] = {}
    if criteria.face is not None and not isinstance(criteria.face.references, str):
        place = _under(path, "face.references")
        texts = {f"{place}[{index}]": text for index, text in enumerate(criteria.face.references)}
        pictures = await services.inputs.load_images(texts, context)
    return await services.threads.run(assemble_panel, criteria, path, pictures, context, services)


def assemble_panel(
    criteria: Criteria, path: str, pictures: Mapping[str, Image.Image], context: JobContext, services: JobServices
) -> Panel:
    """Return the judges that `criteria` ask for. Blocking: models may have to be loaded.

    Args:
        criteria: The job's.
        path: Of the criteria in the job.
        pictures: The references, where the job brings them, by their field.
        context: The job's.
        services: The worker's.

    Raises:
        InvalidInput, SettingsInvalid: see `panel_for`.
    """
    judges: list[LeastScore] = []
    catalog, place = services.judges, path
    try:
        if criteria.quality is not None:
            place = _under(path, "quality")
            require_numpy("quality")
            from worker.judges.quality import DEFAULT_LEAST, QualityJudge  # noqa: PLC0415 - needs numpy, an extra

            least = criteria.quality.least
            judges.append(LeastScore(QualityJudge(DEFAULT_LEAST if least is None else least)))
        if criteria.face is not None:
            place = _under(path, "face")
            references, likeness = _references(criteria.face, pictures, context, services)
            from worker.judges.faces.face_judge import FaceJudge  # noqa: PLC0415 - as above

            threshold = likeness.threshold if criteria.face.threshold is None else criteria.face.threshold
            against = criteria.face.against or likeness.against or "mean"
            judge = FaceJudge(references, catalog.analyser(), threshold, against)
            judges.append(LeastScore(judge))
        for index, asked in enumerate(criteria.judges or ()):
            place = _under(path, f"judges[{index}].name")
            judges.append(LeastScore(catalog.judge(asked.name), asked.least))
        if criteria.distinct and not has_numpy():
            place = _under(path, "distinct")
            require_numpy("near-duplicates")
    except JudgeUnavailable as error:
        raise InvalidInput.at(place, str(error)) from None
    return Panel(judges, bool(criteria.distinct), catalog.hash_of)


def _references(
    face: FaceCriterion, pictures: Mapping[str, Image.Image], context: JobContext, services: JobServices
) -> tuple[FaceReferences, Consistency]:
    """Return the references that a job names or brings, and the likeness that their character asks for."""
    if isinstance(face.references, str):
        character = character_named(face.references, services)
        likeness = (character.consistency if character is not None else None) or Consistency()
        if character is not None and character.references:
            return references_of(character, context, services), likeness
        return services.judges.references(face.references), likeness
    analyser = services.judges.analyser()
    from worker.judges.faces.enrolment import ReferencesUnusable, enrol  # noqa: PLC0415 - needs numpy, an extra

    members = [(place, "", image) for place, image in pictures.items()]
    try:
        return enrol("the references", members, analyser, threshold=face.threshold), Consistency()
    except ReferencesUnusable as error:
        raise InvalidInput([Problem(place, why) for place, why in error.mistakes.items()]) from None


def _under(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field


async def look_at(pictures: Sequence[Picture], panel: Panel, services: JobServices) -> list[Looked]:
    """Return what the judges say about each picture, in threads."""
    return [await services.threads.run(partial(_looked, picture, panel)) for picture in pictures]


async def judge_pictures(pictures: Sequence[Picture], panel: Panel, services: JobServices) -> JudgedPictures:
    """Return the judgements on finished pictures, in order: of the stage of a workflow, for example."""
    judged = JudgedPictures(panel.distinct)
    for looked in await look_at(pictures, panel, services):
        judged.add(looked)
    return judged


def _looked(picture: Picture, panel: Panel) -> Looked:
    return panel.look(on_white(decoded(picture)))
