"""Moderation as the operator's settings ask for it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from worker.errors import SettingsInvalid

if TYPE_CHECKING:
    from worker.judges.image_check import ImageCheck
    from worker.judges.moderation import ModerationFilter
    from worker.settings import Settings

OFF = ("", "off")


def load_moderation(settings: Settings) -> ModerationFilter | None:
    """Return the filter of finished pictures, None where there is none.

    Raises:
        SettingsInvalid: the check can't be loaded, or does not know the labels; the worker must not start without it.
    """
    if settings.image_check.lower() in OFF:
        return None
    from worker.judges.moderation import ModerationFilter, ModerationJudge  # noqa: PLC0415 - Pillow's filters, for those who check

    check = _check(settings)
    labels = tuple(label.strip() for label in settings.image_check_labels.split(",") if label.strip())
    unknown = [label for label in labels if label not in check.labels]
    if unknown or not labels:
        raise SettingsInvalid(
            f"IMAGE_CHECK_LABELS={settings.image_check_labels!r}: the check knows {', '.join(check.labels) or 'none'}"
        )
    judge = ModerationJudge(check, labels, settings.image_check_threshold)
    return ModerationFilter(judge, settings.image_check_action)


def _check(settings: Settings) -> ImageCheck:
    if settings.image_check.lower() == "onnx":
        if settings.image_check_model is None:
            raise SettingsInvalid("IMAGE_CHECK=onnx needs IMAGE_CHECK_MODEL, the classifier's file")
        from worker.judges.classifier import OnnxCheck  # noqa: PLC0415 - as above

        return OnnxCheck(settings.image_check_model)
    hint = "onnx, or package.module:factory of a module that the worker can import."
    made: ImageCheck = load_plugin(settings.image_check, settings, variable="IMAGE_CHECK", hint=hint)
    return made


def load_plugin(place: str, settings: Settings, *, variable: str, hint: str) -> Any:
    """Return what the factory at `place`, ``package.module:factory``, makes of the settings.

    Raises:
        SettingsInvalid: it can't be imported, or fails; names `variable`.
    """
    module, _, name = place.partition(":")
    try:
        return getattr(importlib.import_module(module), name)(settings)
    except SettingsInvalid:
        raise
    except Exception as error:  # the plug-in's own code: whatever it raises, the worker must not start without it
        raise SettingsInvalid(
            f"{variable}={place!r}: can't be loaded: {type(error).__name__}: {error}", hint=hint
        ) from error
