from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.webui.names.catalog import Upscaler
from worker.webui.names.weights import look

if TYPE_CHECKING:
    from pathlib import Path

REMOTE = Upscaler("R-ESRGAN 4x+", "https://example.com/releases/RealESRGAN_x4plus.pth")


@pytest.mark.parametrize("arguments", ["", "--data-dir {}/data", "--models-dir={}/elsewhere"])
def test_weights_are_found_where_the_webui_looks(tmp_path: Path, arguments: str) -> None:
    where = {"": "models", "--data-dir {}/data": "data/models", "--models-dir={}/elsewhere": "elsewhere"}[arguments]
    folder = tmp_path / where / "RealESRGAN"
    folder.mkdir(parents=True)
    assert look(tmp_path, arguments.format(tmp_path), []).of_upscaler(REMOTE) == "RealESRGAN_x4plus.pth"
    (folder / "RealESRGAN_x4plus.pth").write_bytes(b"x")
    assert look(tmp_path, arguments.format(tmp_path), []).of_upscaler(REMOTE) is None


def test_upscalers_without_weights_of_their_own_are_always_there(tmp_path: Path) -> None:
    found = look(tmp_path, "", [])
    assert found.of_upscaler(Upscaler("Lanczos")) is None
    assert found.of_upscaler(Upscaler("LDSR")) == "model.ckpt"


def test_a_face_restorer_needs_a_file_in_its_folder(tmp_path: Path) -> None:
    assert look(tmp_path, "", []).of_face_restorer("CodeFormer") == "Codeformer"
    (tmp_path / "models" / "Codeformer").mkdir(parents=True)
    (tmp_path / "models" / "Codeformer" / "codeformer-v0.1.0.pth").write_bytes(b"x")
    assert look(tmp_path, "", []).of_face_restorer("CodeFormer") is None
