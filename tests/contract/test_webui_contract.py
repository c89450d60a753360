from __future__ import annotations

import base64
import io
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image

from tests.contract import expectations as expected
from tests.support.standin import running_standin

if TYPE_CHECKING:
    from collections.abc import Iterator

REAL = os.environ.get("WEBUI_URL", "").rstrip("/")
TARGETS = ["stand-in", *([pytest.param("real", marks=pytest.mark.real)] if REAL else [])]


class WebUI:
    """The program under test, whichever it is."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.headers["Accept-Encoding"] = "identity"
        self.post("options", expected.PINNED)

    def get(self, path: str) -> requests.Response:
        return self.session.get(self._address(path), timeout=300)

    def post(self, path: str, body: Any = None, raw: bytes | None = None) -> requests.Response:
        if raw is not None:
            headers = {"Content-Type": "application/json"}
            return self.session.post(self._address(path), data=raw, headers=headers, timeout=300)
        return self.session.post(self._address(path), json=body, timeout=300)

    def generate(self, path: str = "txt2img", /, **changes: Any) -> tuple[list[Image.Image], dict[str, Any]]:
        answer = self.post(path, {**expected.SMALL, **changes})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return [picture(text) for text in body["images"]], json.loads(body["info"])

    def names(self, listing: str, key: str) -> list[str]:
        return [item[key] for item in self.get(listing).json()]

    def _address(self, path: str) -> str:
        return self.url + (path if path.startswith("/") else f"/sdapi/v1/{path}")


@pytest.fixture(scope="module", params=TARGETS)
def webui(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUI]:
    if request.param == "real":
        yield WebUI(REAL)
        return
    with running_standin(tmp_path_factory.mktemp("contract")) as standin:
        yield WebUI(standin.url)


def picture(text: str) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    image.load()
    return image


def as_base64(image: Image.Image, kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


def photo(size: tuple[int, int] = (96, 64)) -> Image.Image:
    return Image.linear_gradient("L").resize(size).convert("RGB")


def pixels(image: Image.Image) -> bytes:
    return image.convert("RGB").tobytes()


@pytest.mark.parametrize("name", expected.LISTINGS)
def test_listing_has_its_shape(webui: WebUI, name: str) -> None:
    kind, keys = expected.LISTINGS[name]
    answer = webui.get(name)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json(), kind)
    data: Any = answer.json()
    first = data[0] if kind is list and data else data
    assert not keys or not first or set(keys) <= set(first)


def test_every_sampler_and_its_aliases_are_listed(webui: WebUI) -> None:
    assert {s["name"]: tuple(s["aliases"]) for s in webui.get("samplers").json()} == expected.SAMPLERS


def test_every_scheduler_and_its_label_is_listed(webui: WebUI) -> None:
    assert {s["name"]: s["label"] for s in webui.get("schedulers").json()} == expected.SCHEDULERS


def test_upscalers_without_a_file_come_first(webui: WebUI) -> None:
    assert tuple(webui.names("upscalers", "name")[:3]) == expected.UPSCALERS
    assert tuple(webui.names("latent-upscale-modes", "name")) == expected.LATENT_UPSCALE_MODES


def test_progress_of_an_idle_webui_is_zero(webui: WebUI) -> None:
    data = webui.get("progress").json()
    assert (data["progress"], data["state"]["job_count"], data["current_image"]) == (0.0, 0, None)
    assert set(data["state"]) == set(expected.STATE_KEYS)


@pytest.mark.parametrize("tab", expected.SCRIPTS)
def test_scripts_are_listed(webui: WebUI, tab: str) -> None:
    assert set(expected.SCRIPTS[tab]) <= set(webui.get("scripts").json()[tab])


@pytest.mark.parametrize("name", expected.OPTIONS)
def test_option_exists_with_its_default(webui: WebUI, name: str) -> None:
    options = webui.get("options").json()
    assert name in options
    if name not in expected.PINNED:
        assert options[name] == expected.OPTIONS[name]


@pytest.mark.parametrize("name", sorted(expected.PINNED))
def test_option_can_be_set(webui: WebUI, name: str) -> None:
    assert webui.post("options", {name: expected.PINNED[name]}).status_code == 200
    assert webui.get("options").json()[name] == expected.PINNED[name]


@pytest.mark.parametrize("case", expected.REFUSED, ids=lambda case: case.name)
def test_refusal_has_its_status_and_shape(webui: WebUI, case: expected.Refused) -> None:
    answer = webui.get(case.path) if case.method == "GET" else webui.post(case.path, case.body, case.raw)
    assert answer.status_code == case.status, answer.text
    data = answer.json()
    if case.plain:
        assert data == {"detail": case.plain}
    elif case.problems:
        assert tuple((tuple(problem["loc"]), problem["type"]) for problem in data["detail"]) == case.problems
    else:
        assert set(data) == {"error", "detail", "body", "errors"}
        assert (data["error"], data["detail"]) == (case.error, case.detail)
        assert case.message is None or data["errors"] == case.message


@pytest.mark.parametrize("case", expected.TAKEN, ids=lambda case: case.name)
def test_request_is_taken_as_expected(webui: WebUI, case: expected.Taken) -> None:
    pictures, info = webui.generate(**case.changes)
    assert tuple(image.size for image in pictures) == case.sizes
    assert tuple(info) == expected.INFO_KEYS
    assert {key: info[key] for key in case.info} == case.info
    assert {key: info["extra_generation_params"].get(key) for key in case.extra} == case.extra
    for part in case.parts:
        assert part in info["infotexts"][info["index_of_first_image"]]
    for image, text in zip(pictures, info["infotexts"], strict=False):
        assert image.info["parameters"] == text


def test_parameters_echo_every_field(webui: WebUI) -> None:
    body = webui.post("txt2img", expected.SMALL).json()
    assert body["parameters"] == {**expected.TXT2IMG_DEFAULTS, **expected.SMALL}
    assert set(body) == {"images", "parameters", "info"}


def test_parameters_of_img2img_leave_the_pictures_out(webui: WebUI) -> None:
    body = webui.post("img2img", {**expected.SMALL, "init_images": [as_base64(photo())]}).json()
    known = {name: value for name, value in expected.TXT2IMG_DEFAULTS.items() if name in body["parameters"]}
    assert body["parameters"] == {**known, **expected.IMG2IMG_ONLY_DEFAULTS, **expected.SMALL}


def test_infotext_word_for_word(webui: WebUI) -> None:
    model = webui.generate()[1]["sd_model_name"]
    _, info = webui.generate(negative_prompt="blurry", sampler_name="Euler a", steps=2)
    settings = "Steps: 2, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7.0, Seed: 42, Size: 64x64"
    assert info["infotexts"] == [f"a cat\nNegative prompt: blurry\n{settings}, Model: {model}, Version: v1.10.1"]


def test_overrides_of_pinned_options_are_restored(webui: WebUI) -> None:
    webui.generate(override_settings={"CLIP_stop_at_last_layers": 3})
    assert webui.generate()[1]["clip_skip"] == 1


def test_overrides_stay_when_they_are_not_to_be_restored(webui: WebUI) -> None:
    stay = {"override_settings": {"CLIP_stop_at_last_layers": 3}, "override_settings_restore_afterwards": False}
    webui.generate(**stay)
    assert webui.generate()[1]["clip_skip"] == 3
    webui.post("options", expected.PINNED)


def test_override_of_the_format_changes_nothing_once_restored(webui: WebUI) -> None:
    assert webui.generate(override_settings={"samples_format": "jpg"})[0][0].format == "PNG"


@pytest.mark.parametrize(("name", "kind"), [("jpg", "JPEG"), ("webp", "WEBP")])
def test_format_is_an_option(webui: WebUI, name: str, kind: str) -> None:
    try:
        webui.post("options", {"samples_format": name})
        (image,), info = webui.generate()
        assert image.format == kind
        text = webui.post("png-info", {"image": as_base64_of(webui)}).json()["info"]
        assert text == info["infotexts"][0]
    finally:
        webui.post("options", expected.PINNED)


def as_base64_of(webui: WebUI) -> str:
    text: str = webui.post("txt2img", expected.SMALL).json()["images"][0]
    return text


def test_each_checkpoint_is_used_when_named(webui: WebUI) -> None:
    titles = [name for name in webui.names("sd-models", "title") if "rune" not in name and "runc" not in name]
    for title in [*titles[:2], titles[0]]:
        stem = title.rsplit("/", 1)[-1].rsplit(".", 1)[0]
        for name in (title, stem):
            assert webui.generate(override_settings={"sd_model_checkpoint": name})[1]["sd_model_name"] == stem


@pytest.mark.parametrize("wrong", ["Nope_v9", "lower", "partial", "absolute", "hash"])
def test_a_checkpoint_that_is_not_named_exactly_is_the_default(webui: WebUI, wrong: str) -> None:
    default = webui.generate()[1]["sd_model_name"]
    other = next(item for item in webui.get("sd-models").json() if item["model_name"] != default)
    title = other["title"]
    name = {
        "lower": title.lower(),
        "partial": title[:3],
        "absolute": other["filename"],
        "hash": f"{title} [0123456789]",
    }.get(wrong, wrong)
    assert webui.generate(override_settings={"sd_model_checkpoint": name})[1]["sd_model_name"] == default


def test_loras_change_the_picture_only_when_they_exist(webui: WebUI) -> None:
    assert "add_detail" in webui.names("loras", "name")
    plain = pixels(webui.generate()[0][0])
    assert pixels(webui.generate(prompt="a cat<lora:add_detail:1>")[0][0]) != plain
    for tag in ("<lora:nope:1>", "<lora:ADD_DETAIL:1>", "<lora:add_detail.safetensors:1>", "<lora:add_detail:abc>"):
        assert pixels(webui.generate(prompt=f"a cat{tag}")[0][0]) == plain
    assert pixels(webui.generate()[0][0]) == plain


def test_pictures_of_n_iter_are_those_of_single_jobs(webui: WebUI) -> None:
    both = webui.generate(n_iter=2)[0]
    assert [pixels(image) for image in both] == [pixels(webui.generate(seed=seed)[0][0]) for seed in (42, 43)]


def test_img2img_has_its_own_defaults(webui: WebUI) -> None:
    (image,), info = webui.generate("img2img", init_images=[as_base64(photo())])
    assert (image.size, info["denoising_strength"]) == ((64, 64), 0.75)
    assert info["extra_generation_params"] == {"Denoising strength": 0.75}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_img2img_takes_the_usual_formats_and_data_urls(webui: WebUI, kind: str) -> None:
    text = as_base64(photo(), kind)
    for given in (text, f"data:image/{kind.lower()};base64,{text}"):
        (image,), _ = webui.generate("img2img", init_images=[given], width=96, height=64, denoising_strength=0.5)
        assert image.size == (96, 64)


def test_img2img_refuses_more_pictures_than_the_batch(webui: WebUI) -> None:
    answer = webui.post("img2img", {**expected.SMALL, "init_images": [as_base64(photo())] * 2})
    assert answer.json()["errors"] == "bad number of images passed: 2; expecting 1 or less"


def test_a_truncated_picture_is_an_os_error(webui: WebUI) -> None:
    data = base64.b64decode(as_base64(photo((256, 256)).effect_spread(9)))
    cut = base64.b64encode(data[: len(data) // 2]).decode()
    answer = webui.post("img2img", {**expected.SMALL, "init_images": [cut]})
    assert (answer.status_code, answer.json()["error"]) == (500, "OSError")


def half_mask(size: tuple[int, int] = (96, 64)) -> Image.Image:
    mask = Image.new("L", size, 0)
    mask.paste(255, (0, 0, size[0] // 4, size[1]))
    return mask


@pytest.mark.parametrize(
    ("changes", "noted"),
    [
        ({}, {"Mask blur": 4, "Inpaint area": "Only masked", "Masked area padding": 0, "Masked content": "fill"}),
        ({"inpaint_full_res": False}, {"Mask blur": 4, "Masked content": "fill"}),
        (
            {"inpainting_fill": 1, "mask_blur": 2},
            {"Mask blur": 2, "Inpaint area": "Only masked", "Masked area padding": 0},
        ),
        ({"inpainting_fill": 2, "inpaint_full_res": False}, {"Mask blur": 4, "Masked content": "latent noise"}),
        ({"inpainting_fill": 3, "inpaint_full_res": False}, {"Mask blur": 4, "Masked content": "latent nothing"}),
        (
            {"inpainting_mask_invert": 1, "inpaint_full_res": False},
            {"Mask mode": "Inpaint not masked", "Mask blur": 4, "Masked content": "fill"},
        ),
        ({"mask_blur": 0, "inpaint_full_res": False}, {"Masked content": "fill"}),
    ],
)
def test_inpainting_says_what_it_does(webui: WebUI, changes: dict[str, Any], noted: dict[str, Any]) -> None:
    given = {"init_images": [as_base64(photo())], "mask": as_base64(half_mask()), "width": 96, "height": 64}
    _, info = webui.generate("img2img", **given, denoising_strength=0.5, **changes)
    assert info["extra_generation_params"] == {"Denoising strength": 0.5, **noted}


def test_inpainting_leaves_what_is_far_from_the_mask_untouched(webui: WebUI) -> None:
    original = photo((128, 64))
    given = {"init_images": [as_base64(original)], "mask": as_base64(half_mask((128, 64))), "width": 128, "height": 64}
    (image,), _ = webui.generate("img2img", **given, mask_blur=2, inpaint_full_res=False)
    far, near = (64, 0, 128, 64), (0, 0, 24, 64)
    assert pixels(image.crop(far)) == pixels(original.crop(far))
    assert pixels(image.crop(near)) != pixels(original.crop(near))


def test_an_empty_mask_switches_to_img2img(webui: WebUI) -> None:
    given = {
        "init_images": [as_base64(photo())],
        "mask": as_base64(Image.new("L", (96, 64))),
        "width": 96,
        "height": 64,
    }
    _, info = webui.generate("img2img", **given, denoising_strength=0.5)
    assert info["extra_generation_params"] == {"Denoising strength": 0.5, "Mask blur": 4}


@pytest.mark.parametrize(
    ("changes", "size", "text"),
    [
        ({}, (96, 64), "<p></p>"),
        (
            {"upscaler_1": "Lanczos"},
            (192, 128),
            "<p>Postprocess upscale by: 2, Postprocess upscaler: Lanczos</p>",
        ),
        (
            {"upscaler_1": "Nearest", "upscaling_resize": 1.5},
            (144, 96),
            "<p>Postprocess upscale by: 1.5, Postprocess upscaler: Nearest</p>",
        ),
        (
            {"upscaler_1": "Lanczos", "resize_mode": 1, "upscaling_resize_w": 100, "upscaling_resize_h": 100},
            (100, 100),
            "<p>Postprocess upscale to: 100x100, Postprocess crop to: 100x100, Postprocess upscaler: Lanczos</p>",
        ),
    ],
)
def test_extras_resize(webui: WebUI, changes: dict[str, Any], size: tuple[int, int], text: str) -> None:
    body = webui.post("extra-single-image", {"image": as_base64(photo()), **changes}).json()
    assert (picture(body["image"]).size, body["html_info"]) == (size, text)


def test_extras_refuse_an_unknown_upscaler(webui: WebUI) -> None:
    answer = webui.post("extra-single-image", {"image": as_base64(photo()), "upscaler_1": "Nope"})
    assert (answer.status_code, answer.json()["error"]) == (500, "AssertionError")
    assert answer.json()["errors"] == "could not find upscaler named Nope"


def test_extras_take_a_list(webui: WebUI) -> None:
    entries = [{"data": as_base64(photo()), "name": name} for name in ("a.png", "b.png")]
    body = webui.post("extra-batch-images", {"imageList": entries, "upscaler_1": "Lanczos"}).json()
    assert [picture(text).size for text in body["images"]] == [(192, 128)] * 2


def test_png_info_reads_our_own_pictures(webui: WebUI) -> None:
    text = webui.post("txt2img", {**expected.SMALL, "negative_prompt": "blurry"}).json()["images"][0]
    found = webui.post("png-info", {"image": text}).json()["parameters"]
    wanted = {
        "Prompt": "a cat",
        "Negative prompt": "blurry",
        "Steps": "1",
        "Sampler": "Euler",
        "Seed": "42",
        "Size-1": "64",
    }
    assert {key: found[key] for key in wanted} == wanted


def test_png_info_of_a_plain_picture_is_empty(webui: WebUI) -> None:
    body = webui.post("png-info", {"image": as_base64(photo())}).json()
    assert (body["info"], body["items"], body["parameters"]["Prompt"]) == ("", {}, "")


def test_embeddings_are_used_or_skipped_by_their_width(webui: WebUI) -> None:
    body = webui.get("embeddings").json()
    assert body["loaded"]
    assert body["skipped"]
    assert set(next(iter(body["loaded"].values()))) == {
        "step",
        "sd_checkpoint",
        "sd_checkpoint_name",
        "shape",
        "vectors",
    }
    name = next(iter(body["loaded"]))
    assert pixels(webui.generate(prompt=f"a cat {name}")[0][0]) != pixels(webui.generate(prompt="a cat")[0][0])


@pytest.mark.parametrize("path", ["interrupt", "unload-checkpoint", "reload-checkpoint"])
def test_command_answers_an_empty_object(webui: WebUI, path: str) -> None:
    answer = webui.post(path)
    assert (answer.status_code, answer.json()) == (200, {})
    webui.post("reload-checkpoint")


@pytest.mark.parametrize("path", ["skip", "refresh-checkpoints", "refresh-vae", "refresh-loras", "refresh-embeddings"])
def test_command_answers_null(webui: WebUI, path: str) -> None:
    answer = webui.post(path)
    assert (answer.status_code, answer.json()) == (200, None)


def test_interrupting_an_idle_webui_does_not_touch_the_next_job(webui: WebUI) -> None:
    before = pixels(webui.generate()[0][0])
    webui.post("interrupt")
    webui.post("skip")
    assert pixels(webui.generate()[0][0]) == before


def test_the_answer_is_compressed_only_when_asked(webui: WebUI) -> None:
    assert "content-encoding" not in webui.post("txt2img", expected.SMALL).headers
    asked = requests.get(f"{webui.url}/sdapi/v1/options", headers={"Accept-Encoding": "gzip"}, timeout=60)
    assert asked.headers["content-encoding"] == "gzip"
