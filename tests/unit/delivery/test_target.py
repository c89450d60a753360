from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import InvalidInput, SettingsInvalid
from worker.settings import read_settings
from worker.storage.keys import BadTemplate, KeyFields, KeyTemplate, public_url, safe
from worker.storage.location import BadEndpoint, parse_endpoint
from worker.storage.object_store import StoreTarget
from worker.storage.target import from_job, from_settings, key_template

ACCOUNT = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("endpoint", "bucket", "expected"),
    [
        (
            "https://pics.s3.eu-west-1.amazonaws.com",
            None,
            ("https://s3.eu-west-1.amazonaws.com", "pics", "eu-west-1", "virtual"),
        ),
        ("https://pics.s3.amazonaws.com/", None, ("https://s3.amazonaws.com", "pics", "us-east-1", "virtual")),
        (
            "https://s3.us-west-2.amazonaws.com",
            "pics",
            ("https://s3.us-west-2.amazonaws.com", "pics", "us-west-2", "virtual"),
        ),
        (
            "https://s3-us-west-2.amazonaws.com/pics",
            None,
            ("https://s3-us-west-2.amazonaws.com", "pics", "us-west-2", "virtual"),
        ),
        (
            "https://s3.us-gov-west-1.amazonaws.com",
            "pics",
            ("https://s3.us-gov-west-1.amazonaws.com", "pics", "us-gov-west-1", "virtual"),
        ),
        (
            "https://s3.cn-north-1.amazonaws.com.cn",
            "pics",
            ("https://s3.cn-north-1.amazonaws.com.cn", "pics", "cn-north-1", "virtual"),
        ),
        (
            "https://my.pics.s3.eu-west-1.amazonaws.com",
            None,
            ("https://s3.eu-west-1.amazonaws.com", "my.pics", "eu-west-1", "path"),
        ),
        (
            f"https://{ACCOUNT}.r2.cloudflarestorage.com",
            "pics",
            (f"https://{ACCOUNT}.r2.cloudflarestorage.com", "pics", "auto", "path"),
        ),
        (
            f"https://{ACCOUNT}.r2.cloudflarestorage.com/pics",
            None,
            (f"https://{ACCOUNT}.r2.cloudflarestorage.com", "pics", "auto", "path"),
        ),
        (
            f"https://{ACCOUNT}.eu.r2.cloudflarestorage.com/pics",
            None,
            (f"https://{ACCOUNT}.eu.r2.cloudflarestorage.com", "pics", "auto", "path"),
        ),
        (
            f"https://pics.{ACCOUNT}.r2.cloudflarestorage.com",
            None,
            (f"https://{ACCOUNT}.r2.cloudflarestorage.com", "pics", "auto", "path"),
        ),
        ("https://storage.googleapis.com", "pics", ("https://storage.googleapis.com", "pics", "auto", "path")),
        ("https://pics.storage.googleapis.com", None, ("https://storage.googleapis.com", "pics", "auto", "path")),
        (
            "https://nyc3.digitaloceanspaces.com",
            "pics",
            ("https://nyc3.digitaloceanspaces.com", "pics", "nyc3", "virtual"),
        ),
        (
            "https://pics.nyc3.digitaloceanspaces.com",
            None,
            ("https://nyc3.digitaloceanspaces.com", "pics", "nyc3", "virtual"),
        ),
        (
            "https://s3.us-west-004.backblazeb2.com",
            "pics",
            ("https://s3.us-west-004.backblazeb2.com", "pics", "us-west-004", "virtual"),
        ),
        (
            "https://pics.s3.us-west-004.backblazeb2.com",
            None,
            ("https://s3.us-west-004.backblazeb2.com", "pics", "us-west-004", "virtual"),
        ),
        ("https://s3.fr-par.scw.cloud/pics", None, ("https://s3.fr-par.scw.cloud", "pics", "fr-par", "virtual")),
        ("https://s3.gra.io.cloud.ovh.net", "pics", ("https://s3.gra.io.cloud.ovh.net", "pics", "gra", "virtual")),
        (
            "https://fsn1.your-objectstorage.com/pics",
            None,
            ("https://fsn1.your-objectstorage.com", "pics", "fsn1", "virtual"),
        ),
        ("https://s3api-eu-ro-1.runpod.io", "a1b2c3", ("https://s3api-eu-ro-1.runpod.io", "a1b2c3", "EU-RO-1", "path")),
        (
            "https://ref.supabase.co/storage/v1/s3",
            "pics",
            ("https://ref.supabase.co/storage/v1/s3", "pics", "us-east-1", "path"),
        ),
        (
            "https://ref.supabase.co/storage/v1/s3/pics",
            None,
            ("https://ref.supabase.co/storage/v1/s3", "pics", "us-east-1", "path"),
        ),
        ("https://s3.eu.example.com/pics", None, ("https://s3.eu.example.com", "pics", "us-east-1", "path")),
        ("https://s3.eu.example.com/pics", "pics", ("https://s3.eu.example.com", "pics", "us-east-1", "path")),
        (
            "https://gate.example.com/store/pics",
            "pics",
            ("https://gate.example.com/store", "pics", "us-east-1", "path"),
        ),
        ("https://pics.minio.example.com", "pics", ("https://minio.example.com", "pics", "us-east-1", "virtual")),
        ("http://minio:9000", "pics", ("http://minio:9000", "pics", "us-east-1", "path")),
        ("http://10.0.0.5:9000/pics", None, ("http://10.0.0.5:9000", "pics", "us-east-1", "path")),
        ("http://[::1]:9000/pics", None, ("http://[::1]:9000", "pics", "us-east-1", "path")),
    ],
)
def test_every_way_to_write_an_endpoint_leads_to_the_bucket(
    endpoint: str, bucket: str | None, expected: tuple[str, str, str, str]
) -> None:
    found = parse_endpoint(endpoint, bucket)
    assert (found.endpoint, found.bucket, found.region, found.addressing) == expected


