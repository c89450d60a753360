from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.common.dotenv_file import load_dotenv_file
from worker.errors import SettingsInvalid

if TYPE_CHECKING:
    from pathlib import Path


def test_the_file_adds_what_the_environment_does_not_have(tmp_path: Path) -> None:
    text = '# mine\nHF_TOKEN=hf_sesame\nexport WEBUI_ARGS="--no-half  --medvram"\nLOG_LEVEL=debug\nMAX_PIXELS=\n'
    (tmp_path / ".env").write_text(text, encoding="utf-8-sig")
    environment = {"LOG_LEVEL": "error"}
    assert load_dotenv_file(tmp_path, environment) == tmp_path / ".env"
    assert environment == {
        "LOG_LEVEL": "error",
        "HF_TOKEN": "hf_sesame",
        "WEBUI_ARGS": "--no-half  --medvram",
        "MAX_PIXELS": "",
    }


def test_a_folder_without_the_file_changes_nothing_and_a_virtual_environment_is_no_such_file(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    assert load_dotenv_file(tmp_path, environment) is None
    (tmp_path / ".env").mkdir()
    assert load_dotenv_file(tmp_path, environment) is None
    assert environment == {}


def test_lines_that_set_nothing_are_told_all_at_once_without_their_text(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HF_TOKEN hf_sesame\nLOG_LEVEL=info\nCIVITAI_TOKEN: sesame\n", encoding="utf-8")
    with pytest.raises(SettingsInvalid, match=r"lines 1, 3 can't be read") as caught:
        load_dotenv_file(tmp_path, {})
    assert "NAME=value" in str(caught.value.hint)
    assert "sesame" not in caught.value.message


def test_a_file_in_another_encoding_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("HF_TOKEN=ü".encode("latin-1"))
    with pytest.raises(SettingsInvalid, match=r"\.env can't be read"):
        load_dotenv_file(tmp_path, {})
