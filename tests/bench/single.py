"""The rows of one client: round trips, fresh processes, bulk, memory, how many."""
import contextlib
import json
import resource
import statistics
import subprocess
import time

import parties
import peers
from field import Field, peer_cell
from measures import milliseconds

EXCHANGE_PIECE = 64 * 1024
LIMITS = ["limits.sockets=40000", "limits.sockets_per_session=40000"]


RTTS = (("plain", "plain TCP", 1.03, 2.5), ("tls", "TLS", 1.81, 2.3))
BULKS = (("send", 0.90), ("receive", 0.92))
N_BULK = 4000  # pieces of 64 KiB in each round
N_FRESH = 10
N_FIELDS = 5


def rounds_of_fields(bench, prefix):
    """{port: rounds}, of several processes of each party: where things happen to lie in the memory
    of one makes a round trip a tenth longer or shorter, for as long as it lives."""
    found = {}
    for _ in range(N_FIELDS):
        field = Field(bench, prefix=prefix)
        try:
            for port, *_ in RTTS:
                result = field.rounds(f"rtt {port}",
                                      field.sides(port, "direct", "broker", "attach"), 5000, "echo")
                if port not in found:
                    found[port] = result
                    continue
                for side in (*field.sides(port, "direct", "broker", "attach"), "others"):
                    found[port][side] += result[side]
        finally:
            field.stop()
    return found


def measure_pinned(bench):
    """All parties on one core: what a round trip costs, not how the scheduler spread it."""
    prefix = ["taskset", "-c", str(bench.options.core)]
    trips = rounds_of_fields(bench, prefix)
    field = Field(bench, prefix=prefix)
    try:
        for port, word, attached, json_goal in RTTS:
            field.ratio_row(f"RTT 64 B, {word}, attached", trips[port], f"≤ ×{attached:.2f}",
                            at_most=attached)
            field.ratio_row(f"RTT 64 B, {word}, JSON send + receive pipelined", trips[port],
                            f"≤ ×{json_goal:.2f}", at_most=json_goal, side="broker")
        spawn = parties.Party([*prefix, bench.build / "tests/bench/bench_spawn"])
        measure_fresh(bench, field, spawn, "tls", "", 0.10)
        # Each process that connects by itself starts without a ticket; the others resume.
        measure_fresh(bench, field, spawn, "tickets", ", TLS resumed by the broker", 0.075)
        spawn.stop()
    finally:
        field.stop()


def fresh_commands(bench, field, port):
    """{side: command}"""
    def command(program, *words):
        return " ".join(map(str, (bench.build / f"tests/bench/bench_fresh_{program}", *words)))

    where = ("127.0.0.1", field.origin.ports[port])
    return {
        "direct": command("direct", *where, bench.folder / "cacerts/ca.pem"),
        "attach": command("raw", "attach", *where, field.broker.path),
        "broker": command("raw", "json", *where, field.broker.path),
        "library": command("library", *where, field.broker.path),
        **{name: command("raw", "relay", *where, peer.path(port))
           for name, peer in field.peers.items()}}


def measure_fresh(bench, field, spawn, port, word, goal):
    commands = fresh_commands(bench, field, port)
    count = bench.count(N_FRESH, least=2)
    result = {side: [] for side in commands} | {
        "others": [], "peers": list(field.peers), "resumed": {side: [] for side in commands}}
    for command in commands.values():
        spawn.ask(f"2 {command}")  # a warm-up
    for _ in range(bench.options.rounds):
        for side, command in commands.items():
            others = parties.Others()
            with bench.counted(field.origin, port) as seen:
                result[side].append(spawn.ask(f"{count} {command}")["us"] / count)
            result["others"].append(others.share())
            result["resumed"][side].append(seen["resumed"] / count)
            name = f"fresh process{word}, {side}"
            bench.check(name, seen, accepted=count, handshakes=count, failed=0)
            most = 1 if port == "tickets" and side != "direct" else 0
            bench.check_resumed(name, seen, count, 0 if side in field.peers else most, most)
    name = "fresh process: exec, TLS connect, echo, exit (system CAs)" + word
    field.ratio_row(f"{name}, attached", result, f"≤ ×{goal:.3f}", at_most=goal, form=milliseconds)
    field.ratio_row(f"{name}, JSON", result, "–", side="broker", form=milliseconds)
    field.ratio_row(f"{name}, JSON through libtcpbroker.so", result, "–", side="library",
                    form=milliseconds)


def measure_free(bench):
    """On all cores: throughput, memory, how many."""
    wanted = 500 if bench.options.quick else 5000
    measure_bulk(bench)
    measure_memory(bench, "tickets", "TLS", wanted, 26)
    measure_memory(bench, "plain", "plain", wanted, None)
    if not bench.options.quick:  # some descriptors are needed for what is on its way
        measure_memory(bench, "tickets", "TLS", most_sockets() - 900, 26, alone=True)
    measure_idle(bench)


