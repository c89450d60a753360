"""YAML in which a name may stand only once in a mapping: of two values one would be dropped without a word. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Hashable


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


def load_yaml(text: str) -> Any:
    """Return what a YAML text says. Raises yaml.YAMLError: it can't be read, or gives a name twice."""
    loader = _UniqueKeys(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
