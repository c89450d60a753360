from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support import safetensors as make
from tests.support.loopback_http import Reply, serve
from tests.support.model_store import ranged
from worker.cli.main import main
from worker.cli.models import size

if TYPE_CHECKING:
    from pathlib import Path

BODY = make.safetensors(make.SDXL_LORA)
CHECKPOINT = make.safetensors(make.SD15_CHECKPOINT)


def _models(*argv: str, **environment: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return main(["models", *argv])


def test_pull_ends_with_0_when_all_are_there_and_1_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(lambda r: ranged(r, BODY) if r.path == "/x.safetensors" else Reply(404)) as server:
        arguments = ["--kind", "lora", "--dir", str(tmp_path), "--allow-host", "127.0.0.1"]
        assert _models("pull", f"{server.url}/x.safetensors", *arguments) == 0
        assert "fetched" in capsys.readouterr().out
        assert _models("pull", f"{server.url}/x.safetensors", *arguments) == 0
        assert "there already" in capsys.readouterr().out
        assert _models("pull", f"{server.url}/x.safetensors", f"{server.url}/y.safetensors", *arguments) == 1
        seen = capsys.readouterr()
        assert "there already" in seen.out
        assert "HTTP 404" in seen.err
        assert _models("pull", f"{server.url}/z", "--sha256", "ab" * 32, *arguments) == 1
    assert len(list((tmp_path / "loras").glob("*.safetensors"))) == 1


def test_pull_needs_no_kind_where_the_reference_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make.write(tmp_path / "loras/Detail_Tweaker_XL.safetensors", make.SDXL_LORA)
    assert _models("pull", "detail tweaker xl", "--dir", str(tmp_path)) == 0
    assert _models("pull", "https://example.com/x", "--dir", str(tmp_path)) == 1
    assert "say one of checkpoint, lora" in capsys.readouterr().err
    assert _models("pull", "Detial Tweaker", "--dir", str(tmp_path)) == 1
    assert "did you mean 'Detail Tweaker'" in capsys.readouterr().err


def test_a_private_address_is_refused_without_allow_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(lambda r: ranged(r, BODY)) as server:
        assert _models("pull", f"{server.url}/x", "--kind", "lora", "--dir", str(tmp_path)) == 1
        assert server.seen == []
    assert "download_refused" in capsys.readouterr().err


def test_a_hash_for_several_models_is_wrong_usage(tmp_path: Path) -> None:
    assert _models("pull", "a", "b", "--sha256", "ab" * 32, "--dir", str(tmp_path)) == 2


def test_the_folders_of_the_settings_are_used_unless_a_root_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make.write(tmp_path / "elsewhere/x.safetensors", make.SDXL_LORA)
    environment = {"MODELS_DIR": str(tmp_path / "m"), "LORA_DIR": str(tmp_path / "elsewhere")}
    assert _models("list", "--json", **environment) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == ["x"]
    assert _models("list", "--json", "--dir", str(tmp_path / "m"), **environment) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_info_knows_what_pull_would_fetch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--dir", str(tmp_path)]
    assert _models("info", "pony realism slider", *where) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["name"], told["on_volume"]) == ("lora", "Pony Realism Slider", False)
    assert told["sources"]
    assert _models("info", "https://example.com/x.safetensors", "--kind", "lora", *where) == 0
    assert json.loads(capsys.readouterr().out)["sources"] == ["https://example.com/x.safetensors"]
    assert _models("info", "https://example.com/x.safetensors", *where) == 1
    assert "say one of checkpoint, lora" in capsys.readouterr().err
    assert _models("info", "Pony Realsm Slider", *where) == 1
    assert "did you mean 'Pony Realism Slider'" in capsys.readouterr().err


