"""An origin, the daemon, the peers and the clients of a group of rows; rounds of them in turn."""
import os
import statistics

import parties
import peers
from measures import times

LEAST_RESUMED = 0.95  # of those that are to be
OURS = ("direct", "resuming", "broker", "attach")


class Field:
    def __init__(self, bench, clients=1, prefix=(), config=None, environment=None):
        """config: what makes the daemon's configuration, of the origin's ports; environment: the
        daemon's."""
        self.bench = bench
        self.clients = clients
        self.origin = parties.Origin(bench.build, bench.folder, prefix)
        self.broker = parties.Daemon(bench.build, bench.folder, prefix,
                                     config=config(self.origin.ports) if config else os.devnull,
                                     environment=environment)
        self.peers = {peer.name: peer for peer in peers.start(bench, self.origin, prefix)}
        self.load = parties.Party([*prefix, bench.build / "tests/bench/bench_load",
                                   f"broker={self.broker.path}",
                                   f"ca={bench.folder}/cacerts/ca.pem"])

    def stop(self):
        self.load.stop()
        for peer in self.peers.values():
            peer.stop()
        self.broker.stop()
        self.origin.stop()

    def sides(self, port, *ours):
        """{who: port}: these and the peers that can."""
        return {side: port for side in (*ours, *(name for name, peer in self.peers.items()
                                                 if port in peer.ports))}

    def worker(self, side):
        """Whose work it is to connect."""
        if side in ("broker", "attach"):
            return self.broker
        return self.peers.get(side, self.load)

    def round(self, what, side, port, count):
        """(microseconds for each, what the origin saw)"""
        kind = "plain" if port == "plain" else "tls"
        way = self.peers[side].path(port) if side in self.peers else side
        with self.bench.counted(self.origin, port) as seen:
            took = self.load.ask(f"{what} {way} {kind} {self.origin.ports[port]} "
                                 f"{self.clients} {count}")
        return took["us"] / count, seen

    def rounds(self, name, sides, count, what="connect"):
        """{side: [microseconds of each round], "cpu": {side: [of its worker]}, "resumed": {side:
        [share]}, "others": [share], "peers": [who of them are peers]}"""
        count = self.bench.count(count, least=2 * self.clients)
        result = {side: [] for side in sides}
        result |= {"others": [], "cpu": {side: [] for side in sides},
                   "resumed": {side: [] for side in sides},
                   "peers": [side for side in sides if side in self.peers]}
        # The first round finds no tickets, cold caches, and threads to be made.
        for side, port in sides.items():
            self.round(what, side, port, max(2 * self.clients, count // 10))
        for _ in range(self.bench.options.rounds):
            for side, port in sides.items():
                worker = self.worker(side)
                others, cpu = parties.Others(), worker.cpu_us()
                took, seen = self.round(what, side, port, count)
                result["cpu"][side].append((worker.cpu_us() - cpu) / count)
                result["others"].append(others.share())
                result[side].append(took)
                made = count if what == "connect" else self.clients
                result["resumed"][side].append(seen["resumed"] / made)
                self.check(f"{name}, c{self.clients}, {side}", side, port, made, seen)
        return result

    def check(self, name, side, port, made, seen):
        self.bench.check(name, seen, accepted=made, handshakes=0 if port == "plain" else made,
                         failed=0)
        share = 1 if port == "tickets" else 0
        # What peers resume is theirs to choose; the row tells it.
        least = LEAST_RESUMED * share if side in OURS else 0
        self.bench.check_resumed(name, seen, made, least, share)

    def ratio_row(self, measure, result, goal, side="attach", **more):
        self.bench.ratio_row(measure, result, goal, side=side, peers=peer_ratios(
            result, more.get("invert", False)), **more)


def peer_ratios(result, invert=False):
    """The peers, the best first, as one text."""
    cells = []
    for name in result["peers"]:
        pairs = zip(result["direct"], result[name])
        ratio = statistics.median(d / b if invert else b / d for d, b in pairs)
        share = statistics.median(result["resumed"][name])
        cells.append((-ratio if invert else ratio, f"{name} {times(ratio)}" + (
            f" ({share:.0%} resumed)" if 0 < share < LEAST_RESUMED else "")))
    return peer_cell(cells)


def peer_cell(cells):
    """cells: (what to sort by, the least is best; text)"""
    return ", ".join(text for _, text in sorted(cells)) or "–"