def test_what_follows_the_bucket_is_a_folder() -> None:
    assert parse_endpoint("https://s3.eu.example.com/pics/a/b%20c").folder == "a/b c"
    assert parse_endpoint("https://pics.s3.eu-west-1.amazonaws.com/a").folder == "a"


def test_a_region_that_is_given_counts() -> None:
    assert parse_endpoint("https://s3.eu.example.com/pics", region="eu-7").region == "eu-7"


@pytest.mark.parametrize(
    ("endpoint", "bucket", "part"),
    [
        ("s3://pics", None, "endpoint"),
        ("pics.s3.amazonaws.com", None, "endpoint"),
        ("https://", "pics", "endpoint"),
        ("https://user:pass@s3.example.com/pics", None, "endpoint"),
        ("https://s3.example.com/pics?x=1", None, "endpoint"),
        ("https://[::1/pics", None, "endpoint"),
        ("https://s3.example.com", None, "bucket"),
        ("https://s3.example.com", "../etc", "bucket"),
        ("https://s3.example.com", "a..b", "bucket"),
        ("https://s3.example.com", "p", "bucket"),
        ("https://one.s3.eu-west-1.amazonaws.com", "two", "bucket"),
    ],
)
def test_an_unusable_endpoint_is_refused_by_the_part_that_is_wrong(
    endpoint: str, bucket: str | None, part: str
) -> None:
    with pytest.raises(BadEndpoint) as caught:
        parse_endpoint(endpoint, bucket)
    assert caught.value.part == part
    assert "pass" not in str(caught.value)


@given(st.text(), st.none() | st.text(), st.none() | st.text())
def test_no_endpoint_is_too_strange_to_judge(endpoint: str, bucket: str | None, region: str | None) -> None:
    for text in (endpoint, f"https://{endpoint}"):
        try:
            found = parse_endpoint(text, bucket, region)
        except BadEndpoint:
            continue
        assert found.bucket


