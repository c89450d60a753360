"""Maps of ControlNet: the answer that is one, and the form in which A1111's clients ask for them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.served import base64_png
from worker.contract.accept import accept
from worker.contract.types.kinds import ControlMaps
from worker.errors import InvalidInput, WrongResult
from worker.jobs.inputs import JobInputs
from worker.jobs.kinds.control_maps import read_maps, request_body

PICTURE = base64_png()


def detect(**fields: Any) -> ControlMaps:
    raw = {"api": {"method": "POST", "endpoint": "/controlnet/detect"}, "payload": fields}
    job = accept(raw).job
    assert isinstance(job, ControlMaps)
    return job


def test_the_extensions_own_body_is_such_a_job() -> None:
    job = detect(
        controlnet_module="canny",
        controlnet_input_images=[PICTURE],
        controlnet_processor_res=-1,
        controlnet_threshold_a=-1,
        controlnet_threshold_b=200,
        controlnet_masks=[],
        low_vram=False,
    )
    assert (job.module, job.images, job.masks) == ("canny", [PICTURE], None)
    body = request_body(job, JobInputs((PICTURE,)))
    assert (body["controlnet_processor_res"], body["controlnet_threshold_a"], body["controlnet_threshold_b"]) == (
        -1,
        -1,
        200,
    )


def test_without_a_picture_it_is_refused() -> None:
    with pytest.raises(InvalidInput, match="images"):
        detect(controlnet_module="canny")


@pytest.mark.parametrize(
    "content",
    [None, [], {}, {"images": []}, {"images": [PICTURE]}, {"images": [PICTURE, "?"]}, {"images": "two"}],
)
def test_an_answer_that_is_not_a_whole_map_of_each_picture_is_wrong(content: Any) -> None:
    with pytest.raises(WrongResult):
        read_maps(content, count=2)


def test_maps_come_with_what_is_told_beside_them() -> None:
    read = read_maps({"images": [PICTURE], "info": "Success", "poses": [{}], "more": 1}, count=1)
    assert read == {"images": [PICTURE], "info": "Success", "poses": [{}]}
    assert read_maps({"tensor": [1.0], "info": "Success"}, count=1)["images"] == []
