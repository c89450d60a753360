r"""The operator's rules on prompts: which words or patterns are refused or flagged. Pure; off when there are no rules.

From YAML::

    - name: real people
      action: refuse
      terms: [john doe]
      patterns: ['\bjane\s+doe\b']

Texts are judged as the model is given them: cleaned by ftfy and without HTML entities, as the text encoder does, and
without case, accents, control and invisible characters and the WebUI's own marks. Terms match whole words, whatever
digits or marks stand beside or between them. A prompt that changes on the way is judged as it is at each step. The
rules see the prompts after wildcards were filled in. A refused job is told the rule's name, never its terms.

Patterns are matched by `regex`, which reads what `re` reads and can be told when to stop, in any thread.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import ftfy
import regex
import yaml

from worker.common.clock import running
from worker.common.yaml_text import load_yaml
from worker.contract.operator.prompt_schedule import Steps, texts_of
from worker.contract.rules.prompt_syntax import without_comments
from worker.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Action = Literal["refuse", "flag"]
JUDGE_S = 0.5
"""For all rules on all texts of a job; a pattern that backtracks must not hold up everybody else's jobs."""
DEFAULT_STEPS = 50
"""A1111's, where a request names none."""
_SPACE = re.compile(r"\s+")
_TAG = re.compile(r"<\w+:[^<>]*>")
_PARTING = re.compile(r"\[(?:SEP|SKIP)\]|\bBREAK\b|\|")
"""Marks at which extensions and scripts part a prompt."""
_MARKS = re.compile(r"[\W\d_]+")
_QUOTES = re.compile(r"[\"'`\\]")
_LETTER = r"[^\W\d_]"
_INVISIBLE = regex.compile(r"(?!\s)[\p{Mn}\p{Cf}\p{Cc}\p{Cs}]")
_WIDTHLESS = regex.compile(r"[\p{Cf}\p{Cc}]")
_EMPHASIS = re.compile(r"[()\[\]{}\\|]|:\s*-?\d+(?:\.\d+)?")


class PolicyInvalid(ValueError):
    """The YAML is not a list of rules; the message names the rule and what is wrong."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `patterns` are compiled from its terms and patterns."""

    name: str
    action: Action
    patterns: tuple[regex.Pattern[str], ...]


@dataclass(frozen=True, slots=True)
class PolicyMatch:
    """A rule that a text meets; or, with `unjudged`, one that took too long to tell, which refuses."""

    rule: str
    action: Action
    path: str
    unjudged: bool = False


def read_policy(text: str) -> tuple[Rule, ...]:
    """Return the rules in a YAML text.

    Raises:
        PolicyInvalid: not YAML, or not of this shape.
    """
    try:
        content = load_yaml(text)
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
            *(_whole_words(str(term)) for term in terms),
            *(regex.compile(str(pattern), regex.IGNORECASE) for pattern in patterns),
        ]
    except regex.error as error:
        raise PolicyInvalid(f"{name}: a bad pattern: {error}") from None
    return Rule(name, action, tuple(compiled))


def _whole_words(term: str) -> regex.Pattern[str]:
    """Return the pattern of a term that begins and ends as words do: a digit or ``_`` beside it is no part of it."""
    plain = simplified(term)
    begin = rf"(?<!{_LETTER})" if plain[:1].isalpha() else ""
    end = rf"(?!{_LETTER})" if plain[-1:].isalpha() else ""
    return regex.compile(f"{begin}{re.escape(plain)}{end}")


def cleaned(text: str) -> str:
    """Return `text` as CLIP's text encoder cleans it: broken encodings mended, HTML entities read, twice."""
    return html.unescape(html.unescape(ftfy.fix_text(text)))


def simplified(text: str) -> str:
    """Return `text` without case, accents, invisible characters, the WebUI's emphasis marks and repeated spaces."""
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKD", text))
    return _SPACE.sub(" ", _EMPHASIS.sub("", plain)).casefold().strip()


def _readings(text: str) -> set[str]:
    """Return the ways in which a text may reach the model.

    The WebUI's emphasis marks part words for the model, as signs without a width do; its scripts and extensions part
    prompts at marks of their own, lines of arguments are read without quotes, and what stands between words is a matter
    of taste.
    """
    written = {text, cleaned(text)}
    written |= {_QUOTES.sub("", each) for each in written}
    forms = written | {_PARTING.sub(" ", each) for each in written}
    found = {simplified(each) for each in forms | {_parted(form) for form in forms}}
    return found | {_MARKS.sub(" ", each).strip() for each in found}


def _parted(text: str) -> str:
    """Return `text` with a space for each emphasis mark and each sign without a width."""
    return str(_WIDTHLESS.sub(" ", _EMPHASIS.sub(" ", text)))


def judge(
    texts: Iterable[tuple[str, str | None]],
    rules: Sequence[Rule],
    *,
    passes: tuple[Steps, ...] = (Steps(DEFAULT_STEPS),),
    limit_s: float = JUDGE_S,
) -> list[PolicyMatch]:
    """Return the rules that `texts`, ``(path in the job, prompt)``, meet, each at most once per text.

    Args:
        texts: The prompts.
        rules: The operator's.
        passes: Those that the prompts are used in.
        limit_s: Where the rules take longer altogether, the one that did not end is found too, in any thread.
    """
    if not rules:
        return []
    found: list[PolicyMatch] = []
    end = running() + limit_s
    for path, text in texts:
        rule = rules[0]
        try:
            readings = _every_reading(text, passes, end) if text else set()
            for rule in rules:
                if _meets(rule, readings, end):
                    found.append(PolicyMatch(rule.name, rule.action, path))
        except TimeoutError:
            return [*found, PolicyMatch(rule.name, "refuse", path, unjudged=True)]
    return found


def _every_reading(text: str, passes: tuple[Steps, ...], end: float) -> set[str]:
    """Return the readings of a prompt and of all that it becomes. Raises TimeoutError where that takes beyond `end`."""
    readings: set[str] = set()
    for source in _sources(text):
        readings |= _readings(source)
        for each in texts_of(source, passes):
            if running() > end:
                raise TimeoutError
            readings |= _readings(each)
    return readings


def _sources(text: str) -> set[str]:
    """Return a prompt with and without its comments and its tags.

    The WebUI takes both out before anything else, out of the midst of words too, unless a job has them read.
    """
    commented = {text, without_comments(text)}
    return commented | {_TAG.sub("", each) for each in commented}


def _meets(rule: Rule, readings: Iterable[str], end: float) -> bool:
    """Return whether a pattern of the rule is found. Raises TimeoutError where that is not known at `end`.

    Other threads run meanwhile, unlike with `re`.
    """
    for pattern in rule.patterns:
        for plain in readings:
            left = end - running()
            if left <= 0:
                raise TimeoutError
            if pattern.search(plain, timeout=left, concurrent=True):
                return True
    return False


_VERDICTS = {False: "is refused by", True: "takes too long to be judged by"}


def enforce(found: Sequence[PolicyMatch]) -> list[str]:
    """Return warnings for what is flagged.

    Raises:
        InvalidInput: something is refused.
    """
    refused = [
        Problem(one.path, f"{_VERDICTS[one.unjudged]} this endpoint's rule {one.rule!r}")
        for one in found
        if one.action == "refuse"
    ]
    if refused:
        raise InvalidInput(refused)
    return [f"{one.path}: flagged by this endpoint's rule {one.rule!r}" for one in found]
