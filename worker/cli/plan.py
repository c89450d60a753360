"""``python -m worker plan --rate 2/s --gen 3.2``: how to set an endpoint for a load."""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict

from worker.plan.recommend import Option, options, recommend
from worker.plan.simulate import Endpoint, Load

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
SHOWN = 8


def main(argv: list[str]) -> int:
    """Print a recommendation and what else was tried; return 0."""
    parser = argparse.ArgumentParser(
        prog="python -m worker plan",
        description="Simulate an endpoint under a load, and say how many workers, which idle time-out and concurrency.",
    )
    parser.add_argument("--rate", required=True, type=rate, metavar="2/s", help="jobs that come: 2/s, 30/min, 500/h")
    parser.add_argument("--gen", required=True, type=float, metavar="S", help="seconds on the GPU of one job")
    parser.add_argument("--deliver", type=float, default=0.5, metavar="S", help="seconds after it: upload (0.5)")
    parser.add_argument("--spread", type=float, default=0.2, help="how much --gen varies, as a share of it (0.2)")
    parser.add_argument("--models", type=shares, default=(1.0,), metavar="8,1,1", help="how often each checkpoint (1)")
    parser.add_argument("--cold", type=float, default=25.0, metavar="S", help="a worker's cold start (25)")
    parser.add_argument("--switch", type=float, default=4.0, metavar="S", help="loading another checkpoint (4)")
    parser.add_argument("--p95", type=float, default=None, metavar="S", help="what 95 of 100 jobs may take (3 x --gen)")
    parser.add_argument("--price", type=float, default=None, metavar="$", help="dollars for an hour of the GPU")
    parser.add_argument("--jobs", type=int, default=1500, help="jobs to play (1500)")
    parser.add_argument("--json", action="store_true", help="everything tried, as JSON")
    chosen = parser.parse_args(argv)
    load = Load(
        chosen.rate,
        chosen.gen,
        spread=chosen.spread,
        deliver_s=chosen.deliver,
        models=chosen.models,
        jobs=chosen.jobs,
    )
    tried = options(load, Endpoint(workers=1, cold_s=chosen.cold, switch_s=chosen.switch))
    limit = chosen.p95 if chosen.p95 is not None else 3 * chosen.gen
    best = recommend(tried, p95_s=limit)
    if chosen.json:
        json.dump([{"recommended": one is best, **asdict(one)} for one in tried], sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _tell(best, tried, limit, chosen.price)
    return 0


def rate(text: str) -> float:
    """Return jobs a second for ``2/s``, ``30/min`` or ``500/h``; a bare number is per second."""
    match = re.fullmatch(r"([\d.]+)\s*(?:/\s*(s|m|min|h|d))?", text.strip())
    if match is None or float(match.group(1)) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: write 2/s, 30/min or 500/h")
    return float(match.group(1)) / _UNITS[match.group(2) or "s"]


def shares(text: str) -> tuple[float, ...]:
    """Return ``8,1,1`` as numbers."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be shares like 8,1,1")
    return found


def _tell(best: Option, tried: list[Option], limit: float, price: float | None) -> None:
    end, result = best.endpoint, best.result
    fast = "" if result.p95_s <= limit else f" (nothing tried stays within {limit:g} s)"
    print(f"workersMax {end.workers}, workersMin {end.active}, idleTimeout {end.idle_s:g}, CONCURRENCY {end.at_once}")
    print(f"  half of the jobs within {result.p50_s:.1f} s, 95 of 100 within {result.p95_s:.1f} s{fast}")
    cost = f", ${result.paid_s * price / 3600:.5f}" if price is not None else ""
    print(f"  {result.paid_s:.2f} GPU seconds paid for a job{cost}; the GPU generates in {result.busy:.0%} of them")
    print(f"  {result.cold_starts} cold starts, at most {result.most_awake} workers awake\n")
    print(f"{'max':>5} {'min':>5} {'idle s':>7} {'at once':>8} {'p50 s':>7} {'p95 s':>7} {'paid s/job':>11}")
    for one in tried[:SHOWN]:
        e, r = one.endpoint, one.result
        row = f"{e.workers:>5} {e.active:>5} {e.idle_s:>7g} {e.at_once:>8}"
        print(f"{row} {r.p50_s:>7.1f} {r.p95_s:>7.1f} {r.paid_s:>11.2f}")
