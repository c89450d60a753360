"""``worker deploy``: make a RunPod endpoint of this worker, or change, watch or delete one; the plan is shown first."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from worker.cli.deploy import gpus, request, workers
from worker.cli.deploy.deployment_plan import NEW, ExistingResources, PlanRefused, Step, named, plan
from worker.cli.deploy.deployment_presets import PresetName  # noqa: TC001 - typer reads the annotations
from worker.cli.deploy.request import EndpointType, Misuse, Options, VolumeType
from worker.cli.deploy.rest import ADDRESS, Rest, RestFailed
from worker.cli.printing import complain, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FAILED = 1
WAIT_S = 900
KINDS = {"network-volumes": "volume", "serverless": "endpoint"}

app = typer.Typer(name="deploy", add_completion=False)
Name = Annotated[str, typer.Option(help="Of endpoint and volume.")]


class _Target(NamedTuple):
    """The endpoint that a subcommand is about, and the API's address."""

    name: str
    api: str


@app.callback(invoke_without_command=True)
def deploy(
    context: typer.Context,
    *,
    image: Annotated[str | None, typer.Option(help="The image, with its tag, as RunPod pulls it.")] = None,
    name: Name = "a1111-worker",
    preset: Annotated[PresetName, typer.Option(help="Variables, GPUs and scaling.")] = "sd15",
    type: Annotated[EndpointType, typer.Option(help="RunPod's queue, or its load balancer.")] = "queue",  # noqa: A002 - the option's name
    env: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A variable; may be repeated.")] = None,
    gpu: Annotated[
        list[str] | None, typer.Option(metavar="TYPE|POOL", help="Instead of the preset's GPU types; may be repeated.")
    ] = None,
    cuda: Annotated[
        gpus.Cuda | None,
        typer.Option(help="The image's variant (default: by its tag, else cu121); cu121: no Blackwell."),
    ] = None,
    workers_min: Annotated[int, typer.Option(min=0, max=1000, help="Kept running always.")] = 0,
    workers_max: Annotated[int | None, typer.Option(min=1, max=1000, help="Instead of the preset's.")] = None,
    idle_timeout: Annotated[
        int | None, typer.Option(min=1, max=3600, metavar="S", help="Instead of the preset's.")
    ] = None,
    disk_gb: Annotated[int, typer.Option(min=15, max=2000, help="Container disk.")] = 30,
    volume_id: Annotated[str | None, typer.Option(metavar="ID", help="Attach this network volume.")] = None,
    volume_gb: Annotated[
        int | None,
        typer.Option(min=10, max=4096, metavar="GB", help="Attach a volume called NAME, created when missing."),
    ] = None,
    volume_type: Annotated[
        VolumeType | None, typer.Option(help="Of a volume that is created (default: the data center's own).")
    ] = None,
    data_center: Annotated[
        str | None, typer.Option(metavar="ID", help="Where the volume lies, for example EU-RO-1.")
    ] = None,
    registry_auth: Annotated[
        str | None, typer.Option(metavar="ID", help="For a private image: its registry credentials on RunPod.")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the endpoint; its volume stays.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    wait: Annotated[
        float, typer.Option(min=0, metavar="S", help="How long to follow the workers until one is ready; 0: not.")
    ] = WAIT_S,
    api: Annotated[str, typer.Option(hidden=True)] = ADDRESS,
) -> None:
    """Show what would change on RunPod and, once it is confirmed (or with --yes), do it.

    The key is read from RUNPOD_API_KEY; without one, --dry-run plans for an empty account. Exit codes: 0 done or
    nothing to do, 1 RunPod refused, no worker came up or the answer was no, 2 the options can't be followed.
    """
    if context.invoked_subcommand is not None:
        context.obj = _Target(name, api)
        return
    if dry_run and yes:
        raise typer.BadParameter("--dry-run and --yes exclude each other")
    with _errors_told():
        if delete:
            _delete(_account(api), name, dry_run=dry_run, yes=yes)
            return
        if image is None:
            raise Misuse("--image is needed")
        options = Options(
            image=_word("--image", image),
            name=_word("--name", name),
            preset=preset,
            type=type,
            env=env or (),
            gpu=gpu or (),
            cuda=cuda,
            workers_min=workers_min,
            workers_max=workers_max,
            idle_timeout=idle_timeout,
            disk_gb=disk_gb,
            volume_id=volume_id,
            volume_gb=volume_gb,
            volume_type=volume_type,
            data_center=data_center,
            registry_auth=registry_auth,
        )
        _deploy(None if dry_run and not _key() else _account(api), options, dry_run=dry_run, yes=yes, wait_s=wait)


@app.command()
def status(
    context: typer.Context, *, name: Annotated[str | None, typer.Option(help="Of the endpoint.")] = None
) -> None:
    """Show an endpoint and the states of its workers; exit code 1 when there is none or no worker can come up."""
    with _errors_told():
        target: _Target = context.obj
        rest, name = _account(target.api), name or target.name
        endpoint = named(name, rest.items("serverless"), "endpoint")
        if endpoint is None:
            raise RestFailed(f"no endpoint is called {name!r}")
        answer = rest.workers(str(endpoint["id"]))
        verdict = workers.judge(answer)
        write("\n".join([*_endpoint_lines(endpoint), verdict.line, *map(_worker_line, answer["workers"])]))
        stopped = (endpoint.get("workers") or {}).get("max") == 0
        if stopped:
            complain(
                "the most workers are 0, so no job is ever taken. RunPod sets idle endpoints to 2 after 3 days and to "
                "0 after 7: deploy again to raise them"
            )
        raise typer.Exit(FAILED if stopped or verdict.state == "unhealthy" else 0)


@contextmanager
def _errors_told() -> Iterator[None]:
    try:
        yield
    except Misuse as error:
        raise typer.BadParameter(str(error)) from error
    except (RestFailed, PlanRefused, gpus.NoGpus) as error:
        complain(f"deploy: {error}")
        raise typer.Exit(FAILED) from error


def _key() -> str:
    return os.environ.get("RUNPOD_API_KEY", "").strip()


def _account(api: str) -> Rest:
    key = _key()
    if not key.isascii() or not key.isprintable():
        raise Misuse("RUNPOD_API_KEY must be plain ASCII text on one line")
    if not key:
        raise Misuse("RUNPOD_API_KEY is not set (console: Settings, API keys); only --dry-run with --image needs none")
    return Rest(key, api)


def _word(option: str, text: str) -> str:
    if not text or any(letter.isspace() for letter in text):
        raise Misuse(f"{option}: {text!r} is empty or has a blank in it")
    return text


def _deploy(rest: Rest | None, options: Options, *, dry_run: bool, yes: bool, wait_s: float) -> None:
    request.check(options)  # mistakes are told before RunPod is asked
    _ask_about_names(request.near_misses(options), yes=yes)
    if rest is None:
        complain("no RUNPOD_API_KEY: planned for an empty account, with the GPU pools of RunPod's documentation")
        catalogue, found = list(gpus.DOCUMENTED), ExistingResources()
    else:
        catalogue = gpus.from_catalogue(rest.items("catalog/gpus"))
        found = ExistingResources(rest.items("serverless"), rest.items("network-volumes"))
    resources, notes = request.wanted(options, catalogue)
    for note in notes:
        complain(f"deploy: {note}")
    steps = plan(resources, found)
    write("\n".join(_describe(step) for step in steps))
    if rest is None or dry_run:
        return
    endpoint_id = next(step.id for step in steps if step.kind == "serverless")
    if any(step.verb != "keep" for step in steps):
        _confirm(yes=yes)
        endpoint_id = _apply(rest, steps)
    if endpoint_id is not None and wait_s and not _ready(rest, endpoint_id, wait_s):
        raise typer.Exit(FAILED)


def _ready(rest: Rest, endpoint_id: str, wait_s: float) -> bool:
    return workers.follow(rest, endpoint_id, wait_s=wait_s, say=write, now=time.monotonic, sleep=time.sleep)


def _delete(rest: Rest, name: str, *, dry_run: bool, yes: bool) -> None:
    endpoint = named(name, rest.items("serverless"), "endpoint")
    if endpoint is None:
        write(f"= no endpoint is called {name}")
        return
    write(f"- delete endpoint {name} ({endpoint['id']}): its workers end, and jobs that wait or run are lost")
    for volume in endpoint.get("networkVolumes") or ():
        write(f"= keep volume {volume}, which is billed until it is deleted in the console")
    if dry_run:
        return
    _confirm(yes=yes)
    rest.delete("serverless", str(endpoint["id"]))
    write(f"endpoint {name}: deleted ({endpoint['id']})")


def _ask_about_names(near_misses: Sequence[str], *, yes: bool) -> None:
    """Ask whether variables with nearly a known name are meant as they are; where nobody is asked, refuse them."""
    for sentence in near_misses:
        if yes or not sys.stdin.isatty():
            raise Misuse(f"--env {sentence}")
        if not typer.confirm(f"{sentence} Send it as it is?"):
            raise typer.Exit(FAILED)


def _confirm(*, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Misuse("this is no terminal to ask on: add --yes or --dry-run")
    if not typer.confirm("Do it?"):
        raise typer.Exit(FAILED)


def _apply(rest: Rest, steps: Sequence[Step]) -> str:
    ids: dict[str, str] = {}
    urls: Mapping[str, Any] = {}
    for step in steps:
        if step.verb == "keep":
            ids[step.kind] = str(step.id)
            continue
        body = dict(step.body)
        if body.get("networkVolumes") == [NEW]:
            body["networkVolumes"] = [ids["network-volumes"]]
        done = rest.update(step.kind, step.id, body) if step.id else rest.create(step.kind, body)
        ids[step.kind] = str(done["id"])
        urls = done.get("requestUrls") or urls
        write(f"{KINDS[step.kind]} {step.name}: {'updated' if step.id else 'created'} ({done['id']})")
    address = urls.get("run") or urls.get("base")
    if address:
        write(f"endpoint {ids['serverless']}: {address}")
    return ids["serverless"]


def _describe(step: Step) -> str:
    sign = {"create": "+", "update": "~", "keep": "="}[step.verb]
    lines = [f"{sign} {step.verb} {KINDS[step.kind]} {step.name}" + (f" ({step.id})" if step.id else "")]
    for field, value in step.body.items():
        before = f"{_shown(field, step.before[field])} -> " if field in step.before else ""
        lines.append(f"    {field}: {before}{_shown(field, value)}")
    return "\n".join(lines)


def _shown(field: str, value: Any) -> str:
    if field == "env":
        secret = request.secret_names()
        hidden = {
            name: "***" if name in secret and "{{" not in str(text) else text for name, text in (value or {}).items()
        }
        return " ".join(f"{name}={text}" for name, text in hidden.items()) or "(none)"
    if isinstance(value, dict):
        return "; ".join(f"{name} {_shown(name, part)}" for name, part in value.items()) or "(none)"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "(none)"
    return str(value)


def _endpoint_lines(endpoint: Mapping[str, Any]) -> list[str]:
    shown = ("type", "image", "gpu", "workers", "scaling", "networkVolumes", "flashboot", "timeout")
    urls = endpoint.get("requestUrls") or {}
    return [
        f"endpoint {endpoint.get('name')} ({endpoint['id']})",
        *(f"    {field}: {_shown(field, endpoint[field])}" for field in shown if endpoint.get(field) is not None),
        *(f"    {field}: {address}" for field, address in urls.items() if field in {"run", "base", "health"}),
    ]


def _worker_line(worker: Mapping[str, Any]) -> str:
    parts = [str(worker.get("status", "?")).lower(), worker.get("gpuTypeId"), worker.get("dataCenterId")]
    if worker.get("uptimeSeconds") is not None:
        parts.append(f"up {worker['uptimeSeconds']} s")
    if worker.get("isStale"):
        parts.append("of an older release")
    return f"    {worker.get('id')}: " + ", ".join(str(part) for part in parts if part)
