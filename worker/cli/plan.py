"""``worker plan --rate 2/s --gen 3.2``: the settings of an endpoint for a load."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, Any

import typer

from worker.cli.printing import write, write_json
from worker.plan.recommend import Option, options, recommend
from worker.plan.simulate import Load, SimulatedEndpoint

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
SHOWN = 8


def read_rate(text: str) -> float:
    """Return jobs a second for ``2/s``, ``30/min`` or ``500/h``; a bare number is per second."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(?:/\s*(s|m|min|h|d))?", text.strip())
    if match is None or float(match.group(1)) <= 0:
        raise typer.BadParameter(f"{text!r} is no rate: write 2/s, 30/min or 500/h")
    return float(match.group(1)) / _UNITS[match.group(2) or "s"]


def read_duration(text: str | float) -> float:
    """Return seconds for ``4s``, ``500ms``, ``1.5 min`` or ``2h``; a bare number is seconds, and so is a default."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|sec|m|min|h|d)?", str(text).strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration: write 4s, 500ms, 1.5min or a number of seconds")
    return float(match.group(1)) * {**_UNITS, "ms": 0.001, "sec": 1.0}[match.group(2) or "s"]


def read_shares(text: str) -> tuple[float, ...]:
    """Return ``8,1,1`` as numbers."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) <= 0:
        raise typer.BadParameter(f"{text!r} must be shares like 8,1,1")
    return found


def _duration(about: str) -> Any:
    return typer.Option(parser=read_duration, metavar="TIME", help=about)


app = typer.Typer(add_completion=False)


@app.command()
def plan(
    *,
    rate: Annotated[float, typer.Option(parser=read_rate, metavar="2/s", help="Jobs that come: 2/s, 30/min, 500/h.")],
    gen: Annotated[float, _duration("Time on the GPU of one job: 3.2, 4s, 900ms.")],
    deliver: Annotated[float, _duration("Time after it: upload.")] = 0.5,
    spread: Annotated[float, typer.Option(min=0, help="How much --gen varies, as a share of it.")] = 0.2,
    models: Annotated[str, typer.Option(metavar="8,1,1", help="How often each checkpoint is asked for.")] = "1",
    cold: Annotated[float, _duration("A worker's cold start.")] = 25.0,
    switch: Annotated[float, _duration("Loading another checkpoint.")] = 4.0,
    p95: Annotated[float | None, _duration("What 95 of 100 jobs may take (default: 3 times --gen).")] = None,
    price: Annotated[float | None, typer.Option(metavar="$", min=0, help="Dollars for an hour of the GPU.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs to simulate.")] = 1500,
    json: Annotated[bool, typer.Option("--json", help="Everything tried, as JSON.")] = False,
) -> None:
    """Simulate an endpoint under a load and recommend workers, idle time-out and concurrency."""
    if gen <= 0:
        raise typer.BadParameter("must be above 0", param_hint="--gen")
    load = Load(rate, gen, spread=spread, deliver_s=deliver, models=read_shares(models), jobs=jobs)
    tried = options(load, SimulatedEndpoint(workers=1, cold_s=cold, switch_s=switch))
    limit = p95 if p95 is not None else 3 * gen
    best = recommend(tried, p95_s=limit)
    if json:
        write_json([{"recommended": one is best, **asdict(one)} for one in tried])
    else:
        write(_report(best, tried, limit, price))


def _report(best: Option, tried: list[Option], limit: float, price: float | None) -> str:
    end, result = best.endpoint, best.result
    fast = "" if result.p95_s <= limit else f" (nothing tried stays within {limit:g} s)"
    cost = f", ${result.paid_s * price / 3600:.5f}" if price is not None else ""
    lines = [
        f"workersMax {end.workers}, workersMin {end.active}, idleTimeout {end.idle_s:g}, CONCURRENCY {end.at_once}",
        f"  half of the jobs within {result.p50_s:.1f} s, 95 of 100 within {result.p95_s:.1f} s{fast}",
        f"  {result.paid_s:.2f} GPU seconds paid for a job{cost}; the GPU generates in {result.busy:.0%} of them",
        f"  {result.cold_starts} cold starts, at most {result.most_awake} workers awake",
        "",
        f"  {'max':>5} {'min':>5} {'idle s':>7} {'at once':>8} {'p50 s':>7} {'p95 s':>7} {'paid s/job':>11}",
    ]
    cheapest = [one for one in tried[:SHOWN] if one is not best]
    for one in (best, *cheapest):
        e, r = one.endpoint, one.result
        row = f"{'→' if one is best else ' '} {e.workers:>5} {e.active:>5} {e.idle_s:>7g} {e.at_once:>8}"
        lines.append(f"{row} {r.p50_s:>7.1f} {r.p95_s:>7.1f} {r.paid_s:>11.2f}")
    return "\n".join(lines)
