"""``python -m worker deploy``: make a RunPod endpoint of this worker, or change one; the plan is shown first."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from typing import TYPE_CHECKING, Any

from worker.cli.deploy_plan import NEW, Found, PlanRefused, Step, Wanted, plan
from worker.cli.presets import CUDA_VERSIONS, GPU_TYPES, INIT_TIMEOUT_S, PRESETS
from worker.cli.runpod_rest import ADDRESS, Rest, RestFailed
from worker.errors import WorkerError
from worker.settings import read_settings, variables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

USAGE = 2
_MARGIN_S = 60
"""RunPod's own deadline lies this much behind the worker's, so that the worker's answer comes first."""


class _Misuse(Exception):
    """The command line can't be followed."""


def main(
    argv: list[str],
    *,
    environment: Mapping[str, str] = os.environ,
    ask: Callable[[str], str] = input,
    tty: bool | None = None,
) -> int:
    """Show what would change on RunPod and, once it is confirmed (or with ``--yes``), do it.

    Without RUNPOD_API_KEY, ``--dry-run`` plans for an empty account. Exit 0 done or nothing to do, 1 RunPod refused or
    the answer was no, 2 usage.
    """
    options = _parser().parse_args(argv)
    key = environment.get("RUNPOD_API_KEY", "").strip()
    if not key.isascii() or not key.isprintable():
        print("deploy: RUNPOD_API_KEY must be plain ASCII text on one line", file=sys.stderr)
        return USAGE
    try:
        return _run(options, Rest(key, options.api) if key else None, ask, sys.stdin.isatty() if tty is None else tty)
    except _Misuse as error:
        print(f"deploy: {error}", file=sys.stderr)
        return USAGE
    except (RestFailed, PlanRefused) as error:
        print(f"deploy: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace, rest: Rest | None, ask: Callable[[str], str], tty: bool) -> int:  # noqa: FBT001 - private, named at its only call
    wanted = _wanted(options)
    _unknown_gpus(options.gpu or ())
    if rest is None and not options.dry_run:
        raise _Misuse("RUNPOD_API_KEY is not set (console: Settings, API keys); --dry-run needs none")
    steps = plan(wanted, _found(rest))
    print("\n".join(_describe(step) for step in steps))
    if rest is None or options.dry_run or all(step.verb == "keep" for step in steps):
        return 0
    if not options.yes:
        if not tty:
            raise _Misuse("this is no terminal to ask on: add --yes or --dry-run")
        if ask("Do it? [y/N] ").strip().lower() not in {"y", "yes"}:
            return 1
    endpoint = _apply(rest, steps)
    print(f"endpoint {endpoint}: https://api.runpod.ai/v2/{endpoint}/run")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker deploy", description=main.__doc__)
    parser.add_argument("--image", required=True, type=_word, help="the image, with its tag, as RunPod pulls it")
    parser.add_argument(
        "--name", type=_word, default="a1111-worker", help="of template, endpoint and volume (%(default)s)"
    )
    parser.add_argument("--preset", choices=PRESETS, default="sd15", help="variables, GPUs and scaling (%(default)s)")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="a variable; may be repeated")
    parser.add_argument("--gpu", action="append", metavar="TYPE", help="in place of the preset's GPU types, best first")
    parser.add_argument("--workers-min", type=_number(0, 1000), default=0, help="kept running always (%(default)s)")
    parser.add_argument("--workers-max", type=_number(1, 1000), help="in place of the preset's")
    parser.add_argument("--idle-timeout", type=_number(1, 3600), metavar="S", help="in place of the preset's")
    parser.add_argument("--disk-gb", type=_number(15, 2000), default=30, help="container disk (%(default)s)")
    parser.add_argument("--volume-id", metavar="ID", help="attach this network volume")
    parser.add_argument(
        "--volume-gb", type=_number(10, 4000), metavar="GB", help="attach a volume called NAME, created when missing"
    )
    parser.add_argument("--data-center", metavar="ID", help="where the volume lies, for example EU-RO-1")
    parser.add_argument("--registry-auth", metavar="ID", help="for a private image: its registry credentials on RunPod")
    parser.add_argument("--api", default=ADDRESS, help=argparse.SUPPRESS)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="only show the plan")
    how.add_argument("--yes", action="store_true", help="do it without asking")
    return parser


def _word(text: str) -> str:
    if not text or any(letter.isspace() for letter in text):
        raise argparse.ArgumentTypeError(f"{text!r} is empty or has a blank in it")
    return text


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text) if text.removeprefix("-").isdecimal() else None
        if number is None or not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return number

    return read


def _unknown_gpus(names: Sequence[str]) -> None:
    for name in names:
        if name not in GPU_TYPES:
            near = difflib.get_close_matches(name, GPU_TYPES, n=1)
            meant = f"; {near[0]}?" if near else ""
            print(f"deploy: --gpu {name}: no GPU type that is known here{meant}", file=sys.stderr)