SETTINGS = {
    "BUCKET_ENDPOINT_URL": "https://pics.s3.eu-west-1.amazonaws.com",
    "BUCKET_ACCESS_KEY_ID": "AKIA-test",
    "BUCKET_SECRET_ACCESS_KEY": "s3cr3t",
}


def test_the_operators_store_comes_from_the_settings() -> None:
    target = from_settings(read_settings({**SETTINGS, "BUCKET_PREFIX": "/out/", "BUCKET_URL_EXPIRY_S": "3600"}))
    assert target is not None
    assert (target.bucket, target.prefix, target.expiry_s, target.trusted) == ("pics", "out", 3600, True)
    assert "s3cr3t" not in repr(target)
    assert "AKIA-test" not in repr(target)


def test_without_an_endpoint_there_is_no_store() -> None:
    assert from_settings(read_settings({})) is None


@pytest.mark.parametrize("missing", ["BUCKET_ACCESS_KEY_ID", "BUCKET_SECRET_ACCESS_KEY"])
def test_a_store_without_keys_stops_the_start(missing: str) -> None:
    with pytest.raises(SettingsInvalid, match=missing):
        from_settings(read_settings({name: value for name, value in SETTINGS.items() if name != missing}))


def test_a_store_without_a_bucket_names_the_variable() -> None:
    with pytest.raises(SettingsInvalid, match="BUCKET_NAME"):
        from_settings(read_settings({**SETTINGS, "BUCKET_ENDPOINT_URL": "https://s3.example.com"}))


JOB = {
    "accessId": "AKIA-job",
    "accessSecret": "s3cr3t-job",
    "bucketName": "pics",
    "endpointUrl": "https://s3.example.com",
}