def test_list_info_pin_verify_and_remove(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--dir", str(tmp_path)]
    make.write(tmp_path / "loras/Pony_Realism_Slider.safetensors", make.SDXL_LORA)
    make.write(tmp_path / "checkpoints/mine.safetensors", make.SD15_CHECKPOINT)
    assert _models("list", *where) == 0
    out = capsys.readouterr().out
    assert "Pony_Realism_Slider" in out
    assert "2 models" in out
    assert _models("pin", "mine", *where) == 0
    assert _models("verify", "--measure", *where) == 0
    capsys.readouterr()
    assert _models("info", "pony realism slider", "mine", *where) == 0
    text = capsys.readouterr().out
    decoder, facts = json.JSONDecoder(), []
    while text.strip():
        data, end = decoder.raw_decode(text.lstrip())
        text = text.lstrip()[end:]
        facts.append(data)
    by_name = {each["name"]: each for each in facts}
    assert by_name["mine"]["pinned"] is True
    assert len(by_name["mine"]["sha256"]) == 64
    assert by_name["Pony_Realism_Slider"]["default_scale"] == 3.0
    assert by_name["Pony_Realism_Slider"]["base_model"] == "SDXL (Pony)"
    assert _models("remove", "mine", *where) == 0
    assert not (tmp_path / "checkpoints/mine.safetensors").exists()
    assert _models("remove", "mine", *where) == 1
    assert "model_not_found" in capsys.readouterr().err


def test_names_are_printed_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """rich reads brackets as marks and words between colons as emoji."""
    name = "style_[v2] a:art:b"
    make.write(tmp_path / f"loras/{name}.safetensors", make.SDXL_LORA)
    for command in (["list"], ["list", "--json"], ["info", name]):
        assert _models(*command, "--dir", str(tmp_path)) == 0
        assert name in capsys.readouterr().out
    assert _models("info", "none [/b]", "--dir", str(tmp_path)) == 1
    assert "none [/b]" in capsys.readouterr().err


def test_verify_finds_a_damaged_file_and_sets_it_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make.write(tmp_path / "loras/x.safetensors", make.SDXL_LORA)
    where = ["--dir", str(tmp_path)]
    assert _models("verify", "--measure", *where) == 0
    body = bytearray(path.read_bytes())
    body[-1] ^= 1
    path.write_bytes(body)
    assert _models("verify", *where) == 1
    assert "SHA-256" in capsys.readouterr().out
    path.write_bytes(body[:-100])
    assert _models("verify", "--quarantine", *where) == 1
    assert not path.exists()
    assert _models("gc", *where) == 0
    assert list((tmp_path / "loras/.quarantine").iterdir()) == []


def test_verify_names_a_file_in_the_wrong_folder_and_leaves_it_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make.write(tmp_path / "loras/x.safetensors", make.SDXL_CHECKPOINT)
    assert _models("verify", "--quarantine", "--dir", str(tmp_path)) == 1
    assert "lora/x.safetensors: it is a checkpoint, not a lora" in capsys.readouterr().out
    assert path.exists()


def test_gc_removes_what_dead_workers_left_and_rebuild_writes_the_registry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make.write(tmp_path / "loras/x.safetensors", make.SDXL_LORA)
    incoming = tmp_path / "loras/.incoming"
    incoming.mkdir()
    (incoming / "abc-1.part").write_bytes(b"x")
    (incoming / "abc-1.part.ranges").write_text("{}")
    by_the_hubs_library = incoming / "hub-1a2b3c4d/.cache/huggingface/download/y.incomplete"
    by_the_hubs_library.parent.mkdir(parents=True)
    by_the_hubs_library.write_bytes(b"y")
    assert _models("gc", "--dir", str(tmp_path)) == 0
    assert [path for path in incoming.rglob("*") if path.is_file()] == []
    (tmp_path / "cache_registry.json").unlink()
    assert _models("rebuild", "--dir", str(tmp_path)) == 0
    assert "1 models" in capsys.readouterr().out
    assert "lora/x.safetensors" in (tmp_path / "cache_registry.json").read_text()


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (6_500_000_000, "6.5 GB")])
def test_sizes_are_written_for_people(count: int, text: str) -> None:
    assert size(count) == text