def _wanted(options: argparse.Namespace) -> Wanted:
    preset = PRESETS[options.preset]
    variables = {name: str(value) for name, value in preset.environment.items()} | _variables(options.env)
    settings = read_settings({name: value for name, value in variables.items() if "{{" not in value})
    if options.volume_gb is not None and not options.data_center:
        raise _Misuse("--volume-gb needs --data-center: a volume lies in one data center, and so do its workers")
    if options.volume_gb is not None and options.volume_id:
        raise _Misuse("--volume-gb and --volume-id exclude each other")
    template: dict[str, Any] = {
        "name": options.name,
        "imageName": options.image,
        "isServerless": True,
        "category": "NVIDIA",
        "containerDiskInGb": options.disk_gb,
        "volumeInGb": 0,
        "env": {
            "RUNPOD_INIT_TIMEOUT": str(max(INIT_TIMEOUT_S, round(settings.boot_timeout_s) + _MARGIN_S)),
            **variables,
        },
    }
    if options.registry_auth:
        template["containerRegistryAuthId"] = options.registry_auth
    endpoint: dict[str, Any] = {
        "name": options.name,
        "computeType": "GPU",
        "gpuTypeIds": options.gpu or list(preset.gpus),
        "gpuCount": 1,
        "allowedCudaVersions": list(CUDA_VERSIONS),
        "workersMin": options.workers_min,
        "workersMax": preset.workers_max if options.workers_max is None else options.workers_max,
        "idleTimeout": preset.idle_s if options.idle_timeout is None else options.idle_timeout,
        "scalerType": preset.scaler,
        "scalerValue": preset.scaler_value,
        "executionTimeoutMs": round(settings.job_timeout_s + _MARGIN_S) * 1000,
        "flashboot": True,
    }
    if endpoint["workersMin"] > endpoint["workersMax"]:
        raise _Misuse("--workers-min is larger than the most workers")
    if options.volume_id:
        endpoint["networkVolumeId"] = options.volume_id
    volume = None
    if options.volume_gb is not None:
        volume = {"name": options.name, "size": options.volume_gb, "dataCenterId": options.data_center}
    if options.data_center:
        endpoint["dataCenterIds"] = [options.data_center]
    return Wanted(template=template, endpoint=endpoint, volume=volume)


def _variables(given: Sequence[str]) -> dict[str, str]:
    known = {name for variable in variables() for name in variable.names} | {"RUN_AS", "RUNPOD_INIT_TIMEOUT"}
    chosen = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals:
            raise _Misuse(f"--env {item}: NAME=VALUE is needed")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise _Misuse(f"--env {name}: no such variable" + (f"; {near[0]}?" if near else ""))
        chosen[name] = value
    try:
        read_settings({name: value for name, value in chosen.items() if "{{" not in value})
    except WorkerError as error:
        raise _Misuse(f"--env: {error.message}") from error
    return chosen


def _found(rest: Rest | None) -> Found:
    if rest is None:
        print("no RUNPOD_API_KEY: planned as if the account were empty", file=sys.stderr)
        return Found()
    return Found(rest.list("templates"), rest.list("endpoints"), rest.list("networkvolumes"))


def _describe(step: Step) -> str:
    sign = {"create": "+", "update": "~", "keep": "="}[step.verb]
    lines = [f"{sign} {step.verb} {step.kind.removesuffix('s')} {step.name}" + (f" ({step.id})" if step.id else "")]
    for name, value in step.body.items():
        before = f"{_shown(name, step.before[name])} -> " if name in step.before else ""
        lines.append(f"    {name}: {before}{_shown(name, value)}")
    return "\n".join(lines)


def _shown(name: str, value: Any) -> str:
    if name == "env":
        secret = {known for variable in variables() if variable.secret for known in variable.names}
        hidden = {
            key: "***" if key in secret and "{{" not in str(said) else said for key, said in (value or {}).items()
        }
        return " ".join(f"{key}={said}" for key, said in hidden.items()) or "(none)"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _apply(rest: Rest, steps: Sequence[Step]) -> str:
    ids: dict[str, str] = {}
    for step in steps:
        if step.verb == "keep":
            ids[step.kind] = str(step.id)
            continue
        body = dict(step.body)
        for name, kind in (("templateId", "templates"), ("networkVolumeId", "networkvolumes")):
            if body.get(name) == NEW:
                body[name] = ids[kind]
        done = rest.update(step.kind, step.id, body) if step.id else rest.create(step.kind, body)
        ids[step.kind] = str(done["id"])
        print(f"{step.kind.removesuffix('s')} {step.name}: {'updated' if step.id else 'created'} ({done['id']})")
    return ids["endpoints"]