def test_a_jobs_own_store_is_taken_as_the_platform_defines_it() -> None:
    target = from_job(JOB, prefix="out", expiry_s=600)
    assert target == StoreTarget(
        "https://s3.example.com", "pics", "us-east-1", "path", "AKIA-job", "s3cr3t-job", prefix="out", expiry_s=600
    )
    assert from_job({**JOB, "sessionToken": "t0ken"}).session_token == "t0ken"
    assert not target.trusted
    assert target.address == ("s3.example.com", 443)


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({"accessId": None}, ["s3Config.accessId"]),
        ({"accessSecret": "  "}, ["s3Config.accessSecret"]),
        ({"endpointUrl": 5, "accessId": None}, ["s3Config.accessId", "s3Config.endpointUrl"]),
        ({"endpointUrl": "ftp://x"}, ["s3Config.endpointUrl"]),
        ({"endpointUrl": "https://a:b@s3.example.com"}, ["s3Config.endpointUrl"]),
        *(({"endpointUrl": f"https://{host}"}, ["s3Config.endpointUrl"]) for host in ("[::1", "]", "[x]", "a:99999")),
        ({"bucketName": None}, ["s3Config.bucketName"]),
        ({"bucketName": "../x"}, ["s3Config.bucketName"]),
        ({"bucketName": 7}, ["s3Config.bucketName"]),
        ({"region": "x y"}, ["s3Config.region"]),
        ({"sessionToken": 7}, ["s3Config.sessionToken"]),
        ({"bucketname": "pics", "prefix": "a"}, ["s3Config.bucketname", "s3Config.prefix"]),
        ({"accessSecret": "s3cr3t-job\r\nX-Evil: 1"}, ["s3Config.accessSecret"]),
    ],
)
def test_each_mistake_in_a_jobs_store_is_named_and_no_secret_is(change: dict[str, object], paths: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_job({**JOB, **change})
    assert [problem.path for problem in caught.value.problems] == paths
    assert "s3cr3t" not in str(caught.value.to_answer())


@pytest.mark.parametrize("config", [None, "x", [], 5])
def test_a_store_that_is_no_object_is_refused(config: object) -> None:
    with pytest.raises(InvalidInput, match="s3Config"):
        from_job(config)


def test_keys_tell_prefix_job_number_and_seed() -> None:
    assert KeyTemplate().key("out/a", KeyFields("job-1", 0, 42), "png") == "out/a/job-1/0-42.png"
    assert KeyTemplate().key("", KeyFields("job-1", 3, 7), "jpg") == "job-1/3-7.jpg"
    assert public_url("https://cdn.example.com/", "a b/1.png") == "https://cdn.example.com/a%20b/1.png"


@given(st.text(), st.text())
def test_a_key_never_leaves_its_prefix_and_two_jobs_never_share_one(one: str, other: str) -> None:
    made = KeyTemplate().key("p", KeyFields(one, 0, 1), "png")
    assert made.startswith("p/")
    assert made.count("/") == 2
    assert ".." not in made.split("/")
    assert made.isascii()
    assert len(made) < 150
    if one != other:
        assert safe(one) != safe(other)


def test_an_operator_names_pictures_as_they_like() -> None:
    started = datetime(2026, 2, 7, 15, 30, 22, tzinfo=timezone(timedelta(hours=1)))
    fields = KeyFields("job-1", 3, 42, "base", "SDXL/Deliberate v6", started)
    template = KeyTemplate("{date}/{checkpoint}/{date}-{time}_s{seed}_{stage}_{job}.{n}")
    assert template.key("p", fields, "png") == "p/20260207/SDXL-Deliberate-v6/20260207-143022_s42_base_job-1.3.png"
    assert KeyTemplate("{job}-{n}-{checkpoint}-{stage}").key("", KeyFields("a", 0, 1), "png") == "a-0-none-none.png"


@pytest.mark.parametrize(
    "text", ["{job}/{n}-{seed}", "{date}/{date}-{time}_s{seed}_{stage}_{job}-{n}", "{stage}/{job}.{n}", "{n}{job}"]
)
@pytest.mark.parametrize(("job", "stage"), [("night-1", "base"), ("8f2e-u1", "two_parts"), ("a b/ä", "x")])
def test_a_key_tells_the_job_again(text: str, job: str, stage: str) -> None:
    template = KeyTemplate(text)
    key = template.key("out/a", KeyFields(job, 3, 42, stage), "png")
    assert safe(job) in template.jobs("out/a", key)
    assert template.jobs("out/a", "out/a/other.txt/..") == ()


def test_a_long_key_of_many_choices_is_taken_apart_at_once() -> None:
    template = KeyTemplate("{checkpoint}_{stage}_{job}_{n}")
    began = time.thread_time()
    assert template.jobs("", "_" * 1024) == ()
    assert time.thread_time() - began < 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{job}/{seed}", "needs {n}"),
        ("{seed}", "needs {job} and {n}"),
        ("{job}/{n}/{sede}", "unknown placeholder {sede}"),
        ("{job}/{n:>99999999}", "unknown placeholder"),
        ("{job.__class__}/{n}", "unknown placeholder"),
        ("{job}/{n} {seed}", "may have letters"),
        ("../{job}/{n}", "empty part"),
        ("/{job}/{n}", "empty part"),
        ("{job}/{n", "can't be read"),
    ],
)
def test_a_template_that_would_lose_pictures_or_leave_its_place_stops_the_start(text: str, why: str) -> None:
    with pytest.raises(BadTemplate, match=re.escape(why)):
        KeyTemplate(text)
    with pytest.raises(SettingsInvalid, match="BUCKET_KEY"):
        key_template(read_settings({"BUCKET_KEY": text}))


@given(st.text(), st.text())
def test_no_value_of_a_key_leaves_its_prefix(stage: str, checkpoint: str) -> None:
    made = KeyTemplate("{stage}/{checkpoint}/{job}-{n}").key("p", KeyFields("j", 0, 1, stage, checkpoint), "png")
    assert made.startswith("p/")
    assert made.count("/") == 3
    assert not {"", ".", ".."} & set(made.split("/"))
