from __future__ import annotations

from pathlib import Path

import pytest

from worker.errors import SettingsInvalid
from worker.settings import read_settings


def test_a_bad_value_names_variable_value_and_what_is_allowed() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        read_settings({"WEBUI_PORT": "abc", "DELIVERY": "ftp"})
    assert "WEBUI_PORT='abc'" in caught.value.message
    assert "'auto', 'base64' or 's3'" in caught.value.message


def test_a_bad_secret_is_never_shown() -> None:
    settings = read_settings({"HF_TOKEN": "hf_sesame", "BUCKET_SECRET_ACCESS_KEY": "open"})
    assert "sesame" not in repr(settings)
    assert "open" not in str(settings.bucket_secret_access_key)


def test_an_empty_variable_counts_as_unset() -> None:
    assert read_settings({"WEBUI_PORT": " "}).webui_port == 3000


def test_a_store_is_asked_for_but_not_configured() -> None:
    with pytest.raises(SettingsInvalid, match="BUCKET_ENDPOINT_URL"):
        read_settings({"DELIVERY": "s3"})


def test_arguments_that_a_shell_could_not_split_are_refused() -> None:
    with pytest.raises(SettingsInvalid, match="WEBUI_ARGS"):
        read_settings({"WEBUI_ARGS": "'--api"})


def test_allowed_hosts_are_split_at_commas() -> None:
    assert read_settings({"ALLOW_HOSTS": "minio.internal, 10.1.0.0/16,"}).allowed_hosts == (
        "minio.internal",
        "10.1.0.0/16",
    )


def test_an_allowed_host_written_as_a_url_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="ALLOW_HOSTS"):
        read_settings({"ALLOW_HOSTS": "http://minio.internal"})


def test_the_sdks_log_level_may_be_written_as_everybody_writes_it() -> None:
    assert read_settings({"RUNPOD_LOG_LEVEL": "WARNING"}).runpod_log_level == "warn"
    with pytest.raises(SettingsInvalid, match="RUNPOD_LOG_LEVEL='loud'"):
        read_settings({"RUNPOD_LOG_LEVEL": "loud"})


def test_a_secret_has_to_fit_into_a_header_and_is_not_shown() -> None:
    token = read_settings({"HF_TOKEN": " hf_sesame\n"}).hf_token
    assert token is not None
    assert token.get_secret_value() == "hf_sesame"
    assert "sesame" not in f"{token} {token!r}"
    with pytest.raises(SettingsInvalid, match=r"HF_TOKEN: .*ASCII") as caught:
        read_settings({"HF_TOKEN": "“sesame”"})
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "field", "read"),
    [
        ("CONCURRENCY", " 3 ", "concurrency", 3),
        ("MODEL_LEASE_S", "2.5", "model_lease_s", 2.5),
        ("LOG_PROMPTS", "Off", "log_prompts", False),
        ("MODEL_REMOVE", "yes", "model_remove", True),
        ("DELIVERY", "BASE64", "delivery", "base64"),
        ("LORA_DIR", "/loras", "lora_dir", Path("/loras")),
        ("PORT", "81", "http_port", 81),
        ("WEBUI_URL", "http://a:1/", "webui_url", "http://a:1"),
    ],
)
def test_a_value_is_read_as_people_write_it(variable: str, value: str, field: str, read: object) -> None:
    assert getattr(read_settings({variable: value}), field) == read


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CONCURRENCY", "0", "a whole number, at least 1 and at most 16"),
        ("CONCURRENCY", "17", "at most 16"),
        ("CONCURRENCY", "1.5", "a whole number"),
        ("JOB_TIMEOUT_S", "0", "above 0"),
        ("JOB_TIMEOUT_S", "nan", "a number"),
        ("MODEL_FREE_BYTES", "-1", "at least 0"),
        ("LOG_PROMPTS", "maybe", "true or false"),
        ("METRICS_PUSH_URL", "gateway:9091", "http://"),
    ],
)
def test_a_value_beyond_what_is_allowed_is_refused_in_words(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsInvalid, match=f"{variable}='{value}': must .*{said}"):
        read_settings({variable: value})


def test_the_first_name_of_a_variable_that_is_set_counts() -> None:
    settings = read_settings({"CIVITAI_API_KEY": " ", "CIVITAI_TOKEN": "second"})
    assert settings.secrets() == ["second"]
    assert read_settings({"CIVITAI_API_KEY": "first", "CIVITAI_TOKEN": "second"}).secrets() == ["first"]
