"""YAML as people write it, with a bound on aliases, and each name once in a mapping: one would be dropped. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Hashable


MOST_VALUES = 1_000_000
"""Of a whole text: a few lines of aliases of aliases would make more than any memory holds."""


class _UniqueKeys(yaml.SafeLoader):
    """The safe loader, but for names that are given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - as in yaml
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen and key.value != "<<":
                message = f"{key.value[:80]!r} is given twice"
                raise yaml.constructor.ConstructorError("in a mapping", node.start_mark, message, key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep=deep)


class InvalidYaml(yaml.YAMLError):
    """A text that is no usable YAML; the message says where and why in one line."""


def load_yaml(text: str) -> Any:
    """Return what a YAML text says.

    Raises:
        InvalidYaml: it can't be read, gives a name twice, or repeats its parts without bounds.
    """
    try:
        loader = _UniqueKeys(text)
        try:
            content = loader.get_single_data()
        finally:
            loader.dispose()
        if _values(content, {}) > MOST_VALUES:
            raise InvalidYaml(f"its aliases repeat more than {MOST_VALUES} values")
    except yaml.MarkedYAMLError as error:
        raise InvalidYaml(_in_one_line(error)) from None
    except yaml.reader.ReaderError as error:
        raise InvalidYaml(f"position {error.position}: {error.reason}") from None
    except RecursionError:
        raise InvalidYaml("it is nested too deeply, or a part contains itself") from None
    except (ValueError, TypeError, AttributeError, OverflowError) as error:  # of values such as 2026-13-45
        raise InvalidYaml(f"a value can't be read: {error}") from None
    return content


def _in_one_line(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return f"{place}{error.problem or error.context}"


def _values(content: object, known: dict[int, int]) -> int:
    """Return how many values there are when every alias is written out; each part is counted once."""
    if not isinstance(content, (dict, list)):
        return 1
    if id(content) not in known:
        parts = content.values() if isinstance(content, dict) else content
        known[id(content)] = 1 + sum(_values(part, known) for part in parts)
    return known[id(content)]
