"""Several judges and several pictures: rejections, near-duplicates, failures, averages."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from PIL import Image

from worker.errors import SettingsInvalid
from worker.judges.judge import JudgeVerdict
from worker.judges.judge_catalog import JudgeCatalog, JudgeUnavailable
from worker.judges.panel import JudgedPictures, LeastScore, Looked, Panel
from worker.settings import read_settings

GREY = Image.new("RGB", (64, 64), "grey")


@dataclass
class Fixed:
    """Says the same about every picture."""

    verdict: JudgeVerdict | None
    name: str = "fixed"
    model: str = "test/1"

    def look(self, image: Image.Image) -> JudgeVerdict:
        assert image is GREY
        if self.verdict is None:
            raise RuntimeError("secret words")
        return self.verdict


def panel(*judges: LeastScore) -> Panel:
    return Panel(judges, distinct=False, hashed=lambda _: None)


def test_a_judge_that_fails_rejects_the_picture_and_tells_nothing_of_its_error() -> None:
    judgement = JudgedPictures(distinct=False)
    judgement.add(panel(LeastScore(Fixed(None))).look(GREY))
    told = judgement.judgements[0].to_json()
    assert told == {"accepted": False, "fixed": {}, "why": "judge failed"}


@pytest.mark.parametrize(
    ("own", "score", "least", "accepted"),
    [
        (True, 0.3, None, True),
        (False, 0.9, None, False),
        (None, 0.1, None, True),
        (None, 0.1, 0.2, False),
        (None, 0.2, 0.2, True),
        (False, 0.9, 0.5, True),
        (True, None, 0.5, False),
    ],
)
def test_the_least_score_of_the_job_counts_before_the_judges_own_opinion(
    *, own: bool | None, score: float | None, least: float | None, accepted: bool
) -> None:
    judged = JudgedPictures(distinct=False)
    assert (
        judged.add(panel(LeastScore(Fixed(JudgeVerdict(accepted=own, score=score)), least)).look(GREY)).accepted
        is accepted
    )


def test_the_first_rejection_is_the_reason_and_all_judges_are_told() -> None:
    good, bad = (
        Fixed(JudgeVerdict(accepted=True, score=1), "good"),
        Fixed(JudgeVerdict(accepted=False, score=0, why="dull"), "bad"),
    )
    worse = Fixed(JudgeVerdict(accepted=False, score=0, why="duller"), "worse")
    judged = JudgedPictures(distinct=False).add(panel(*(LeastScore(one) for one in (good, bad, worse))).look(GREY))
    assert judged.why == "dull"
    assert list(judged.to_json()) == ["accepted", "good", "bad", "worse", "why"]


@pytest.mark.parametrize("distinct", [True, False])
def test_near_duplicates_of_accepted_pictures_are_told_and_rejected_only_where_wanted(*, distinct: bool) -> None:
    judged = JudgedPictures(distinct)
    good, bad = {"a": JudgeVerdict(accepted=True, score=0.5)}, {"a": JudgeVerdict(accepted=False, score=0.1)}
    first = judged.add(Looked(bad, 0b1111))
    second = judged.add(Looked(good, 0b1111))
    near = judged.add(Looked(good, 0b0111))
    far = judged.add(Looked(good, (1 << 30) - 1))
    unhashed = judged.add(Looked(good, None))
    assert [one.duplicate_of for one in (first, second, near, far, unhashed)] == [None, None, 1, None, None]
    assert near.accepted is not distinct
    assert near.why == ("near-duplicate" if distinct else None)
    assert far.accepted


def test_the_average_is_that_of_the_accepted_pictures() -> None:
    judged = JudgedPictures(distinct=False)
    for accepted, score in ((True, 0.5), (False, 0.1), (True, 0.7), (True, None)):
        judged.add(Looked({"face": JudgeVerdict(accepted, score)}))
    judged.refuse("refused by the image check")
    assert judged.average() == {"face": 0.6}
    assert (judged.accepted, len(judged.judgements)) == (3, 5)
    json.dumps([one.to_json() for one in judged.judgements], allow_nan=False)


@pytest.mark.parametrize(
    ("judges", "said"),
    [
        ("nowhere.at_all:judge", "can't be loaded"),
        ("tests.support.judge_models:misnamed", "'quality' is taken"),
        ("tests.support.image_checks:LABELS", "can't be loaded"),
        ("tests.support.judge_models:plugin,tests.support.judge_models:plugin", "is taken"),
    ],
)
def test_a_judge_that_can_not_be_loaded_keeps_the_worker_from_starting(judges: str, said: str) -> None:
    with pytest.raises(SettingsInvalid, match=said):
        JudgeCatalog(read_settings({"JUDGES": judges}))


def test_what_is_not_set_up_is_said_with_the_settings_that_would() -> None:
    catalog = JudgeCatalog(read_settings({}))
    with pytest.raises(JudgeUnavailable, match="FACE_DETECTOR and FACE_EMBEDDER"):
        catalog.analyser()
    with pytest.raises(JudgeUnavailable, match="no judge 'aesthetic' here"):
        catalog.judge("aesthetic")
    with pytest.raises(JudgeUnavailable, match="is no name"):
        catalog.references_file("../luca")
