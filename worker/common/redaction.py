"""Credentials in URLs: found, so that they can be held back, and hidden in texts."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

HIDDEN = "***"
_CREDENTIAL_PATTERN = (
    r"[\w.-]*(?:key|token|secret|signature|password|passwd|pwd|credential|authorization)[\w.-]*|sig|auth|pass"
)
_NO_SECRETS = ("PWD", "OLDPWD")
"""The shell's working folders, not passwords."""
_CREDENTIAL_NAME = re.compile(_CREDENTIAL_PATTERN, re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/\s?#\"'<>]*@")
_QUERY_VALUE = re.compile(rf"(?<=[?&;])({_CREDENTIAL_PATTERN})=[^&;#\s\"'<>]+", re.IGNORECASE)


def hide_url_credentials(text: str) -> str:
    """Return `text` with user names, passwords and key-like query values of every URL in it replaced by ``***``."""
    if "://" in text:
        text = _USERINFO.sub(f"{HIDDEN}@", text)
    return _QUERY_VALUE.sub(rf"\1={HIDDEN}", text) if "=" in text else text


def url_credentials(url: str) -> list[str]:
    """Return the user names' passwords and key-like query values in `url`, as written and decoded."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return []
    userinfo, at, _ = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    found = [password or user] if at else []
    found += [value for name, value in parse_qsl(parts.query) if is_secret_name(name)]
    found += [pair.partition("=")[2] for pair in parts.query.split("&") if is_secret_name(pair.partition("=")[0])]
    return list(dict.fromkeys(each for value in found for each in (value, unquote(value)) if each))


def is_secret_name(name: str) -> bool:
    """Return whether a variable or parameter of this name usually holds a secret: `…_TOKEN`, `api_key`, `sig`."""
    return name not in _NO_SECRETS and _CREDENTIAL_NAME.fullmatch(name) is not None
