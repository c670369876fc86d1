"""Rates: connect, echo of 64 bytes, close, by one client and by many at once; and only the echo."""
import statistics

import parties
from field import Field, peer_cell, peer_ratios
from measures import per_second, ratio_of

# clients: what is made in each round, and the goals: plain, full handshake, resumed to direct full
COUNTS = {1: (1500, 200), 8: (4000, 400), 64: (4000, 640)}
GOALS = {1: (0.70, 0.90, 1.5), 8: (0.55, 0.90, 1.45), 64: (None, 0.95, 1.6)}
N_REQUESTS = 20000


def measure_rates(bench):
    # Of one client one step follows the other: all on one core, as with round trips.
    pinned = ["taskset", "-c", str(bench.options.core)]
    for clients, prefix in ((1, pinned), (8, ()), (64, ())):
        field = Field(bench, clients, prefix)
        try:
            measure_clients(bench, field, clients)
        finally:
            field.stop()
        if clients == 1:
            measure_pool(bench, prefix)


POOL = """\
[pool "bench"]
connect = 127.0.0.1:{tls}
secure = yes
min_idle = 2
"""


def measure_pool(bench, prefix):
    """One client; a pool keeps its connections between two uses of them."""
    def write(ports):
        path.write_text(POOL.format(**ports))
        return path

    path = bench.folder / "pool.conf"
    name = "connect + echo + close, TLS from a warm pool, c1, JSON, to direct full"
    if not parties.takes_config(bench.build, write({"tls": 443})):
        bench.row(name, "–", "not in this version", "–", "≥ ×6", None)
        return
    field = Field(bench, 1, prefix, write)
    result = {"direct": [], "pooled": [], "others": [], "peers": []}
    count, made = (bench.count(n) for n in (COUNTS[1][1], COUNTS[1][0]))
    try:
        field.round("connect", "pooled", "tls", made // 10)
        taken = field.broker.stats()["pool_taken"]
        for _ in range(bench.options.rounds):
            others = parties.Others()
            result["direct"].append(field.round("connect", "direct", "tls", count)[0])
            took, seen = field.round("connect", "pooled", "tls", made)
            result["pooled"].append(took)
            result["others"].append(others.share())
            if seen["accepted"] > made / 10:
                bench.lies.append(f"pool: {seen['accepted']} connections were made, not reused")
        taken = field.broker.stats()["pool_taken"] - taken
        if taken < 0.99 * made * bench.options.rounds:
            bench.lies.append(f"pool: {taken} connections came from it, not "
                              f"{made * bench.options.rounds}")
        bench.ratio_row(name, result, "≥ ×6", at_least=6, invert=True, form=per_second,
                        side="pooled")
    finally:
        field.stop()


def measure_clients(bench, field, clients):
    n_plain, n_tls = COUNTS[clients]
    plain_goal, full_goal, resumed_goal = GOALS[clients]
    rate = {"invert": True, "form": per_second}
    result = field.rounds("plain", field.sides("plain", "direct", "broker", "attach"), n_plain)
    name = f"connect + echo + close, plain TCP, c{clients}"
    field.ratio_row(f"{name}, attached", result, f"≥ ×{plain_goal:.2f}" if plain_goal else "–",
                    at_least=plain_goal, **rate)
    field.ratio_row(f"{name}, JSON", result, "–", side="broker", **rate)
    result = field.rounds("full", field.sides("tls", "direct", "broker", "attach"), n_tls)
    name = f"connect + echo + close, TLS full handshake, c{clients}"
    field.ratio_row(f"{name}, attached", result, f"≥ ×{full_goal:.2f}", at_least=full_goal, **rate)
    field.ratio_row(f"{name}, JSON", result, "–", side="broker", **rate)
    if clients == 1:
        cpu_rows(bench, "full handshake", result, "direct", 500)
    if clients == 64:
        result = field.rounds("requests", field.sides("tls", "direct", "broker", "attach"),
                              N_REQUESTS, "echo")
        name = f"requests/s, TLS, {clients} connections"
        field.ratio_row(f"{name}, attached", result, "≥ ×0.70", at_least=0.70, **rate)
        field.ratio_row(f"{name}, JSON send + receive", result, "–", side="broker", **rate)
    result = field.rounds("resumed", {
        "direct": "tls", **field.sides("tickets", "resuming", "broker", "attach")}, n_tls)
    resumed_rows(bench, clients, result, resumed_goal)
    if clients == 1:
        cpu_rows(bench, "resumed", result, "resuming", 280)


def resumed_rows(bench, clients, result, goal):
    full, resuming = (statistics.median(result[side]) for side in ("direct", "resuming"))
    for side, word, at_least in (("attach", "attached", goal), ("broker", "JSON", None)):
        ratio, words = ratio_of([d / b for d, b in zip(result["direct"], result[side])])
        bench.row(f"connect + echo + close, TLS resumed, c{clients}, {word}, to direct full",
                  f"{per_second(full)} full, {per_second(resuming)} resumed",
                  per_second(statistics.median(result[side])), words,
                  f"≥ ×{at_least:.2f}" if at_least else "–",
                  ratio >= at_least if at_least else None, result["others"],
                  peer_ratios(result, invert=True))


def cpu_rows(bench, kind, result, direct, goal):
    """CPU time of the daemon; direct: of the program that connects by itself."""
    mean = {side: statistics.mean(cpu) for side, cpu in result["cpu"].items()}
    others = peer_cell([(mean[name], f"{name} {mean[name]:.0f} µs") for name in result["peers"]])
    for side, word, at_most in (("attach", "attached", goal), ("broker", "JSON", None)):
        bench.row(f"broker CPU per TLS connect + echo + close, {kind}, {word}",
                  f"{mean[direct]:.0f} µs", f"{mean[side]:.0f} µs",
                  f"×{mean[side] / mean[direct]:.2f}", f"≤ {at_most} µs" if at_most else "–",
                  mean[side] <= at_most if at_most else None, result["others"], others)
