"""The rows of one client: round trips, fresh processes, bulk, memory, how many."""
import contextlib
import json
import resource
import statistics
import subprocess
import time

import parties
from measures import milliseconds


def measure_pinned(bench):
    """All parties on one core: what a round trip costs, not how the scheduler spread it."""
    prefix = ["taskset", "-c", str(bench.options.core)]
    origin = parties.Origin(bench.build, bench.folder, prefix)
    broker = parties.Daemon(bench.build, bench.folder, prefix)
    try:
        for kind, word, goal in (("plain", "plain TCP", 2.5), ("tls", "TLS", 2.3)):
            result = bench.rounds(f"rtt {kind}", "rtt", kind, broker, origin, 5000, prefix)
            bench.ratio_row(f"RTT 64 B, {word}, JSON send + receive pipelined", result,
                            f"≤ ×{goal}", at_most=goal)
        result = bench.rounds("fresh", "fresh", "tls", broker, origin, 10, prefix,
                              fresh=bench.build / "tests/bench")
        bench.ratio_row("fresh process: exec, TLS connect, echo, exit (system CAs)", result,
                        "≤ ×0.10", at_most=0.10, form=milliseconds)
        bench.ratio_row("the same, through libtcpbroker.so", result, "–", form=milliseconds,
                        side="library")
        if bench.resumes:
            # Each process that connects by itself starts without a ticket; the other two resume.
            result = bench.rounds("fresh, resumed", "fresh", "tls", broker, origin, 10, prefix,
                                  port="tickets", resumed=2 / 3, fresh=bench.build / "tests/bench")
            bench.ratio_row("fresh process, TLS resumed by the broker", result, "≤ ×0.075",
                            at_most=0.075, form=milliseconds)
    finally:
        broker.stop()
        origin.stop()


def measure_free(bench):
    """On all cores: throughput, memory, how many."""
    wanted = 500 if bench.options.quick else 5000
    limits = ["limits.sockets=40000", "limits.sockets_per_session=40000"]
    origin = parties.Origin(bench.build, bench.folder)
    try:
        measure_bulk(bench, origin)
        for port, word, goal in (("tickets", "TLS", 26), ("plain", "plain", None)):
            broker = parties.Daemon(bench.build, bench.folder, settings=limits)
            try:
                direct = hold_direct(bench, port, broker, origin, wanted)
                held, refused, kib = hold(bench, f"memory {word}", port, broker, origin, wanted)
                bench.row(f"memory per idle {word} socket at {held:,}"
                          + (f" ({refused} refused)" if refused else ""), f"{direct:.1f} KiB",
                          f"{kib:.1f} KiB", f"×{kib / direct:.2f}" if direct >= 0.05 else "–",
                          f"≤ {goal} KiB" if goal else "–", kib <= goal if goal else None)
            finally:
                broker.stop()
        measure_idle(bench, limits)
    finally:
        origin.stop()


def measure_bulk(bench, origin):
    broker = parties.Daemon(bench.build, bench.folder)
    try:
        result = bench.rounds("bulk", "bulk", "plain", broker, origin, 4000, port="discard")
        sent = 2 * bench.options.rounds * result["count"] * 65536
        seen = origin.counts()["discard"]["discarded"]
        # What is still in the system's buffers when the connections are dropped is missing.
        if not 0.99 * sent <= seen <= sent:
            bench.lies.append(f"bulk: the origin counted {seen} bytes, not {sent}")
        bench.ratio_row("bulk JSON, 64 KiB sends, pipelined, plain TCP", result, "≥ 450 MB/s",
                        form=lambda mb: f"{mb:,.0f} MB/s",
                        met=statistics.median(result["broker"]) >= 450)
    finally:
        broker.stop()


def measure_idle(bench, limits):
    """As many as the limit of descriptors lets the daemon hold, 20,000 where it does."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    possible = 20000 if hard == resource.RLIM_INFINITY else min(20000, hard - 100)
    wanted = possible if not bench.options.quick else 1000
    origin = parties.Origin(bench.build, bench.folder)
    broker = parties.Daemon(bench.build, bench.folder, settings=limits)
    try:
        started = time.monotonic()
        held, refused, _ = hold(bench, "idle", "plain", broker, origin, wanted)
        seconds = time.monotonic() - started
        name = "idle sockets held (plain), nothing refused"
        if possible < 20000:
            name += f"; the limit of open files here, {hard:,}, allows {possible:,}"
        bench.row(name, "–", f"{held:,} in {seconds:.1f} s, {refused} refused", "–", "20,000",
                  held >= 20000 and refused == 0)
    finally:
        broker.stop()
        origin.stop()


def hold(bench, name, port, broker, origin, count):
    """(held, refused, KiB a socket) of the daemon."""
    kind = "plain" if port == "plain" else "tls"
    # What all sockets share (threads, trust store) is paid for before.
    bench.rounds(name, "rtt", kind, broker, origin, 10, port=port)
    before = broker.rss_kib()
    with bench.counted(origin, port) as seen:
        with holding(bench, "hold-broker", port, broker, origin, count) as (told, _):
            grown = broker.rss_kib() - before
    bench.check(name, seen, accepted=told["held"],
                handshakes=told["held"] if kind == "tls" else 0, failed=0)
    return told["held"], told["refused"], grown / max(1, told["held"])


def hold_direct(bench, port, broker, origin, count):
    """KiB a socket of a program that holds them itself."""
    with holding(bench, "hold-direct", port, broker, origin, count) as (_, holder):
        before = parties.rss_kib(holder.pid)
        told = json.loads(holder.stdout.readline())
        return (parties.rss_kib(holder.pid) - before) / (told["held"] - 1)


@contextlib.contextmanager
def holding(bench, measure, port, broker, origin, count):
    """(what it told first, the process that holds)"""
    kind = "plain" if port == "plain" else "tls"
    holder = subprocess.Popen(
        bench.command(measure, kind, broker, origin.ports[port], count=count),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        line = holder.stdout.readline()
        if not line:
            raise SystemExit(f"{measure} {port} failed")
        yield json.loads(line), holder
    finally:
        holder.stdin.close()
        holder.wait(parties.DEADLINE)
