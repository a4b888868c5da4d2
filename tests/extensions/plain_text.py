"""A report as plain text, made from nothing but the JSON document of `harness.report.data`."""

from __future__ import annotations

from typing import Any


def plain_text(document: dict[str, Any]) -> str:
    spec = document["record"]["spec"]
    lines = [f"{document['verdict'].upper()}: {spec['target']} {spec['workload']}", ""]
    for claim in document["claims"]:
        word = claim["verdict"] if claim["judged"] else "measured"
        lines.append(f"{word:9} {claim['name']}: {claim['why']}")
    lines += ["", f"{document['operations']} operations"]
    lines += [f"  {f}: {by}" for f, by in document["counts"].items()]
    lines += ["", "faults"]
    for fault in document["faults"]:
        span = f"{fault['start_s']:8.3f} to {fault['end_s']:8.3f} s"
        lines.append(f"  {span}  {fault['fault']}: {fault['did']}; effect: {fault['effect']}")
    for witness in document["witnesses"]:
        lines += ["", witness["sentence"], *(f"  {line}" for line in witness["words"])]
    lines += ["", "events"]
    lines += [f"  {event['time_s']:8.3f} s  {event['what']}" for event in document["events"]]
    slowest = {f: max(b[1] for b in by.values()) for f, by in document["series"]["latency"].items()}
    lines += ["", *(f"p95 of {f} at its worst: {ms:.1f} ms" for f, ms in slowest.items())]
    return "\n".join(lines)
