"""How much what one client does slows down another: round trips in quiet, and beside it."""
import contextlib
import json
import os
import pathlib
import socket
import statistics
import time

import parties
from measures import ratio_of

N_HUNG = 200
RATE = 400  # handshakes a second, paced
FLOOD_CLIENTS = 8
N_ROUND_TRIPS = 15000
# Before each round, so that the scheduler finds all equally rested.
PAUSE = 0.2
WAIT = 20  # seconds until a disturbance is there, and until it has gone


def wait_until(condition, what):
    until = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"isolation: {what}: not within {WAIT} s")
        time.sleep(0.005)


def connecting_to(port):
    """How many wait for an answer to their SYN to this port of 127.0.0.1."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    syn_sent = (f"0100007F:{port:04X}", "02")
    return sum((fields[2], fields[3]) == syn_sent for fields in map(str.split, lines))


class Scene:
    """The client that is measured with an origin of its own, the daemon, and those who disturb.

    The client and its origin share one core, the disturbing clients and their origin another: on a
    real system these origins are other machines. The daemon's I/O threads are kept on the first
    core, since round trips on one core and on two differ fivefold and the kernel's choice between
    them is not what is measured; its other threads may use all cores. one_core: they stay there,
    too, since what hangs needs no processor; then this is measured as round trips are.
    """

    def __init__(self, bench, one_core):
        cores = sorted(os.sched_getaffinity(0))
        near = ["taskset", "-c", str(bench.options.core)]
        self.beside = ["taskset", "-c", str(next(
            (core for core in cores if core != bench.options.core), bench.options.core))]
        self.bench = bench
        self.release = bench.folder / "release"
        self.asked = bench.folder / "asked"
        self.release.unlink(missing_ok=True)
        os.mkfifo(self.release)
        self.origin = parties.Origin(bench.build, bench.folder, near)
        self.far_origin = parties.Origin(bench.build, bench.folder, self.beside)
        self.broker = parties.Daemon(
            bench.build, bench.folder, near if one_core else (),
            # one user may not hold up all threads of the resolver: more of them, so that all 200 hang
            settings=("threads.resolver_max=1024",),
            environment={"LD_PRELOAD": str(bench.build / "tests/support/libslow_resolver.so"),
                         "SLOW_RESOLVER_RELEASE": str(self.release),
                         "SLOW_RESOLVER_LOG": str(self.asked)})
        self.broker.keep_threads("io-", bench.options.core)
        self.probe = parties.Party([*near, *bench.command("probe", "plain", self.broker,
                                                          self.origin.ports["plain"])])
        self.handshakes_a_second = {"paced": [], "flood": []}

    def stop(self):
        self.probe.stop()
        self.broker.stop()
        self.origin.stop()
        self.far_origin.stop()

    def measure(self):
        time.sleep(PAUSE)
        return self.probe.ask(str(self.bench.count(N_ROUND_TRIPS)))

    @contextlib.contextmanager
    def disturbed(self, kind, port, n):
        party = parties.Party([*self.beside, self.bench.build / "tests/bench/bench_disturb",
                               self.broker.path, kind, port, n])
        party.read()
        yield
        told = party.stop()
        if not told or json.loads(told)["failed"] > 0:
            raise SystemExit(f"isolation: {kind} failed: {told}")

    # What goes on beside; each waits until it does, and sees that it did.

    @contextlib.contextmanager
    def handshaking(self, kind, n):
        def handshakes():
            return self.far_origin.counts()["tls"]["handshakes"]

        start = handshakes()
        with self.disturbed(kind, self.far_origin.ports["tls"], n):
            wait_until(lambda: handshakes() > start, "a handshake")
            before, started = handshakes(), time.monotonic()
            yield
            rate = (handshakes() - before) / (time.monotonic() - started)
        self.handshakes_a_second[kind].append(rate)

    @contextlib.contextmanager
    def hung_connects(self):
        with contextlib.ExitStack() as stack:
            # The system drops further SYNs once the queue of a listening socket is full.
            hole = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            with contextlib.suppress(TimeoutError):
                while True:
                    filler = stack.enter_context(socket.socket())
                    filler.settimeout(0.1)
                    filler.connect(hole.getsockname())
            port = hole.getsockname()[1]
            with self.disturbed("connects", port, N_HUNG):
                wait_until(lambda: connecting_to(port) >= N_HUNG, "connects that hang")
                yield

    @contextlib.contextmanager
    def hung_handshakes(self):
        with contextlib.ExitStack() as stack:
            silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
            silent.settimeout(WAIT)
            with self.disturbed("handshakes", silent.getsockname()[1], N_HUNG):
                for _ in range(N_HUNG):
                    connection = stack.enter_context(silent.accept()[0])
                    connection.settimeout(WAIT)
                    connection.recv(1, socket.MSG_PEEK)  # the ClientHello is there
                yield

    @contextlib.contextmanager
    def hung_look_ups(self):
        self.asked.write_text("")
        with self.disturbed("look-ups", 80, N_HUNG):
            wait_until(lambda: len(set(self.asked.read_text().splitlines())) >= N_HUNG,
                       "look-ups that hang")
            yield

        def over():
            with contextlib.suppress(OSError):  # nobody waits at the FIFO
                os.close(os.open(self.release, os.O_WRONLY | os.O_NONBLOCK))
            return self.broker.stats()["lookups_running"] == 0
        wait_until(over, "the end of the look-ups")


def measure_isolation(bench):
    scene = Scene(bench, one_core=False)
    results = alternate(bench, scene, {
        "paced": lambda: scene.handshaking("paced", RATE),
        "flood": lambda: scene.handshaking("flood", FLOOD_CLIENTS)})
    paced, flood = (statistics.median(scene.handshakes_a_second[kind])
                    for kind in ("paced", "flood"))
    # A tenth of the work is too short to count so well.
    if paced < RATE * (0.5 if bench.options.quick else 0.9):
        bench.lies.append(f"isolation: the origin counted {paced:.0f} handshakes a second, not "
                          f"{RATE}: this machine is too busy, or too slow")
    add_rows(bench, f"{RATE} TLS handshakes a second, paced", results["paced"])
    add_rows(bench, f"{FLOOD_CLIENTS} clients connecting with TLS flat out ({flood:,.0f} /s)",
             results["flood"], p50=2.0)

    scene = Scene(bench, one_core=True)
    results = alternate(bench, scene, {
        "look-ups": scene.hung_look_ups, "connects": scene.hung_connects,
        "handshakes": scene.hung_handshakes})
    for what, result in results.items():
        add_rows(bench, f"{N_HUNG} hung {what}", result, p99=1.10)


def alternate(bench, scene, cases):
    """{case: [((quiet before, quiet after), beside, share of others)]}; ends the scene."""
    results = {name: [] for name in cases}
    try:
        scene.measure()  # a warm-up
        for _ in range(bench.options.rounds):
            quiet = scene.measure()
            for name, case in cases.items():
                others = parties.Others()
                with case():
                    beside = scene.measure()
                after = scene.measure()
                results[name].append(((quiet, after), beside, others.share()))
                quiet = after
    finally:
        scene.stop()
    return results


def add_rows(bench, beside, result, p50=None, p99=None):
    for percentile, goal in (("p50", p50), ("p99", p99)):
        percentile_row(bench, f"RTT {percentile}, plain TCP, JSON, beside {beside}", percentile,
                       result, goal)


def percentile_row(bench, measure, percentile, result, goal):
    """Beside to quiet: of each round to the quiet ones before and after it."""
    figures = {}
    for side in ("direct", "broker"):
        pairs = [(times[side][percentile], beside[side][percentile])
                 for around, beside, _ in result for times in around]
        quiet, beside = (statistics.median(times) for times in zip(*pairs))
        figures[side] = (f"{quiet:.1f} → {beside:.1f} µs",
                         *ratio_of([beside / quiet for quiet, beside in pairs]))
    (direct, direct_ratio, _), (broker, ratio, words) = figures["direct"], figures["broker"]
    bench.row(measure, f"{direct}, ×{direct_ratio:.2f}", broker, words,
              f"≤ ×{goal:.2f}" if goal else "–", ratio <= goal if goal else None,
              [share for _, _, share in result])
