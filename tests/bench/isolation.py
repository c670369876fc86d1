"""How much what one client does slows down another: round trips in quiet and beside it."""
import contextlib
import os
import pathlib
import select
import socket
import statistics
import time

import parties
from measures import ratio_of

N_HUNG = 200
RATE = 400  # handshakes a second, paced
FLOOD_CLIENTS = 8
N_ROUND_TRIPS = 15000


def wait_until(condition, what):
    until = time.monotonic() + 20
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"isolation: {what} did not come true")
        time.sleep(0.01)


class Scene:
    """The client that is measured with its own origin, the daemon, and another origin for the others."""

    def __init__(self, bench):
        self.bench = bench
        self.release = bench.folder / "release"
        self.asked = bench.folder / "asked"
        os.mkfifo(self.release)
        environment = {
            "LD_PRELOAD": str((bench.build / "tests/support/libslow_resolver.so").resolve()),
            "SLOW_RESOLVER_RELEASE": str(self.release), "SLOW_RESOLVER_LOG": str(self.asked)}
        pins = os.environ.get("PINS", "0,0,,1,1").split(",")
        pin = lambda i: ["taskset", "-c", pins[i].replace("+", ",")] if pins[i] else []
        self.pin = pin
        self.near = parties.Origin(bench.build, bench.folder, pin(1))
        self.far = parties.Origin(bench.build, bench.folder, pin(3))
        self.broker = parties.Daemon(bench.build, bench.folder, pin(2), environment=environment)
        self.probe = parties.Party([*pin(0), *bench.command("probe", "plain", self.broker, self.near.ports["plain"])])

    def stop(self):
        self.probe.stop()
        self.broker.stop()
        self.near.stop()
        self.far.stop()
        self.release.unlink()

    @contextlib.contextmanager
    def disturbed(self, kind, port, n):
        """Yields what was made and failed, after the block."""
        told = {}
        party = parties.Party([*self.pin(4), self.bench.build / "tests/bench/bench_disturb",
                               self.broker.path, kind, port, n])
        party.read()
        try:
            yield told
        finally:
            told["last"] = party.stop()

    # ---- what goes on beside; each proves that it does

    @contextlib.contextmanager
    def nothing(self):
        yield

    @contextlib.contextmanager
    def handshakes(self, kind, n):
        before, started = self.far.counts()["tls"], time.monotonic()
        with self.disturbed(kind, self.far.ports["tls"], n):
            time.sleep(0.05)
            yield
        rate = (self.far.counts()["tls"]["handshakes"] - before["handshakes"]) / (
            time.monotonic() - started)
        self.rate = rate

    @contextlib.contextmanager
    def look_ups(self):
        self.asked.write_text("")
        with self.disturbed("look-ups", 80, N_HUNG):
            wait_until(lambda: len(self.asked.read_text().splitlines()) >= N_HUNG, "200 look-ups")
            yield

        def released():
            with contextlib.suppress(OSError):
                os.close(os.open(self.release, os.O_WRONLY | os.O_NONBLOCK))
            return self.broker.stats()["lookups_running"] == 0
        wait_until(released, "the end of the look-ups")

    @contextlib.contextmanager
    def connects(self):
        with contextlib.ExitStack() as stack:
            hole = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            while True:
                filler = stack.enter_context(socket.socket())
                filler.settimeout(0.1)
                try:
                    filler.connect(hole.getsockname())
                except TimeoutError:
                    break
            port = hole.getsockname()[1]
            with self.disturbed("connects", port, N_HUNG):
                wait_until(lambda: connecting(port) >= N_HUNG, "200 connects")
                yield

    @contextlib.contextmanager
    def silent(self):
        with contextlib.ExitStack() as stack:
            mute = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
            with self.disturbed("handshakes", mute.getsockname()[1], N_HUNG):
                for _ in range(N_HUNG):
                    mute.settimeout(20)
                    connection = stack.enter_context(mute.accept()[0])
                    connection.settimeout(20)
                    connection.recv(1, socket.MSG_PEEK)
                yield


def connecting(port):
    """How many wait for the answer to their SYN to this port of 127.0.0.1."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    wanted = f"0100007F:{port:04X}"
    return sum(fields[2] == wanted and fields[3] == "02" for fields in map(str.split, lines))


def measure_isolation(bench):
    scene = Scene(bench)
    n = bench.count(N_ROUND_TRIPS)
    cases = {"paced": lambda: scene.handshakes("paced", RATE),
             "flood": lambda: scene.handshakes("flood", FLOOD_CLIENTS),
             "look-ups": scene.look_ups, "connects": scene.connects, "silent": scene.silent}
    try:
        scene.probe.ask(str(n))
        for i in range(bench.options.rounds):
            for name, case in cases.items():
                scene.rate = 0
                quiet = scene.probe.ask(str(n))
                with case():
                    t=time.monotonic()
                    beside = scene.probe.ask(str(n))
                    t=time.monotonic()-t
                print(f"{name:9} {t:5.2f}s", *(f"{side} " + " ".join(
                    f"{p} {quiet[side][p]:.1f}→{beside[side][p]:.1f} ×{beside[side][p]/quiet[side][p]:.2f}" for p in ("p50", "p99")) for side in ("direct", "broker")), f"{scene.rate:.0f}/s", flush=True)
    finally:
        scene.stop()