def measure_bulk(bench):
    field = Field(bench)
    try:
        for what, goal in BULKS:
            result = field.rounds(f"bulk {what}", field.sides("bulk", "direct", "attach"), N_BULK,
                                  what)
            field.ratio_row(f"bulk TLS, one stream, {what}, attached", result, f"≥ ×{goal:.2f}",
                            at_least=goal, invert=True,
                            form=lambda us: f"{EXCHANGE_PIECE / us:,.0f} MB/s")
        before = field.origin.counts()["discard"]["discarded"]
        result = bench.rounds("bulk", "bulk", "plain", field.broker, field.origin, N_BULK,
                              port="discard")
        sent = 2 * bench.options.rounds * result["count"] * EXCHANGE_PIECE
        seen = field.origin.counts()["discard"]["discarded"] - before
        # What is still in the system's buffers when the connections are dropped is missing.
        if not 0.99 * sent <= seen <= sent:
            bench.lies.append(f"bulk: the origin counted {seen} bytes, not {sent}")
        bench.ratio_row("bulk JSON, 64 KiB sends, pipelined, plain TCP", result, "≥ 450 MB/s",
                        form=lambda mb: f"{mb:,.0f} MB/s",
                        met=statistics.median(result["broker"]) >= 450)
    finally:
        field.stop()


def most_sockets():
    """As many as the limit of descriptors lets one process hold, 20,000 where it does."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 20000 if hard == resource.RLIM_INFINITY else min(20000, hard - 100)


def measure_memory(bench, port, word, wanted, goal, alone=False):
    """alone: without those that need more than one descriptor for each."""
    origin = parties.Origin(bench.build, bench.folder)
    relays = {peer.name: peer for peer in (() if alone else peers.start(bench, origin))
              if port in peer.ports}
    ours = ("broker",) if alone else ("broker", "attach")
    kib = {}
    try:
        for side in ("direct", *ours, *relays):
            # A daemon for each: what it has freed it would use again.
            broker = parties.Daemon(bench.build, bench.folder, settings=LIMITS)
            try:
                with bench.counted(origin, port) as seen:
                    way, worker = (relays[side].path(port), relays[side]) if side in relays else \
                        (side, None if side == "direct" else broker)
                    kib[side] = hold_measured(bench, port, broker, origin, wanted, way, worker)
            finally:
                broker.stop()
            bench.check(f"memory {word}, {side}", seen, accepted=wanted,
                        handshakes=wanted if port == "tickets" else 0, failed=0)
    finally:
        for peer in relays.values():
            peer.stop()
        origin.stop()
    others = peer_cell([(kib[name], f"{name} {kib[name]:.1f} KiB") for name in relays])
    direct = kib["direct"]
    for side in ours:
        form, at_most = ("", goal) if side == "broker" else (", attached", None)
        bench.row(f"memory per idle {word} socket at {wanted:,}{form}", f"{direct:.1f} KiB",
                  f"{kib[side]:.1f} KiB",
                  f"×{kib[side] / direct:.2f}" if direct >= 0.05 else "–",
                  f"≤ {at_most} KiB" if at_most else "–",
                  kib[side] <= at_most if at_most else None, peers=others)


def measure_idle(bench):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    possible = most_sockets()
    wanted = possible if not bench.options.quick else 1000
    origin = parties.Origin(bench.build, bench.folder)
    broker = parties.Daemon(bench.build, bench.folder, settings=LIMITS)
    try:
        started = time.monotonic()
        with holding(bench, "plain", broker, origin, wanted, "broker") as holder:
            told = hold_all(holder)
            seconds = time.monotonic() - started
        name = "idle sockets held (plain), nothing refused"
        if possible < 20000:
            name += f"; the limit of open files here, {hard:,}, allows {possible:,}"
        bench.row(name, "–", f"{told['held']:,} in {seconds:.1f} s, {told['refused']} refused", "–",
                  "20,000", told["held"] >= 20000 and told["refused"] == 0)
    finally:
        broker.stop()
        origin.stop()


def hold_measured(bench, port, broker, origin, wanted, way, worker):
    """KiB a socket of the worker, None: of the program that holds them."""
    with holding(bench, port, broker, origin, wanted, way) as holder:
        def rss():
            return worker.rss_kib() if worker else parties.rss_kib(holder.pid)

        # What all sockets share (threads, trust store) is paid for before.
        before = rss()
        told = hold_all(holder)
        if told["refused"]:
            raise SystemExit(f"memory {port}: {told['refused']} refused")
        return (rss() - before) / (told["held"] - 1)


def hold_all(holder):
    """{"held", "refused"}"""
    holder.stdin.write("go\n")
    holder.stdin.flush()
    return json.loads(holder.stdout.readline())


@contextlib.contextmanager
def holding(bench, port, broker, origin, count, side):
    """The process that holds; it has opened the first."""
    kind = "plain" if port == "plain" else "tls"
    holder = subprocess.Popen(
        bench.command("hold", kind, broker, origin.ports[port], count=count, side=side),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        line = holder.stdout.readline()
        if not line:
            raise SystemExit(f"hold {port} {side} failed")
        yield holder
    finally:
        holder.stdin.close()
        holder.wait(parties.DEADLINE)
