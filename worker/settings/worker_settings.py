"""The worker's configuration: all groups in one, and what follows from several of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr, ValidationError

from worker.common.redaction import hide_url_credentials, url_credentials
from worker.errors import SettingsInvalid
from worker.settings.delivery_settings import DeliverySettings, ResultCacheSettings
from worker.settings.env_fields import EnvironmentSource, Variable, complaints, variables_of
from worker.settings.limit_settings import LimitSettings, NetworkSettings
from worker.settings.model_settings import A1111_FOLDERS, FOLDERS, ModelSettings
from worker.settings.picture_settings import PictureSettings
from worker.settings.platform_settings import LogSettings, PlatformSettings
from worker.settings.recovery_settings import DeadlineSettings, RecoverySettings, ThroughputSettings
from worker.settings.serving_settings import HttpSettings, MetricsSettings
from worker.settings.webui_settings import WebUISettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.settings.model_settings import ModelKind
    from worker.settings.settings_group import SettingsGroup


VOLUME = Path("/runpod-volume")
IMAGE_WEBUI_DIR = Path("/opt/webui")
"""Folder of A1111 in the image, used when WEBUI_DIR says nothing."""
REPLACED = {"RECYCLE_GROWTH_BYTES": "set RECYCLE_MEMORY_SHARE, 0 to 1, instead"}
"""Variables of earlier versions that would silently have no effect, and their successors."""


class Settings(
    WebUISettings,
    ModelSettings,
    DeadlineSettings,
    RecoverySettings,
    ThroughputSettings,
    ResultCacheSettings,
    DeliverySettings,
    NetworkSettings,
    LimitSettings,
    PictureSettings,
    MetricsSettings,
    HttpSettings,
    LogSettings,
    PlatformSettings,
):
    """The worker's configuration; immutable. `read_settings` makes one from a mapping of environment variables."""

    @property
    def results_root(self) -> Path | None:
        """Folder in which answers are kept; None: they are not kept."""
        if self.results_dir is not None:
            return self.results_dir
        return VOLUME / "worker-results" if self.in_production and VOLUME.is_dir() else None

    @property
    def result_cache_root(self) -> Path:
        """The folder of the result cache on the volume."""
        return self.result_cache_dir if self.result_cache_dir is not None else self.models_root.parent / "result-cache"

    @property
    def faces_root(self) -> Path:
        """The folder of the references of persons."""
        return self.faces_dir or self.models_root / "faces"

    @property
    def models_root(self) -> Path:
        """The root of the model folders."""
        if self.models_dir is not None:
            return self.models_dir
        if VOLUME.is_dir():
            return VOLUME / "models"
        return self.webui_dir / "models" if self.webui_dir is not None and self.has_checkout_models else Path("models")

    @property
    def has_checkout_models(self) -> bool:
        """True if the models are where A1111 itself keeps them: in a checkout of the user's, not in the image's."""
        is_elsewhere = self.models_dir is not None or VOLUME.is_dir()
        return not is_elsewhere and self.webui_dir is not None and self.webui_dir != IMAGE_WEBUI_DIR

    def folder(self, kind: ModelKind) -> Path:
        """Return the folder of models of `kind`.

        It is the one of our name, or in a checkout of A1111 the one of A1111's. Where nothing is in there, it is the
        one of the other names that has something, if exactly one does.
        """
        own: Path | None = getattr(self, f"{kind}_dir")
        if own is not None:
            return own
        ours = self.models_root / FOLDERS[kind]
        theirs = [self.models_root / name for name in A1111_FOLDERS.get(kind, ())]
        if self.has_checkout_models and kind == "embedding":
            theirs = [self.models_root.parent / FOLDERS[kind]]
        first, *others = [*theirs, ours] if self.has_checkout_models else [ours, *theirs]
        used = [] if _has_files(first) else [folder for folder in others if _has_files(folder)]
        return used[0] if len(used) == 1 else first

    def secrets(self) -> list[str]:
        """Return every secret value, and the credentials within every URL."""
        found: list[str] = []
        for variable in variables():
            value = getattr(self, variable.attribute)
            if isinstance(value, SecretStr):
                found.append(value.get_secret_value())
            elif variable.kind == "url" and value is not None:
                found += url_credentials(value)
        return found

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, hide_url_credentials(value) if isinstance(value, str) else value


def _has_files(folder: Path) -> bool:
    try:
        return any(not entry.name.startswith(".") for entry in folder.iterdir())
    except OSError:
        return False


GROUPS: tuple[type[SettingsGroup], ...] = Settings.__bases__
"""In the order of docs/settings.md."""


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings in `environment`.

    Raises:
        SettingsInvalid: names every bad variable, its value (unless secret) and what is allowed.
    """
    replaced = [f"{old} is not a setting any more: {new}" for old, new in REPLACED.items() if environment.get(old)]
    if replaced:
        raise SettingsInvalid("; ".join(replaced), hint="docs/settings.md lists every variable, its type and default.")
    try:
        return Settings.model_validate(EnvironmentSource(Settings, environment)())
    except ValidationError as error:
        raise SettingsInvalid(
            "; ".join(complaints(error, variables(), environment)),
            hint="docs/settings.md lists every variable, its type and default.",
        ) from None


def variables() -> Iterator[Variable]:
    """Yield every variable, group by group."""
    for group in GROUPS:
        yield from variables_of(group)
