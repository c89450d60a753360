"""VAE files and which of them counts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from standin.errors import WebUIError
from standin.models.checkpoints import VAE_ENDINGS, model_files
from standin.models.safetensors import read_header

if TYPE_CHECKING:
    import argparse

    from standin.models.checkpoints import Checkpoint
    from standin.options import Options

ENDINGS = (".ckpt", ".pt", ".safetensors")
FIRST_LAYER = "decoder.conv_in.weight"
CHANNELS_OF_LATENTS = 4
WRONG_SHAPES = "Error(s) in loading state_dict for AutoencoderKL"
AUTOMATIC = ("Automatic", "auto")


class Vaes:
    """The list behind `GET /sdapi/v1/sd-vae` and the choice that the options make from it."""

    def __init__(self, flags: argparse.Namespace) -> None:
        models = Path(flags.models_dir or Path(flags.data_dir) / "models")
        self._beside_checkpoints = [models / "Stable-diffusion", *([Path(flags.ckpt_dir)] if flags.ckpt_dir else [])]
        self._own = [models / "VAE", *([Path(flags.vae_dir)] if flags.vae_dir else [])]
        self._forced = Path(flags.vae_path) if flags.vae_path else None
        self.files: dict[str, Path] = {}

    def refresh(self) -> None:
        """Looks at the folders again."""
        found = [path for folder in self._beside_checkpoints for path in model_files(folder, (*VAE_ENDINGS, ".vae.pt"))]
        found += [path for folder in self._own for path in model_files(folder, ENDINGS)]
        self.files = {path.name: path for path in found}

    def listed(self) -> list[dict[str, str]]:
        """Every VAE as JSON."""
        return [{"model_name": name, "filename": str(path)} for name, path in self.files.items()]

    def choose(self, checkpoint: Checkpoint, options: Options) -> Path | None:
        """The file that the options mean for `checkpoint`; None (the checkpoint's own) for an unknown name."""
        if self._forced is not None:
            return self._forced
        wanted = options.get("sd_vae")
        if wanted in AUTOMATIC:
            stem = checkpoint.path.name.rsplit(".", 1)[0]
            return next((path for name, path in self.files.items() if name.startswith(stem)), None)
        if wanted != "None" and wanted not in self.files:
            print(f"Couldn't find VAE named {wanted}; using None instead", flush=True)
        return self.files.get(wanted)


def check(path: Path) -> None:
    """Reads the file as loading would; raises WebUIError where it is missing, broken or of another shape."""
    print(f"Loading VAE weights specified in settings: {path}", flush=True)
    if path.suffix != ".safetensors":
        return
    shape = read_header(path).shapes.get(FIRST_LAYER)
    if shape is not None and len(shape) == 4 and shape[1] != CHANNELS_OF_LATENTS:  # noqa: PLR2004 # a convolution
        raise WebUIError(
            "RuntimeError",
            f"{WRONG_SHAPES}:\n\tsize mismatch for {FIRST_LAYER}: copying a param with shape torch.Size({list(shape)}) "
            "from checkpoint, the shape in current model is torch.Size([512, 4, 3, 3]).",
        )
