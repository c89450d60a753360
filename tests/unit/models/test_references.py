from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contract.types.model_ref import ModelRef
from worker.models.format.filenames import BadReference, relative_path
from worker.models.sources.civitai import Civitai
from worker.models.sources.huggingface import HuggingFace
from worker.models.sources.references import locate, own_token, parse_locator, plain_name, token_for
from worker.models.sources.s3_file import S3Object
from worker.models.sources.web import Web

if TYPE_CHECKING:
    from worker.models.sources.model_source import Locator


@pytest.mark.parametrize(
    ("text", "locator"),
    [
        ("civitai:1590699", Civitai(1590699)),
        ("civitai:1590699?type=Model&fp=fp16&token=x", Civitai(1590699, choices=(("fp", "fp16"), ("type", "Model")))),
        ("civitai:77?FileId=5", Civitai(77, choices=(("fileId", "5"),))),
        ("civitai:77?TYPE=model&Format=safetensor", Civitai(77, choices=(("format", "SafeTensor"), ("type", "Model")))),
        ("civitai:77?type=Model&amp;fileId=5", Civitai(77, choices=(("fileId", "5"), ("type", "Model")))),
        ("civitai:model/9?modelVersionId=5", Civitai(5, 9)),
        ("civitai:models/9?modelversionid=5&fileId=7", Civitai(5, 9, (("fileId", "7"),))),
        ("https://civitai.com/models/9/name?modelVersionId=5&amp;fileId=7", Civitai(5, 9, (("fileId", "7"),))),
        ("https://civitai.com/api/download/models/6?fileId=7&token=x", Civitai(6, choices=(("fileId", "7"),))),
        ("https://civitai.com/models/9?dialog=resourceReview&utm_source=x", Civitai(None, 9)),
        ("urn:air:sdxl:lora:civitai:9@5.safetensor", Civitai(5, 9, (("format", "SafeTensor"),))),
        ("urn:air:sdxl:lora:civitai:9@5?fileId=7", Civitai(5, 9, (("fileId", "7"),))),
        ("civitai:122359@135867", Civitai(135867, 122359)),
        ("civitai:model/122359", Civitai(None, 122359)),
        ("https://civitai.com/models/122359/detail-tweaker-xl?modelVersionId=135867", Civitai(135867, 122359)),
        ("https://civitai.com/models/122359", Civitai(None, 122359)),
        ("https://civitai.com/api/download/models/135867", Civitai(135867)),
        ("urn:air:sdxl:lora:civitai:122359@135867", Civitai(135867, 122359)),
        ("urn:air:sdxl:checkpoint:civitai:122359", Civitai(None, 122359)),
        ("hf:XpucT/Deliberate/Deliberate_v6.safetensors", HuggingFace("XpucT/Deliberate", "Deliberate_v6.safetensors")),
        ("hf:a/b", HuggingFace("a/b", "")),
        ("https://huggingface.co/a/b/tree/v2", HuggingFace("a/b", "", "v2")),
        ("https://huggingface.co/datasets/b", Web("https://huggingface.co/datasets/b")),
        ("hf:a/b@v2/sub/c.safetensors", HuggingFace("a/b", "sub/c.safetensors", "v2")),
        ("https://huggingface.co/a/b/resolve/main/c.safetensors?download=true", HuggingFace("a/b", "c.safetensors")),
        ("https://huggingface.co/a/b/blob/abc123/c.safetensors", HuggingFace("a/b", "c.safetensors", "abc123")),
        ("s3://bucket/models/x.safetensors", S3Object("bucket", "models/x.safetensors")),
        ("https://example.com/x.safetensors#part", Web("https://example.com/x.safetensors")),
        ("Deliberate v6", None),
        ("sub/file.safetensors", None),
    ],
)
def test_every_form_is_read(text: str, locator: Locator | None) -> None:
    assert parse_locator(text) == locator


@pytest.mark.parametrize(
    "text",
    ["civitai:abc", "hf:only", "hf:a/b/../../c", "s3://x", "s3://bucket/", "https://", "ftp://a/b", "file:///etc/passwd",
     "https://user:pw@host/x", "civitai:77?fileId=x", "civitai:77?file=5", "civitai:77?type=Model&type=VAE",
     "civitai:model/9?modelVersionId=v5", "civitai:model/9?modelVersionId=5&modelVersionId=6",
     "urn:air:sdxl:lora:civitai:9@5:layer.safetensor",
     "urn:air:sdxl:lora:civitai:9@5.exe", "civitai:9@5?modelVersionId=6",
     "urn:air:sdxl:lora:huggingface:a/b", "hf:a/b@../x/c", "https://[::1/x"],
)  # fmt: skip
def test_a_broken_locator_says_what_is_wrong(text: str) -> None:
    with pytest.raises(BadReference) as caught:
        parse_locator(text)
    assert str(caught.value)


