from __future__ import annotations

from pathlib import Path

import pytest

from worker.errors import SettingsInvalid
from worker.settings import MODEL_KINDS, misspelt, read_settings, secrets_in, variables, without_secrets


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


def test_every_bad_variable_is_named_at_once() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        read_settings({"WEBUI_PORT": "0", "PORT": "x", "LOG_LEVEL": "loud", "HF_TOKEN": "é"})
    assert [part.partition(":")[0] for part in caught.value.message.split("; ")] == [
        "WEBUI_PORT='0'",
        "HF_TOKEN",
        "PORT='x'",
        "LOG_LEVEL='loud'",
    ]


def test_settings_come_from_the_given_mapping_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBUI_PORT", "4000")
    assert read_settings({}).webui_port == 3000


@pytest.mark.parametrize("value", ["http://somebody:sesame@gateway:x", "somebody:sesame@gateway", "ftp://a:sesame@b"])
def test_the_password_in_a_bad_url_is_not_shown(value: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        read_settings({"METRICS_PUSH_URL": value, "LOG_LEVEL": "loud"})
    assert "sesame" not in caught.value.message


def test_credentials_in_urls_count_as_secrets() -> None:
    settings = read_settings({"METRICS_PUSH_URL": "http://me:pass%20word@gateway/?token=sesame&job=a"})
    assert {"pass word", "pass%20word", "sesame"} <= set(settings.secrets())
    assert "a" not in settings.secrets()
    assert "sesame" not in repr(settings)
    assert "pass%20word" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("WEBUI_DIRR", "WEBUI_DIR"),
        ("MAX_PIXEL", "MAX_PIXELS"),
        ("BUCKET_ACCESS_KEY", "BUCKET_ACCESS_KEY_ID"),
        ("BUCKET_SECRET_KEY", "BUCKET_SECRET_ACCESS_KEY"),
        ("MODEL_DIR", "MODELS_DIR"),
        ("JOB_TIMEOUT", "JOB_TIMEOUT_S"),
        ("webui_dir", "WEBUI_DIR"),
    ],
)
def test_a_misspelt_variable_is_told_with_the_one_that_was_meant(name: str, meant: str) -> None:
    (warning,) = misspelt({name: "1", "PATH": "/bin"})
    assert warning.startswith(f"{name} ")
    assert warning.endswith(f"did you mean {meant}?")


def test_variables_of_others_are_not_taken_for_misspelt_ones() -> None:
    others = [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "HF_HOME",
        "HF_HUB_OFFLINE",
        "HF_TOKEN_PATH",
        "HF_ENDPOINT",
        "HOSTNAME",
        "HOME",
        "PATH",
        "PWD",
        "TMPDIR",
        "TERM",
        "LANG",
        "LC_ALL",
        "SHELL",
        "USER",
        "NVIDIA_DRIVER_CAPABILITIES",
        "CUDA_VERSION",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "PUBLIC_KEY",
        "RUNPOD_LOG_LEVELS",
        "AWS_SECRET_ACCESS_KEY",
        "REQUESTS_CA_BUNDLE",
        "PYTORCH_CUDA_ALLOC_CONF",
        "OUTPUT_DIR",
        "UV_CACHE_DIR",
        "OMP_NUM_THREADS",
        "VIRTUAL_ENV",
        "GITHUB_TOKEN",
    ]
    assert misspelt(dict.fromkeys(others, "1")) == []
    assert misspelt({name: "1" for variable in variables() for name in variable.names}) == []


SECRET = [name for variable in variables() if variable.secret for name in variable.names]


@pytest.mark.parametrize("name", SECRET)
def test_other_programs_never_see_a_secret_wherever_it_stands(name: str) -> None:
    environment = {name: "sesame-0123", "COPY": "sesame-0123", "WITHIN": "x=sesame-0123;", "PATH": "/bin"}
    assert without_secrets(read_settings(environment), environment) == {"PATH": "/bin"}


def test_other_programs_see_nothing_of_runpod_s_and_no_url_with_a_password() -> None:
    environment = {
        "RUNPOD_AI_API_KEY": "sesame-0123",
        "RUNPOD_POD_ID": "pod",
        "AWS_SECRET_ACCESS_KEY": "sesame-4567",
        "AWS_REGION": "eu-west-1",
        "METRICS_PUSH_URL": "http://me:sesame-89@gateway",
        "MINE": "Bearer sesame-0123",
        "THEIRS": "sesame-4567",
        "REGION": "eu-west-1",
        "HOME": "/root",
    }
    assert without_secrets(read_settings(environment), environment) == {"REGION": "eu-west-1", "HOME": "/root"}


def test_passwords_of_proxies_and_tokens_of_others_are_known_to_be_secret() -> None:
    found = secrets_in({"HTTPS_PROXY": "http://me:sesame@proxy:3128", "GITHUB_TOKEN": "token", "PATH": "/bin"})
    assert found == ["sesame", "token"]


def test_models_are_looked_for_where_a_checkout_of_a1111_has_them(tmp_path: Path) -> None:
    settings = read_settings({"WEBUI_DIR": str(tmp_path)})
    assert settings.models_root == tmp_path / "models"
    assert {kind: str(settings.folder(kind).relative_to(tmp_path)) for kind in MODEL_KINDS} == {
        "checkpoint": "models/Stable-diffusion",
        "lora": "models/Lora",
        "embedding": "embeddings",
        "vae": "models/VAE",
        "controlnet": "models/ControlNet",
        "upscaler": "models/ESRGAN",
        "detector": "models/adetailer",
        "annotator": "models/annotators",
    }


def test_models_of_a_checkout_may_also_be_in_folders_of_our_names(tmp_path: Path) -> None:
    (tmp_path / "models/Stable-diffusion").mkdir(parents=True)
    (tmp_path / "models/checkpoints").mkdir()
    (tmp_path / "models/checkpoints/one.safetensors").write_bytes(b"x")
    assert read_settings({"WEBUI_DIR": str(tmp_path)}).folder("checkpoint") == tmp_path / "models/checkpoints"


def test_the_images_own_webui_has_no_models_and_models_dir_counts_more(tmp_path: Path) -> None:
    assert read_settings({"WEBUI_DIR": "/opt/webui"}).models_root == Path("models")
    elsewhere = read_settings({"WEBUI_DIR": str(tmp_path), "MODELS_DIR": "/models"})
    assert elsewhere.folder("lora") == Path("/models/loras")


def test_the_shells_folders_are_no_secrets() -> None:
    assert secrets_in({"PWD": "/home/me", "OLDPWD": "/", "DB_PWD": "sesame"}) == ["sesame"]
