"""The model in memory: loading in the background, switching, and the ways in which that goes wrong."""

from __future__ import annotations

import sys
import threading
import traceback
from typing import TYPE_CHECKING

from standin.errors import WebUIError
from standin.models import vae as vae_files
from standin.models.checkpoints import Checkpoint, Weights, read_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from standin.models.checkpoints import Checkpoints
    from standin.models.embeddings import Embeddings
    from standin.models.vae import Vaes
    from standin.options import Options


class Model:
    """The WebUI's `shared.sd_model` with everything around it.

    `poisoned` is the state after a switch to a file that cannot be read: the old model stays, half taken apart.
    Prompts with weights or embeddings then give other pictures, except those whose conditioning was cached before,
    until a switch to a file that can be read puts everything together again. Without CUDA in torch they fail instead.
    A VAE that cannot be loaded does the same; one of another shape leaves those of its layers behind that did fit, so
    that every picture comes out otherwise (`vae_overwritten`).
    """

    def __init__(
        self,
        options: Options,
        checkpoints: Checkpoints,
        vaes: Vaes,
        embeddings: Embeddings,
        load: Callable[[Checkpoint], Weights],
    ) -> None:
        self._options = options
        self._checkpoints = checkpoints
        self._vaes = vaes
        self._embeddings = embeddings
        self._load = load
        self._first_load = threading.Lock()
        self.loaded_once = False
        self.checkpoint: Checkpoint | None = None
        self.weights: Weights | None = None
        self.vae: Path | None = None
        self.poisoned = False
        self.vae_overwritten = False
        self.seen_prompts: set[str] = set()
        """Prompts whose conditioning was cached before the poisoning."""

    def ensure(self) -> Checkpoint | None:
        """Waits for the first load (or does it); None where it failed, with the cause on stderr."""
        if self.loaded_once:
            return self.checkpoint
        with self._first_load:
            if self.checkpoint is not None:
                return self.checkpoint
            try:
                self._load_fresh(self._checkpoints.select(self._options.get("sd_model_checkpoint")))
            except WebUIError as error:
                print_failure("loading stable diffusion model", error)
                print("\nStable diffusion model failed to load", file=sys.stderr, flush=True)
        return self.checkpoint

    def require(self) -> tuple[Checkpoint, Weights]:
        """The loaded model; raises the unrelated AttributeError that the real one shows where there is none."""
        if self.checkpoint is None or self.weights is None:
            raise WebUIError("AttributeError", "'NoneType' object has no attribute 'lowvram'")
        return self.checkpoint, self.weights

    def reload(self, wanted: Checkpoint | None = None, *, write_option: bool = True) -> Checkpoint:
        """Switches to `wanted`, else to what the options say; raises WebUIError where that fails."""
        target = wanted or self._checkpoints.select(self._options.get("sd_model_checkpoint"))
        if self.checkpoint is None:
            self._load_fresh(target)
            return target
        if self.checkpoint.path == target.path:
            return self.checkpoint
        print(f"Reusing loaded model {self.checkpoint.title} to load {target.title}", flush=True)
        try:
            weights = self._load(target)
        except WebUIError as error:
            if "loading state_dict" in error.message:
                print("Failed to load checkpoint, restoring previous", flush=True)
            else:
                self.poisoned = True
            raise
        self._take(target, weights, write_option=write_option)
        self.poisoned = self.vae_overwritten = False
        print("Weights loaded.", flush=True)
        return target

    def reload_vae(self) -> None:
        """Puts the VAE in place that the options mean."""
        if self.checkpoint is None:
            return
        chosen = self._vaes.choose(self.checkpoint, self._options)
        if chosen == self.vae:
            return
        if chosen is not None:
            try:
                vae_files.check(chosen)
            except WebUIError as error:
                self.poisoned = True
                self.vae_overwritten = vae_files.WRONG_SHAPES in error.message
                raise
        self.vae = chosen
        print("VAE weights loaded.", flush=True)

    def refresh_embeddings(self) -> None:
        """Reads the embeddings again; a poisoned model cannot."""
        if self.poisoned:
            raise WebUIError(
                "AttributeError", "'FrozenCLIPEmbedder' object has no attribute 'encode_embedding_init_text'"
            )
        _, weights = self.require()
        self._embeddings.refresh(weights)

    def _load_fresh(self, target: Checkpoint) -> None:
        self._take(target, self._load(target), write_option=True)
        self.loaded_once = True
        self._embeddings.refresh(self.require()[1])
        print("Model loaded.", flush=True)

    def _take(self, checkpoint: Checkpoint, weights: Weights, *, write_option: bool) -> None:
        self.checkpoint, self.weights = checkpoint, weights
        if write_option:
            self._options.data["sd_model_checkpoint"] = checkpoint.title
            self._options.data["sd_checkpoint_hash"] = None
        chosen = self._vaes.choose(checkpoint, self._options)
        if chosen is not None:
            vae_files.check(chosen)
        self.vae = chosen
        self._embeddings.refresh(weights)


def print_failure(task: str, error: WebUIError) -> None:
    """Print the real program's lines about something that failed without ending it."""
    print(f"{task}: {error.name}", file=sys.stderr)
    print("Traceback (most recent call last):", file=sys.stderr)
    for line in traceback.format_tb(error.__traceback__):
        print(line.rstrip("\n"), file=sys.stderr)
    print(f"{error.name}: {error.message}", file=sys.stderr, flush=True)


def load_weights(checkpoint: Checkpoint) -> Weights:
    """Reads a checkpoint with the lines that the real program prints."""
    print(f"Loading weights [None] from {checkpoint.path}", flush=True)
    weights = read_weights(checkpoint)
    config = "sd_xl_base.yaml" if weights.architecture == "sdxl" else "v1-inference.yaml"
    print(f"Creating model from config: configs/{config}", flush=True)
    return weights
