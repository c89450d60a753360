"""A worker that is killed in the last stage of a workflow: the next one makes that stage alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests

from tests.support.rig import Rig, pixels
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.jobsource import JobSource

STAGES = [
    {"name": "base", "type": "txt2img", "width": 64, "height": 64},
    {"name": "mid", "type": "img2img", "scale": 2, "denoising_strength": 0.3, "seed_offset": 100},
    {"name": "final", "type": "img2img", "denoising_strength": 1, "steps": 8, "seed_offset": 200},
]
JOB = {"type": "workflow", "prompt": "a cat", "steps": 2, "seed": 42, "stages": STAGES}


def sent(rig: Rig) -> list[int]:
    """The seeds of the pictures that this run of the WebUI was asked for since it began, but for its first."""
    entries = requests.get(f"{rig.url}/standin/requests", timeout=10).json()
    return [entry["json"]["seed"] for entry in entries if entry["path"].endswith("2img")][1:]


def test_killed_in_stage_three_the_repeat_makes_only_stage_three(tmp_path: Path, source: JobSource) -> None:
    settings = {"RESULTS_DIR": str(tmp_path / "kept"), "RERUNS": "0"}
    with Rig(tmp_path, source, **settings) as rig:
        rig.run()
        rig.fault("hang", step=5)
        job = source.offer({"id": "killed", "input": JOB})
        wait_until(lambda: 242 in sent(rig))
        rig.worker.kill()
        rig.worker.wait()
    with Rig(tmp_path, source, **settings) as rig:
        source.offer({"id": "killed", "input": JOB})
        repeated = rig.answer(job)
        assert sent(rig) == [242]
        whole = rig.answer(source.offer({"id": "whole", "input": JOB}))
    assert pixels(repeated["images"][0]) == pixels(whole["images"][0])
    assert [stage["seeds"] for stage in repeated["stages"]] == [[42], [142], [242]]
