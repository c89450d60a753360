"""A docstring begins with a noun phrase or an imperative, not with a clause in place of a noun."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.support.documents.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = [path for folder in ("worker", "standin", "tools") for path in sorted((ROOT / folder).rglob("*.py"))]
CLAUSES = {
    "that",
    "what",
    "whatever",
    "who",
    "whoever",
    "whose",
    "how",
    "where",
    "when",
    "which",
    "whether",
    "why",
    "see",
}
"""First words of clauses, and of references to another docstring."""


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each docstring, those below assignments too."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not body:
            continue
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        before = [node if documented else None, *body]
        for owner, statement in zip(before, body, strict=False):
            described = owner is node or isinstance(owner, (ast.Assign, ast.AnnAssign))
            if described and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                text = statement.value.value
                if isinstance(text, str):
                    yield statement.lineno, text


@pytest.mark.parametrize("root", ["worker", "standin", "tools"])
def test_a_docstring_does_not_begin_with_a_clause(root: str) -> None:
    found = []
    for path in MODULES:
        if path.relative_to(ROOT).parts[0] == root:
            for line, text in docstrings(ast.parse(path.read_text(encoding="utf-8"))):
                first = (text.split() or [""])[0].strip(",:;.").split("'")[0].lower()
                if first in CLAUSES:
                    found.append(f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}")
    assert found == []


def test_docstrings_of_modules_classes_functions_and_values_are_all_looked_at() -> None:
    tree = ast.parse('"""a"""\nX = 1\n"""b"""\nclass C:\n    """c"""\n    def f(self):\n        """d"""\n        "e"\n')
    assert [text for _, text in sorted(docstrings(tree))] == ["a", "b", "c", "d"]
