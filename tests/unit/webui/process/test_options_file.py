from __future__ import annotations

import json
from pathlib import Path

from worker.contract.types.overrides import ALLOWED, MOVED
from worker.webui.process import options_file


def test_every_option_that_a_job_may_override_is_written_so_that_it_is_restored() -> None:
    moved_elsewhere = {"sd_model_checkpoint", "samples_format", "jpeg_quality", "webp_lossless"}
    written = options_file.options(disable_mmap=False, checkpoints_in_memory=1, loras_in_memory=0, own={})
    assert (set(ALLOWED) | set(MOVED)) - moved_elsewhere <= set(written)


def test_the_operators_options_are_kept_but_correctness_wins() -> None:
    written = options_file.options(
        disable_mmap=True, checkpoints_in_memory=0, loras_in_memory=4, own={"samples_save": True, "ESRGAN_tile": 256}
    )
    assert written["samples_save"] is False
    assert written["ESRGAN_tile"] == 256
    assert written["disable_mmap_load_safetensors"] is True
    assert written["sd_checkpoints_limit"] == 1
    assert written["lora_in_memory_limit"] == 4


def test_our_folder_of_detectors_is_read_beside_the_operators() -> None:
    def folders(own: dict[str, str], detectors: Path | None) -> object:
        written = options_file.options(
            disable_mmap=False, checkpoints_in_memory=1, loras_in_memory=0, own=own, detectors=detectors
        )
        return written.get("ad_extra_models_dir")

    assert folders({}, None) is None
    assert folders({}, Path("/m/detectors")) == "/m/detectors"
    assert folders({"ad_extra_models_dir": "/own|/m/detectors"}, Path("/m/detectors")) == "/own|/m/detectors"
    assert folders({"ad_extra_models_dir": "/own"}, None) == "/own"


def test_nothing_is_saved_previewed_or_fetched_by_the_webui() -> None:
    for option in ("samples_save", "grid_save", "live_previews_enable", "api_enable_requests", "return_grid"):
        assert options_file.FORCED[option] is False


def test_the_options_file_is_written_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "config.json"
    options_file.write(target, {"a": 1})
    assert json.loads(target.read_text(encoding="utf-8")) == {"a": 1}
    assert [file.name for file in target.parent.iterdir()] == ["config.json"]
