r"""The operator's rules on prompts: which words or patterns are refused or flagged. Pure; off when there are no rules.

From YAML::

    - name: real people
      action: refuse
      terms: [john doe]
      patterns: ['\bjane\s+doe\b']

Texts are compared without case, accents, zero-width characters and repeated spaces; terms match whole words. The rules
see the prompts after wildcards were filled in. A refused job is told the rule's name, never its terms.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import yaml

from worker.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Action = Literal["refuse", "flag"]
_SPACE = re.compile(r"\s+")
_TAG = re.compile(r"<\w+:[^<>]*>")
_EMPHASIS = re.compile(r"[()\[\]{}\\|]|:\s*-?\d+(?:\.\d+)?")


class PolicyInvalid(ValueError):
    """The YAML is not a list of rules; the message names the rule and what is wrong."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `patterns` are compiled from its terms and patterns."""

    name: str
    action: Action
    patterns: tuple[re.Pattern[str], ...]


@dataclass(frozen=True, slots=True)
class PolicyMatch:
    """A rule that a text meets."""

    rule: str
    action: Action
    path: str


def read_policy(text: str) -> tuple[Rule, ...]:
    """Return the rules in a YAML text.

    Raises:
        PolicyInvalid: not YAML, or not of this shape.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PolicyInvalid(f"not YAML: {error}") from None
    if content is None:
        return ()
    if not isinstance(content, list):
        raise PolicyInvalid("must be a list of rules")
    return tuple(_read_rule(index, body) for index, body in enumerate(content))


def _read_rule(index: int, body: Any) -> Rule:
    if not isinstance(body, dict) or not body.get("name"):
        raise PolicyInvalid(f"rule {index}: must be a mapping with a name")
    name, action = str(body["name"]), body.get("action", "refuse")
    if action not in ("refuse", "flag"):
        raise PolicyInvalid(f"{name}: action must be refuse or flag, not {action!r}")
    terms, patterns = body.get("terms") or [], body.get("patterns") or []
    if not isinstance(terms, list) or not isinstance(patterns, list) or not (terms or patterns):
        raise PolicyInvalid(f"{name}: needs a list of terms or of patterns")
    try:
        compiled = [
            *(re.compile(rf"(?<!\w){re.escape(simplified(str(term)))}(?!\w)") for term in terms),
            *(re.compile(str(pattern), re.IGNORECASE) for pattern in patterns),
        ]
    except re.error as error:
        raise PolicyInvalid(f"{name}: a bad pattern: {error}") from None
    return Rule(name, action, tuple(compiled))


def simplified(text: str) -> str:
    """Return `text` without case, accents, invisible characters, the WebUI's emphasis marks and repeated spaces."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in plain if unicodedata.category(letter) not in {"Mn", "Cf"})
    return _SPACE.sub(" ", _EMPHASIS.sub("", plain)).casefold().strip()


def judge(texts: Iterable[tuple[str, str | None]], rules: Sequence[Rule]) -> list[PolicyMatch]:
    """Return the rules that `texts`, ``(path in the job, prompt)``, meet, each at most once per text."""
    found: list[PolicyMatch] = []
    for path, text in texts:
        if not rules or not text:
            continue
        # The WebUI takes tags out of the midst of words, and its scripts put a space where they part prompts.
        readings = {simplified(each) for each in (text, _TAG.sub("", text), text.replace("|", " "))}
        found += [
            PolicyMatch(rule.name, rule.action, path)
            for rule in rules
            if any(pattern.search(plain) for pattern in rule.patterns for plain in readings)
        ]
    return found


def enforce(found: Sequence[PolicyMatch]) -> list[str]:
    """Return warnings for what is flagged.

    Raises:
        InvalidInput: something is refused.
    """
    refused = [
        Problem(one.path, f"is refused by this endpoint's rule {one.rule!r}") for one in found if one.action == "refuse"
    ]
    if refused:
        raise InvalidInput(refused)
    return [f"{one.path}: flagged by this endpoint's rule {one.rule!r}" for one in found]
