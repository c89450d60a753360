"""Registry of the forms in which jobs are sent. A new form: one module beside this one and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.contract.compat.client_form import NATIVE
from worker.contract.compat.diffusers import DIFFUSERS
from worker.contract.compat.model_cache import MODEL_CACHE
from worker.contract.compat.openai import OPENAI
from worker.contract.compat.webui_api import WEBUI_API
from worker.contract.compat.webui_body import WEBUI_BODY
from worker.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.contract.compat.client_form import Form

COMPAT = "compat"
"""The field that names a form which can't be told from ours by its shape."""
FORMS: tuple[Form, ...] = (OPENAI, WEBUI_API, DIFFUSERS, WEBUI_BODY, MODEL_CACHE)


def form_of(raw: Mapping[str, Any]) -> Form:
    """Return the form of an input.

    Raises:
        InvalidInput: `compat` names no form.
    """
    for form in FORMS:
        if not form.marks.isdisjoint(raw) and form.matches(raw):
            return form
    if raw.get(COMPAT):
        named = sorted(form.name for form in FORMS if COMPAT in form.marks)
        raise InvalidInput.at(COMPAT, f"must be one of {', '.join(named)}")
    return NATIVE
