"""``python -m tools.docs``: the generated tables of README and docs."""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tools import error_page, hub
from worker.errors import all_errors
from worker.settings import GROUPS, variables
from worker.settings.env_fields import variables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from worker.settings.env_fields import Variable
    from worker.settings.settings_group import SettingsGroup

ROOT = Path(__file__).resolve().parents[1]
HUB = ROOT / ".runpod" / "hub.json"
OPENAPI = ROOT / "docs" / "openapi.json"
COMMON_SETTINGS = (
    "DEFAULT_CHECKPOINT",
    "CIVITAI_API_KEY",
    "HF_TOKEN",
    "BUCKET_ENDPOINT_URL",
    "BUCKET_ACCESS_KEY_ID",
    "BUCKET_SECRET_ACCESS_KEY",
    "MAX_PIXELS",
    "JOB_TIMEOUT_S",
    "CONCURRENCY",
    "WEBUI_ARGS",
)
"""Environment variables that most endpoints set."""
BUSY_BARS = {
    "sync handler": "busy.against_synchronous",
    "async handler": "busy.against_asynchronous",
}
"""Label of each alternative in the chart, and the figure that it was measured for."""


def main(argv: list[str]) -> int:
    """Write every generated table anew, or with ``--check`` name the files that have drifted (exit 1)."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 when something drifted")
    options = parser.parse_args(argv)
    drifted = []
    for path in sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), HUB, OPENAPI]):
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        fresh = _fresh(path, text)
        if fresh != text:
            drifted.append(path.name)
            if not options.check:
                path.write_text(fresh, encoding="utf-8")
    for name in drifted:
        print(f"{name} {'has drifted; run `make docs`' if options.check else 'written'}", file=sys.stderr)
    return 1 if options.check and drifted else 0


def _fresh(path: Path, text: str) -> str:
    if path == HUB:
        return hub.render()
    if path == OPENAPI:
        return _openapi()
    return fill(text)


def _openapi() -> str:
    from worker.contract.openapi import openapi  # noqa: PLC0415 - builds the whole contract
    from worker.jobs.kinds import dispatch  # noqa: F401, PLC0415 - its kinds are a part of the contract

    return json.dumps(openapi(), indent=1) + "\n"


def fill(text: str) -> str:
    """Return `text` with what stands between ``<!-- table: NAME -->`` and ``<!-- end -->`` made anew."""

    def replace(match: re.Match[str]) -> str:
        return f"{match.group(1)}\n{table(match.group(2))}\n{match.group(3)}"

    return re.sub(r"(<!-- table: (\w+) -->)\n.*?(<!-- end -->)", replace, text, flags=re.DOTALL)


def table(name: str) -> str:
    """Return the table `name`: one of `TABLES`, or of the contract's own."""
    if name in TABLES:
        return TABLES[name]()
    if name.startswith("error_"):
        return error_page.tables()[name]
    return _contract_tables()[name]


@cache
def _contract_tables() -> dict[str, str]:
    from worker.contract.schema import tables  # noqa: PLC0415 - builds the whole contract
    from worker.jobs.kinds import dispatch  # noqa: F401, PLC0415 - its kinds are a part of the contract

    return dict(tables())


def settings_table() -> str:
    """Return the tables of every environment variable, a heading and a table for each group of `Settings`."""
    lines: list[str] = []
    for group in GROUPS:
        lines += [f"## {topic(group)}", "", *_variable_rows(variables_of(group)), ""]
    return "\n".join(lines).strip()


def topic(group: type[SettingsGroup]) -> str:
    """Return the topic of a group of settings: the first line of its docstring."""
    return (inspect.getdoc(group) or "").partition("\n")[0].rstrip(".")


def common_settings_table() -> str:
    """Return the table of `COMMON_SETTINGS`."""
    by_name = {name: variable for variable in variables() for name in variable.names}
    return "\n".join(_variable_rows(by_name[name] for name in COMMON_SETTINGS))