def test_the_key_of_a_url_holds_no_secret_and_survives_a_new_signature() -> None:
    first = Web("https://h.example/x?X-Amz-Signature=sesame&X-Amz-Expires=5&v=1").key
    assert "sesame" not in first
    assert first == Web("https://h.example/x?v=1&X-Amz-Signature=other").key
    assert first != Web("https://h.example/x?v=2").key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sv=1&st=2024-01-01&se=2025&sr=b&sp=r&sig=abc&skt=1", "sv=1&st=2024-02-01&se=2026&sr=b&sp=r&sig=xyz&skt=2"),
        ("Authorization=3_abc", "Authorization=3_xyz"),
        ("x-oss-date=1&x-oss-signature=a", "x-oss-date=2&x-oss-signature=b"),
    ],
)
def test_a_newly_signed_address_is_the_same_source(one: str, other: str) -> None:
    assert Web(f"https://h.example/x?{one}").key == Web(f"https://h.example/x?{other}").key


def test_a_short_parameter_without_a_signature_means_something() -> None:
    assert Web("https://h.example/x?st=1").key != Web("https://h.example/x?st=2").key


def test_a_revision_with_a_slash_is_read_from_a_page() -> None:
    page = "https://huggingface.co/o/r/resolve/refs%2Fpr%2F1/a%20b/x.safetensors"
    assert parse_locator(page) == HuggingFace("o/r", "a b/x.safetensors", "refs/pr/1")


def test_a_token_in_an_address_of_civitai_is_its_token_and_no_other_sites() -> None:
    ref = ModelRef(url="https://civitai.com/api/download/models/77?type=Model&token=mine")
    here, elsewhere = Civitai(77, choices=(("type", "Model"),)), Web("https://h.example/x")
    assert token_for(ref, here, here) == "mine"
    assert token_for(ref, elsewhere, here) is None
    assert "mine" not in here.key
    assert own_token(ModelRef(url="https://h.example/x?token=mine")) is None


def test_revision_and_version_are_part_of_the_reference() -> None:
    assert locate(ModelRef(name="hf:a/b/c.safetensors", revision="v2")) == HuggingFace("a/b", "c.safetensors", "v2")
    assert locate(ModelRef(url="https://civitai.com/models/1", revision="77")) == Civitai(77, 1)


@pytest.mark.parametrize(
    ("url", "version", "words"),
    [
        ("https://civitai.com/models/9?modelVersionId=6", "5", ("6", "5")),
        ("https://civitai.com/api/download/models/6", "5", ("6", "5")),
        ("https://civitai.com/models/9", "v5", ("number", "v5")),
        ("https://huggingface.co/a/b/resolve/v1/c.safetensors", "v2", ("v1", "v2")),
        ("hf:a/b@v1/c.safetensors", "v2", ("v1", "v2")),
    ],
)
def test_a_version_that_contradicts_the_address_is_refused_with_both(url: str, version: str, words: list[str]) -> None:
    with pytest.raises(BadReference) as caught:
        locate(ModelRef(url=url, revision=version))
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    "ref", [{"url": "https://a.example/x.safetensors"}, {"url": "s3://bucket/x.safetensors"}, {"name": "Nice Model"}]
)
def test_a_version_where_nothing_can_be_chosen_by_one_is_refused(ref: dict[str, str]) -> None:
    with pytest.raises(BadReference, match=r"has the version 'v2'.* is of one file"):
        locate(ModelRef.model_validate({**ref, "version": "v2"}))


def test_a_version_that_the_address_names_too_is_no_contradiction() -> None:
    assert locate(ModelRef(url="https://civitai.com/models/9?modelVersionId=6", revision="6")) == Civitai(6, 9)
    assert locate(ModelRef(url="https://huggingface.co/a/b/resolve/main/c.safetensors", revision="v2")) == HuggingFace(
        "a/b", "c.safetensors", "v2"
    )


def test_every_file_of_a_version_has_its_own_key_and_suffix() -> None:
    one, other = parse_locator("civitai:77?fileId=5"), parse_locator("civitai:77?fileId=6")
    assert one is not None
    assert other is not None
    assert one.key == "civitai:77?fileId=5"
    assert len({one.key, other.key, "civitai:77"}) == len({one.suffix, other.suffix, "77"}) == 3


def test_a_name_beside_a_url_is_the_clients_name_for_it() -> None:
    assert plain_name(ModelRef(name="mine", url="https://h.example/x")) == "mine"
    assert plain_name(ModelRef(name="https://h.example/x")) is None


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b", "C:\\x", "~/x", "..\\x", ""])
def test_a_name_never_leaves_the_folder(name: str) -> None:
    with pytest.raises(BadReference):
        relative_path(name)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    for prefix in ("", "civitai:", "hf:", "s3://", "https://", "urn:air:", "https://civitai.com/models/"):
        try:
            found = parse_locator(prefix + text)
        except BadReference:
            continue
        if found is not None:
            assert found.key
