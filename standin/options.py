"""The WebUI's options: values that were set, defaults behind them, and `config.json` on disk."""

from __future__ import annotations

import json
import sys
from importlib import resources
from typing import TYPE_CHECKING, Any

from standin.errors import WebUIError

if TYPE_CHECKING:
    from pathlib import Path

RESTRICTED_FROM_API = frozenset({"api_enable_requests", "api_forbid_local_requests", "api_useragent"})
NEVER_SAVED = frozenset({"profiling_explanation", "infotext_explanation", "sd_vae_explanation", "settings_in_ui"})


def default_options() -> dict[str, Any]:
    """Every option that `GET /sdapi/v1/options` lists, with its default."""
    text = resources.files("standin").joinpath("data/options.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


class Options:
    """The WebUI's `opts`.

    `data` holds only what was loaded from `config.json` or set since. A key that is not in there is not restored
    after an
    override, which is how overrides leak from job to job on a fresh machine.
    """

    def __init__(self, path: Path, *, hidden: dict[str, Any] | None = None, frozen: bool = False) -> None:
        self.path = path
        self.defaults = default_options()
        self.hidden = dict(hidden or {})
        """Options of extensions: can be set, are not listed."""
        self.frozen = frozen
        self.data: dict[str, Any] = {}

    def load(self) -> None:
        """Reads `config.json`; a missing file is an empty one, a broken one is reported and ignored."""
        try:
            loaded = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except ValueError:
            print(
                f'*** Could not load settings\n*** The config file "{self.path}" is likely corrupted', file=sys.stderr
            )
            return
        if isinstance(loaded, dict):
            self.data = loaded

    def save(self) -> None:
        """Writes what is set to `config.json`."""
        if self.frozen:
            raise WebUIError("AssertionError", "saving settings is disabled")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.data, indent=4, ensure_ascii=False), encoding="utf-8")

    def get(self, key: str) -> Any:
        """The value that counts."""
        return self.data[key] if key in self.data else self.default(key)

    def default(self, key: str) -> Any:
        """The default of a known option; raises KeyError in the WebUI's shape for another."""
        if key in self.defaults:
            return self.defaults[key]
        if key in self.hidden:
            return self.hidden[key]
        raise WebUIError("KeyError", repr(key))

    def set(self, key: str, value: Any) -> bool:
        """Sets an option without a type check; unknown keys raise, restricted ones are silently left alone."""
        if self.data.get(key) == value:
            return False
        self.default(key)
        if key in RESTRICTED_FROM_API or key in NEVER_SAVED:
            return False
        if self.frozen:
            raise WebUIError("AssertionError", "changing settings is disabled")
        self.data[key] = value
        return True

    def listed(self) -> dict[str, Any]:
        """Return the answer of `GET /sdapi/v1/options`: whole numbers come as floats once they were set."""
        return {key: self._shown(key, default) for key, default in self.defaults.items()}

    def _shown(self, key: str, default: Any) -> Any:
        if key not in self.data:
            return default
        value = self.data[key]
        if value is None or isinstance(default, bool) or not isinstance(default, int | float) or not default:
            return value
        try:
            return float(value)
        except (TypeError, ValueError):
            raise WebUIError(
                "ValidationError", f"1 validation error for OptionsModel\n{key}\n  value is not a valid float"
            ) from None
