"""Connections a second: connect, echo of 64 bytes, close, by one client and by many at once."""
import statistics

import parties
from measures import per_second, ratio_of

# clients: what is made in each round, and the goals: plain, full handshake, resumed to direct full
COUNTS = {1: (1500, 200), 8: (4000, 400), 64: (4000, 800)}
GOALS = {1: (0.70, 0.90, 1.5), 8: (0.55, 0.90, 1.45), 64: (None, 0.95, 1.6)}
LEAST_RESUMED = 0.95


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

    def round(self, side, port, count):
        """Microseconds for each connection of a round in which the origin saw what it should."""
        kind = "plain" if port == "plain" else "tls"
        with self.bench.counted(self.origin, port) as seen:
            took = self.load.ask(f"{side} {kind} {self.origin.ports[port]} {self.clients} {count}")
        return took["us"] / count, seen

    def rounds(self, name, sides, count):
        """sides: {what: (side, port)}. {what: [microseconds], "cpu_us": of the daemon, "others": […]}"""
        bench, clients = self.bench, self.clients
        count = bench.count(count, least=2 * clients)
        result = {what: [] for what in sides}
        result |= {"others": [], "cpu_us": []}
        for i in range(-1, bench.options.rounds):
            for what, (side, port) in sides.items():
                others = parties.Others()
                cpu = self.broker.cpu_us()
                n = count if i >= 0 else max(2 * clients, count // 10)
                took, seen = self.round(side, port, n)
                if i < 0:  # the first finds no tickets, cold caches and threads to be made
                    continue
                result[what].append(took)
                result["others"].append(others.share())
                if side == "broker":
                    result["cpu_us"].append((self.broker.cpu_us() - cpu) / n)
                where = f"{name}, c{clients}, {what}"
                bench.check(where, seen, accepted=n, handshakes=0 if port == "plain" else n,
                            failed=0)
                if port != "tickets":
                    bench.check(where, seen, resumed=0)
                elif seen["resumed"] < LEAST_RESUMED * n:
                    bench.lies.append(f"{where}: the origin counted {seen['resumed']} of {n} "
                                      "handshakes resumed")
        return result


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
        cpu_row(bench, "full handshake", result, 500)
    sides = {"direct": ("direct", "tls"), "resuming": ("resuming", "tickets")}
    if bench.resumes:
        sides["broker"] = ("broker", "tickets")
    result = rates.rounds("resumed", sides, n_tls)
    resumed_row(bench, clients, result, resumed_goal)
    if clients == 1:
        cpu_row(bench, "resumed", result, 280)


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


def cpu_row(bench, kind, result, goal):
    name = f"broker CPU per TLS connect + echo + close, {kind}"
    if not result["cpu_us"]:
        bench.row(name, "–", "not in this version", "–", f"≤ {goal} µs", None)
        return
    cpu = statistics.mean(result["cpu_us"])
    bench.row(name, "–", f"{cpu:.0f} µs", "–", f"≤ {goal} µs", cpu <= goal, result["others"])
