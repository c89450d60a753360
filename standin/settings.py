"""The stand-in's own settings: `STANDIN_*` environment variables, read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations and switches; all times in seconds."""

    import_seconds: float = 0.0
    """Before the port opens (the real one imports torch meanwhile)."""
    load_seconds: float = 0.05
    """To load a checkpoint."""
    step_seconds: float = 0.005
    """Per sampling step."""
    grain: float = 0.0
    """Noise in the pictures, 0 to 1: at 0.05 a PNG is about as large as that of a photograph."""
    demo_models: bool = False
    """Write tiny models into the given folders where they are empty."""
    extensions: tuple[str, ...] = ()
    """Extensions that are installed, by short name (`controlnet`, `adetailer`, …)."""
    annotators: tuple[str, ...] = ()
    """ControlNet's preprocessors whose weights are there, or `all`; those that need none always work."""
    faults: str = ""
    """Faults that are on from the start: JSON, or `name[:key=value…]` separated by commas."""
    port_file: str = ""
    """A file that gets the port number once the port is open."""
    record_file: str = ""
    """A file that gets every request as a line of JSON."""
    vram_gib: float = 0.0
    """GPU memory in `GET /memory`; 0: no GPU, as on a machine without one."""
    torch_without_cuda: bool = False
    """A model in pieces makes no picture at all then, in place of a wrong one."""


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings of `environment`; raises ValueError naming the variable that is not a number."""
    plain = Settings()

    def number(name: str, default: float) -> float:
        text = environment.get(name, "")
        try:
            return float(text) if text else default
        except ValueError:
            raise ValueError(f"{name} must be a number, not {text!r}") from None

    return Settings(
        import_seconds=number("STANDIN_IMPORT_SECONDS", plain.import_seconds),
        load_seconds=number("STANDIN_LOAD_SECONDS", plain.load_seconds),
        step_seconds=number("STANDIN_STEP_SECONDS", plain.step_seconds),
        grain=number("STANDIN_GRAIN", plain.grain),
        demo_models=environment.get("STANDIN_DEMO_MODELS", "").lower() in TRUE_WORDS,
        extensions=_words(environment.get("STANDIN_EXTENSIONS", "")),
        annotators=_words(environment.get("STANDIN_ANNOTATORS", "")),
        faults=environment.get("STANDIN_FAULTS", ""),
        port_file=environment.get("STANDIN_PORT_FILE", ""),
        record_file=environment.get("STANDIN_RECORD_FILE", ""),
        vram_gib=number("STANDIN_VRAM_GIB", 0.0),
        torch_without_cuda=environment.get("STANDIN_TORCH_WITHOUT_CUDA", "").lower() in TRUE_WORDS,
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
