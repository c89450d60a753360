"""The check that the operator's settings name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from worker.errors import SettingsInvalid

if TYPE_CHECKING:
    from worker.safety.check import ImageCheck
    from worker.safety.gate import Gate
    from worker.settings import Settings

OFF = ("", "off")


def load(settings: Settings) -> Gate | None:
    """Return what judges pictures, None where nobody does.

    Raises:
        SettingsInvalid: the check can't be loaded, or does not know the labels; the worker must not start without it.
    """
    if settings.image_check.lower() in OFF:
        return None
    from worker.safety.gate import Gate  # noqa: PLC0415 - Pillow's filters, for those who check

    check = _check(settings)
    labels = tuple(label.strip() for label in settings.image_check_labels.split(",") if label.strip())
    unknown = [label for label in labels if label not in check.labels]
    if unknown or not labels:
        raise SettingsInvalid(
            f"IMAGE_CHECK_LABELS={settings.image_check_labels!r}: the check knows {', '.join(check.labels) or 'none'}"
        )
    return Gate(check, labels, settings.image_check_threshold, settings.image_check_action)


def _check(settings: Settings) -> ImageCheck:
    if settings.image_check.lower() == "onnx":
        if settings.image_check_model is None:
            raise SettingsInvalid("IMAGE_CHECK=onnx needs IMAGE_CHECK_MODEL, the classifier's file")
        from worker.safety.onnx import OnnxCheck  # noqa: PLC0415 - as above

        return OnnxCheck(settings.image_check_model)
    module, _, name = settings.image_check.partition(":")
    try:
        made: ImageCheck = getattr(importlib.import_module(module), name)(settings)
    except SettingsInvalid:
        raise
    except Exception as error:  # the plug-in's own code: whatever it raises, the worker must not start without it
        raise SettingsInvalid(
            f"IMAGE_CHECK={settings.image_check!r}: can't be loaded: {type(error).__name__}: {error}",
            hint="onnx, or package.module:factory of a module that the worker can import.",
        ) from error
    return made
