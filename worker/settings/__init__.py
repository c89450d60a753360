"""The worker's configuration: every environment variable, with its type, bounds, default and description.

A variable is one field in the group of its topic. The tables of docs/settings.md are generated from here, one for each
group. Secrets are `SecretStr`: only `get_secret_value` returns them in clear.
"""

from worker.settings.delivery_settings import LinkCheck, UnknownFieldRule
from worker.settings.environment_variables import misspelt, secrets_in, without_secrets
from worker.settings.limit_settings import AUTO_PIXELS
from worker.settings.model_settings import A1111_FOLDERS, LISTED_AT_START, MODEL_KINDS, ModelKind
from worker.settings.worker_settings import GROUPS, IMAGE_WEBUI_DIR, VOLUME, Settings, read_settings, variables

__all__ = [
    "A1111_FOLDERS",
    "AUTO_PIXELS",
    "GROUPS",
    "IMAGE_WEBUI_DIR",
    "LISTED_AT_START",
    "MODEL_KINDS",
    "VOLUME",
    "LinkCheck",
    "ModelKind",
    "Settings",
    "UnknownFieldRule",
    "misspelt",
    "read_settings",
    "secrets_in",
    "variables",
    "without_secrets",
]
