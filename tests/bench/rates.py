"""Rates: connect, echo of 64 bytes, close, by one client and by many at once; and only the echo."""
import statistics

import parties
from measures import per_second, ratio_of

# clients: what is made in each round, and the goals: plain, full handshake, resumed to direct full
COUNTS = {1: (1500, 200), 8: (4000, 400), 64: (4000, 800)}
GOALS = {1: (0.70, 0.90, 1.5), 8: (0.55, 0.90, 1.45), 64: (None, 0.95, 1.6)}


class Rates:
    def __init__(self, bench, clients, prefix):
        self.bench = bench
        self.clients = clients
        self.origin = parties.Origin(bench.build, bench.folder, prefix)
        self.broker = parties.Daemon(bench.build, bench.folder, prefix)
        self.load = parties.Party([*prefix, bench.build / "tests/bench/bench_load",
                                   f"broker={self.broker.path}",
                                   f"ca={bench.folder}/cacerts/ca.pem"])

    def stop(self):
        self.load.stop()
        self.broker.stop()
        self.origin.stop()

    def round(self, what, side, port, count):
        """(microseconds for each, what the origin saw)"""
        kind = "plain" if port == "plain" else "tls"
        with self.bench.counted(self.origin, port) as seen:
            took = self.load.ask(f"{what} {side} {kind} {self.origin.ports[port]} "
                                 f"{self.clients} {count}")
        return took["us"] / count, seen

    def rounds(self, name, sides, count, what="connect"):
        """sides: {key: (side, port)}. {key: [microseconds], "cpu": {key: [of whose it is]}, …}"""
        count = self.bench.count(count, least=2 * self.clients)
        result = {key: [] for key in sides}
        result |= {"others": [], "cpu": {key: [] for key in sides}}
        # The first round finds no tickets, cold caches, and threads to be made.
        for side, port in sides.values():
            self.round(what, side, port, max(2 * self.clients, count // 10))
        for _ in range(self.bench.options.rounds):
            for key, (side, port) in sides.items():
                worker = self.broker if side == "broker" else self.load
                others, cpu = parties.Others(), worker.cpu_us()
                took, seen = self.round(what, side, port, count)
                result["cpu"][key].append((worker.cpu_us() - cpu) / count)
                result["others"].append(others.share())
                result[key].append(took)
                self.check(f"{name}, c{self.clients}, {key}", port,
                           self.clients if what == "echo" else count, seen)
        return result

    def check(self, name, port, count, seen):
        self.bench.check(name, seen, accepted=count, handshakes=0 if port == "plain" else count,
                         failed=0)
        self.bench.check_resumed(name, seen, count, 1 if port == "tickets" else 0)


def measure_rates(bench):
    # Of one client one step follows the other: all on one core, as with round trips.
    pinned = ["taskset", "-c", str(bench.options.core)]
    for clients, prefix in ((1, pinned), (8, ()), (64, ())):
        rates = Rates(bench, clients, prefix)
        try:
            measure_clients(bench, rates, clients)
        finally:
            rates.stop()


def measure_clients(bench, rates, clients):
    n_plain, n_tls = COUNTS[clients]
    plain_goal, full_goal, resumed_goal = GOALS[clients]
    result = rates.rounds("plain", {"direct": ("direct", "plain"), "broker": ("broker", "plain")},
                          n_plain)
    bench.ratio_row(f"connect + echo + close, plain TCP, c{clients}, JSON", result,
                    f"≥ ×{plain_goal:.2f} (with attach)" if plain_goal else "–",
                    at_least=plain_goal, invert=True, form=per_second)
    result = rates.rounds("full", {"direct": ("direct", "tls"), "broker": ("broker", "tls")}, n_tls)
    bench.ratio_row(f"connect + echo + close, TLS full handshake, c{clients}, JSON", result,
                    f"≥ ×{full_goal:.2f} (with attach)", at_least=full_goal, invert=True,
                    form=per_second)
    if clients == 1:
        cpu_row(bench, "full handshake", result, "direct", 500)
    if clients == 64:
        result = rates.rounds("requests", {"direct": ("direct", "tls"),
                                           "broker": ("broker", "tls")}, 20000, "echo")
        bench.ratio_row("requests/s, TLS, 64 connections, JSON send + receive", result,
                        "≥ ×0.70 (attached)", at_least=0.70, invert=True, form=per_second)
    sides = {"direct": ("direct", "tls"), "resuming": ("resuming", "tickets")}
    if bench.resumes:
        sides["broker"] = ("broker", "tickets")
    result = rates.rounds("resumed", sides, n_tls)
    resumed_row(bench, clients, result, resumed_goal)
    if clients == 1:
        cpu_row(bench, "resumed", result, "resuming", 280)


def resumed_row(bench, clients, result, goal):
    full, resuming = (statistics.median(result[side]) for side in ("direct", "resuming"))
    broker, ratio, words, met = "not in this version", None, "–", None
    if "broker" in result:
        broker = per_second(statistics.median(result["broker"]))
        ratio, words = ratio_of([d / b for d, b in zip(result["direct"], result["broker"])])
        met = ratio >= goal
    bench.row(f"the same, TLS resumed, c{clients}, JSON, to direct full",
              f"{per_second(full)} full, {per_second(resuming)} resumed", broker, words,
              f"≥ ×{goal:.2f}", met, result["others"])


def cpu_row(bench, kind, result, direct, goal):
    """CPU time of the daemon; direct: of the program that connects by itself."""
    name = f"broker CPU per TLS connect + echo + close, {kind}"
    own = statistics.mean(result["cpu"][direct])
    if "broker" not in result:
        bench.row(name, f"{own:.0f} µs", "not in this version", "–", f"≤ {goal} µs", None)
        return
    cpu = statistics.mean(result["cpu"]["broker"])
    bench.row(name, f"{own:.0f} µs", f"{cpu:.0f} µs", f"×{cpu / own:.2f}", f"≤ {goal} µs",
              cpu <= goal, result["others"])