def _variable_rows(shown: Iterable[Variable]) -> list[str]:
    lines = ["| variable | type | default | meaning |", "|---|---|---|---|"]
    for variable in shown:
        names = " or ".join(f"`{name}`" for name in variable.names)
        kind = " \\| ".join(variable.choices) or variable.kind
        kind = f"{kind}, {variable.unit}" if variable.unit else kind
        value = "" if variable.default is None else str(variable.default)
        value = value.lower() if variable.kind == "bool" else value
        default = f"`{value}`" if value else ""
        lines.append(f"| {names} | {kind} | {default} | {variable.description} |")
    return lines


def errors_table() -> str:
    """Return the table of every error code."""
    lines = ["| code | fault | retryable | meaning |", "|---|---|---|---|"]
    lines += [f"| `{e.code}` | {e.fault} | {'yes' if e.retryable else 'no'} | {e.about} |" for e in all_errors()]
    return "\n".join(lines)


def figures_table() -> str:
    """Return the table of the benchmarks' last figures, and the machine that they come from."""
    folder = ROOT / "benchmarks" / "results"
    figures = json.loads((folder / "latest.json").read_text(encoding="utf-8"))
    machine = json.loads((folder / "machine.json").read_text(encoding="utf-8"))
    lines = ["| figure | measured | alternative in the same run | ratio | target |", "|---|---|---|---|---|"]
    for name, one in figures.items():
        if one["target"] is None and one["reference"] is None:
            continue
        other = f"{one['reference']:g} ({machine['against'].get(name, '')})" if one["reference"] is not None else ""
        ratio = f"{one['ratio']:.2f}" if one["ratio"] is not None else ""
        met = {True: ", met", False: ", **missed**", None: ""}[one["met"]]
        lines.append(f"| {name} | {one['value']:g} {one['unit']} | {other} | {ratio} | {one['target'] or ''}{met} |")
    gpu = machine["gpu"] or "no GPU: the stand-in WebUI, whose steps take the time that they are told to"
    where = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Python {machine['python']}; {gpu}"
    )
    return "\n".join([*lines, "", f"Measured {machine['measured']} on {where}."])


def busy_chart() -> str:
    """Return a chart of the share of time in which the GPU is busy: this worker and the alternatives."""
    figures = json.loads((ROOT / "benchmarks" / "results" / "latest.json").read_text(encoding="utf-8"))
    bars = {label: figures[name]["reference"] for label, name in BUSY_BARS.items()}
    bars["this worker"] = figures["busy.against_synchronous"]["value"]
    labels = ", ".join(f'"{label}"' for label in bars)
    values = ", ".join(f"{100 * share:.0f}" for share in bars.values())
    lines = [
        "```mermaid",
        "xychart-beta",
        '    title "Time in which the GPU is busy, %"',
        f"    x-axis [{labels}]",
        "    y-axis 0 --> 100",
        f"    bar [{values}]",
        "```",
    ]
    return "\n".join(lines)


def modules_table() -> str:
    """Return every module with the first sentence of its docstring, folder by folder."""
    lines: list[str] = []
    programs = [path for name in ("worker", "standin", "tools") for path in sorted((ROOT / name).rglob("*.py"))]
    for folder in dict.fromkeys(path.parent for path in programs):
        package = folder / "__init__.py"
        about = _first_line(package) if package.exists() else ""
        head = f"## {folder.relative_to(ROOT).as_posix()}"
        lines += ["", head, "", about, "", "| module | what it is |", "|---|---|"]
        modules = [path for path in sorted(folder.glob("*.py")) if path != package]
        lines += [f"| `{path.stem}` | {_first_line(path)} |" for path in modules]
    return "\n".join(lines).strip()


def _first_line(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n\n", maxsplit=1)[0].replace("\n", " ").replace("|", "\\|")


TABLES: dict[str, Callable[[], str]] = {
    "figures": figures_table,
    "busy_chart": busy_chart,
    "settings": settings_table,
    "common_settings": common_settings_table,
    "errors": errors_table,
    "modules": modules_table,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
