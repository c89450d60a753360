"""sd-webui-controlnet 1.1.455: its paths and its units, with their silent skips."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from standin.api.encoding import decode, encode
from standin.api.fields import validate
from standin.errors import WebUIError, http_error
from standin.generation.img2img import resize_image
from standin.generation.sampling import latent_size
from standin.models.checkpoints import model_files
from standin.models.safetensors import read_header
from standin.scripts.catalog import PACKAGE
from standin.scripts.control_maps import preprocess
from standin.scripts.controlnet_unit import RESIZE_MODES, Unit, parse_unit
from standin.scripts.extension import Extension

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from standin.generation.job import Processed, Processing
    from standin.webui import WebUI

ENDINGS = (".pt", ".pth", ".ckpt", ".safetensors", ".bin")
HASH_FROM, HASH_BYTES = 0x100000, 0x10000
WITHOUT_WEIGHTS = frozenset(
    {"none", "canny", "invert", "threshold", "scribble_xdog", "tile_resample", "tile_colorfix", "tile_colorfix+sharp"}
    | {
        "shuffle",
        "inpaint_only",
        "inpaint",
        "lineart_standard",
        "recolor_luminance",
        "recolor_intensity",
        "reference_only",
    }
    | {"reference_adain", "reference_adain+attn", "blur_gaussian", "color", "mediapipe_face"}
)
WITHOUT_PACKAGES = {
    "depth_anything_v2": "depth_anything_v2",
    "normal_dsine": "dsine",
    "depth_anything": "depth_anything",
}
NOT_FOR_DETECT = frozenset({"clip_vision", "revision_clipvision", "revision_ignore_prompt", "ip-adapter-auto"})
MASKED = frozenset({"inpaint_only", "inpaint", "inpaint_only+lama"})
DEFAULT_RESOLUTION = 512
DETECT: dict[str, tuple[str, Any]] = {
    "controlnet_module": ("str", "none"),
    "controlnet_input_images": ("list", []),
    "controlnet_processor_res": ("int", -1),
    "controlnet_threshold_a": ("float", -1),
    "controlnet_threshold_b": ("float", -1),
    "controlnet_masks": ("list", []),
    "low_vram": ("bool", False),
}
FILE_MARKS = {
    "SoftEdge": ("softedge", "pidi", "hed", "teed"),
    "NormalMap": ("normal",),
    "T2I-Adapter": ("t2i",),
    "IP-Adapter": ("ip-adapter", "ipadapter", "ip_adapter"),
    "Instant-ID": ("instant_id", "instantid"),
    "InstructP2P": ("ip2p",),
    "Segmentation": ("seg",),
    "SparseCtrl": ("sparsectrl",),
    "Tile": ("tile", "blur"),
    "OpenPose": ("openpose", "densepose"),
}
_OPENPOSE = ("openpose/body_pose_model.pth", "openpose/hand_pose_model.pth", "openpose/facenet.pth")
WEIGHTS: dict[str, tuple[str, ...]] = {
    "openpose": _OPENPOSE,
    "openpose_full": _OPENPOSE,
    "openpose_face": _OPENPOSE,
    "openpose_faceonly": _OPENPOSE,
    "openpose_hand": _OPENPOSE,
    "hed": ("hed/ControlNetHED.pth",),
    "hed_safe": ("hed/ControlNetHED.pth",),
    "mlsd": ("mlsd/mlsd_large_512_fp32.pth",),
    "lineart": ("lineart/sk_model.pth",),
    "lineart_coarse": ("lineart/sk_model2.pth",),
    "depth": ("midas/dpt_hybrid-midas-501f0c75.pt",),
    "pidinet": ("pidinet/table5_pidinet.pth",),
    "pidinet_safe": ("pidinet/table5_pidinet.pth",),
}
"""Files that some preprocessors need, below `--controlnet-annotator-models-path`."""


class ControlNet(Extension):
    """The extension with its list of models and preprocessors."""

    name, folder, version = "controlnet", "sd-webui-controlnet", "1.1.455"
    options = {  # noqa: RUF012 # read, never written
        "control_net_no_detectmap": False,
        "control_net_unit_count": 3,
        "control_net_models_path": "",
        "control_net_model_cache_size": 2,
        "control_net_detectedmap_dir": "detected_maps",
        "control_net_detectmap_autosaving": False,
        "control_net_allow_script_control": False,
        "control_net_sync_field_args": True,
        "control_net_high_res_only_mid": False,
    }

    def __init__(self, flags: argparse.Namespace, annotators: tuple[str, ...]) -> None:
        data = json.loads(resources.files(PACKAGE).joinpath("data/controlnet.json").read_text(encoding="utf-8"))
        self.modules: dict[str, dict[str, Any]] = {module["name"]: module for module in data["modules"]}
        self._names = {module["alias"]: name for name, module in self.modules.items()} | {
            name: name for name in self.modules
        }
        self._types: dict[str, dict[str, Any]] = data["types"]
        models = Path(flags.models_dir or Path(flags.data_dir) / "models")
        self._folders = [models / "ControlNet", *([Path(flags.controlnet_dir)] if flags.controlnet_dir else [])]
        self._annotators = annotators
        weights = flags.controlnet_annotator_models_path
        self._weights = Path(weights) if weights else None
        self._models: dict[str, Path] = {}
        self._loaded: set[Path] = set()
        self.refresh("")

    def refresh(self, extra_folder: str) -> None:
        """Looks for models again; only the listing does this."""
        folders = [*self._folders, *([Path(extra_folder)] if extra_folder else [])]
        found = [path for folder in folders for path in model_files(folder, ENDINGS)]
        self._models = {
            f"{path.stem} [{_hash(path)}]": path for path in sorted(found, key=lambda path: path.stem.lower())
        }

    def gets(self) -> dict[str, Callable[[WebUI, dict[str, str]], Any]]:
        """Version, settings, models, modules, control types."""
        return {
            "/controlnet/version": lambda _, __: {"version": 3},
            "/controlnet/settings": lambda webui, _: {
                "control_net_unit_count": webui.options.get("control_net_unit_count")
            },
            "/controlnet/model_list": self._model_list,
            "/controlnet/module_list": self._module_list,
            "/controlnet/control_types": self._control_types,
        }

    def posts(self) -> dict[str, Callable[[WebUI, Any], Any]]:
        """Detect, and the rendering of poses."""
        return {"/controlnet/detect": self._detect, "/controlnet/render_openpose_json": _render_poses}

    def before_process(self, webui: WebUI, p: Processing) -> None:
        """Parses the units: what is wrong in them is a 500."""
        for value in p.alwayson.get(self.name, []):
            if isinstance(value, dict):
                parse_unit(value, self._names, self.modules)

    def process(self, webui: WebUI, p: Processing) -> None:
        """Writes the infotext first, then applies the units; one that fails silently takes all others with it."""
        given = [value for value in p.alwayson.get(self.name, []) if isinstance(value, dict)]
        units = [unit for value in given if (unit := parse_unit(value, self._names, self.modules)).enabled]
        p.extra_images = []
        for place, unit in enumerate(units):
            p.extra_generation_params[f"ControlNet {place}"] = unit.infotext()
        try:
            maps = [self._apply(webui, p, unit, place) for place, unit in enumerate(units)]
        except WebUIError as error:
            print(f"*** Error running process: controlnet.py\n    {error.name}: {error.message}", flush=True)
            p.extra_look = {key: value for key, value in p.extra_look.items() if not key.startswith("control")}
            return
        if not webui.options.get("control_net_no_detectmap"):
            kept = [images for unit, images in zip(units, maps, strict=True) if unit.save_detected_map]
            p.extra_images = [image for images in kept for image in images]

    def postprocess(self, webui: WebUI, p: Processing, processed: Processed) -> None:
        """The maps come behind the pictures, without infotexts."""
        processed.images.extend(p.extra_images)

    def find_model(self, name: str) -> Path | None:
        """The model for a title, a name in any case, or a part of a name (the shortest that has it)."""
        if name in self._models:
            return self._models[name]
        wanted = name.lower()
        by_stem = {path.stem.lower(): path for path in self._models.values()}
        if wanted in by_stem:
            return by_stem[wanted]
        fitting = sorted((stem for stem in by_stem if wanted and wanted in stem), key=len)
        return by_stem[fitting[0]] if fitting else None

    def _apply(self, webui: WebUI, p: Processing, unit: Unit, place: int) -> list[Image.Image]:
        module = self.modules[unit.module]
        if not module["model_free"]:
            self._load(webui, unit.model)
        image = self._image_of(webui, p, unit)
        if unit.module not in WITHOUT_WEIGHTS and not self._has_weights(unit.module):
            raise WebUIError("URLError", "<urlopen error [Errno 111] Connection refused>")
        active = [
            step
            for step in range(p.steps or 0)
            if unit.guidance_start <= max(0, step - 1) / p.steps <= unit.guidance_end
        ]
        if unit.weight > 0 and active:
            key = hashlib.sha256(image.tobytes()).hexdigest()[:16]
            facts = (unit.module, unit.model, unit.weight, unit.control_mode, unit.resize_mode, tuple(active), key)
            p.extra_look[f"control {place}"] = repr(facts)
        size = latent_size(p.width, p.height)
        sizes = [size]
        if p.value("enable_hr"):
            scale = p.value("hr_scale") or 2.0
            sizes = [latent_size(int(p.width * scale), int(p.height * scale)), size]
        mode = RESIZE_MODES.index(unit.resize_mode)
        return [preprocess(unit.module, resize_image(mode, image, *wanted)) for wanted in sizes]

    def _load(self, webui: WebUI, name: str) -> None:
        path = self.find_model(name) if name != "None" else None
        if path is None:
            raise WebUIError("RuntimeError", f"model not found: {name}")
        _, weights = webui.model.require()
        other = "xl" in path.stem.lower() if weights.architecture == "sd1" else "sd15" in path.stem.lower()
        if other:
            raise WebUIError("Exception", f"ControlNet model {path.stem} is not compatible with sd model")
        if path in self._loaded:
            return
        if path.suffix == ".safetensors":
            read_header(path)
        elif not path.exists() or not path.stat().st_size:
            raise WebUIError("EOFError", "Ran out of input")
        self._loaded.add(path)

    def _image_of(self, webui: WebUI, p: Processing, unit: Unit) -> Image.Image:
        if unit.region is not None and decode(unit.region, webui.options).mode == "L":
            raise WebUIError("EinopsError", "Expected 3 dimensions, got 2")
        if unit.image is None:
            if not p.init_images:
                raise WebUIError("ValueError", "controlnet is enabled but no input image is given")
            return p.init_images[0].convert("RGB")
        image = _open(webui, unit.image)
        if unit.mask is not None and _open(webui, unit.mask).size != image.size:
            raise WebUIError("AssertionError", "image and mask have different sizes")
        return image

    def _has_weights(self, module: str) -> bool:
        if "all" in self._annotators or module in self._annotators:
            return True
        files = WEIGHTS.get(module, ())
        return bool(files) and self._weights is not None and all((self._weights / file).is_file() for file in files)

    def _model_list(self, webui: WebUI, query: dict[str, str]) -> dict[str, Any]:
        if query.get("update", "true").lower() not in ("false", "0", "no"):
            self.refresh(str(webui.options.get("control_net_models_path") or ""))
        return {"model_list": list(self._models)}

    def _module_list(self, _webui: WebUI, query: dict[str, str]) -> dict[str, Any]:
        by_alias = query.get("alias_names", "false").lower() in ("true", "1", "yes")
        detail = {}
        for name, module in self.modules.items():
            sliders = [
                dict(zip(("name", "value", "min", "max", "step"), slider, strict=True)) for slider in module["sliders"]
            ]
            detail[module["alias"] if by_alias else name] = {"model_free": module["model_free"], "sliders": sliders}
        return {"module_list": list(detail), "module_detail": detail}

    def _control_types(self, _webui: WebUI, _query: dict[str, str]) -> dict[str, Any]:
        types = {}
        for name, known in self._types.items():
            marks = FILE_MARKS.get(name, (name.lower(),))
            fitting = [title for title in self._models if name == "All" or any(mark in title.lower() for mark in marks)]
            modules = known["modules"] or [module["alias"] for module in self.modules.values()]
            default = fitting[0] if fitting and name != "All" else "None"
            types[name] = {
                "module_list": modules,
                "model_list": ["None", *fitting],
                "default_option": known["default"],
                "default_model": default,
            }
        return {"control_types": types}

    def _detect(self, webui: WebUI, body: Any) -> dict[str, Any]:
        request = validate(body, DETECT, nullable=False)
        name = self._names.get(request["controlnet_module"])
        if name is None:
            raise http_error(422, "Module not available")
        if name in NOT_FOR_DETECT:
            raise http_error(422, "Module not supported")
        if not request["controlnet_input_images"]:
            raise http_error(422, "No image selected")
        if name in MASKED and len(request["controlnet_masks"]) != len(request["controlnet_input_images"]):
            raise http_error(422, f"Preprocessor {name} requires `controlnet_masks` param.")
        pictures = [decode(str(text), webui.options) for text in request["controlnet_input_images"]]
        if name not in WITHOUT_WEIGHTS and not self._has_weights(name):
            package = WITHOUT_PACKAGES.get(name)
            if package:
                raise WebUIError("ModuleNotFoundError", f"No module named '{package}'")
            raise WebUIError("URLError", "<urlopen error [Errno 111] Connection refused>")
        wanted = request["controlnet_processor_res"]
        wanted = wanted if wanted > 0 else DEFAULT_RESOLUTION
        sized = self.modules[name]["sliders"]
        images = []
        for picture in pictures:
            scale = wanted / min(picture.size) if sized else 1.0
            size = (round(picture.width * scale), round(picture.height * scale))
            images.append(encode(preprocess(name, picture.convert("RGB").resize(size)), webui.options))
        answer: dict[str, Any] = {"info": "Success", "images": images}
        return answer | ({"poses": []} if "openpose" in name else {})


def _render_poses(webui: WebUI, body: Any) -> dict[str, Any]:
    if not body:
        return {"info": "No pose data detected."}
    pictures = []
    for pose in body:
        canvas = Image.new("RGB", (int(pose.get("canvas_width", 512)), int(pose.get("canvas_height", 512))))
        pictures.append(encode(canvas, webui.options))
    return {"images": pictures, "info": "Success"}


def _open(webui: WebUI, source: str) -> Image.Image:
    """A picture of a unit: a path on this machine is opened too, as in the real one."""
    try:
        path = Path(source)
        if len(source) < 1024 and path.is_file():  # noqa: PLR2004 # longer texts are never paths
            return Image.open(path).convert("RGB")
    except (OSError, ValueError):
        pass
    image = decode(source, webui.options)
    try:
        return image.convert("RGB")
    except OSError as error:
        raise WebUIError("OSError", str(error)) from None


def _hash(path: Path) -> str:
    """The old short hash: of 64 KiB from the first MiB on, so small files share one."""
    with path.open("rb") as file:
        file.seek(HASH_FROM)
        return hashlib.sha256(file.read(HASH_BYTES)).hexdigest()[:8]
