"""What the measures share: rounds, the comparison with what the origin counted, and the table."""
import contextlib
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

import parties


class Bench:
    def __init__(self, options, build, folder):
        self.options = options
        self.build = build
        self.folder = folder
        self.rows = []
        self.lies = []

    def count(self, wanted, least=1):
        """How much to do in each round."""
        return max(least, wanted // (10 if self.options.quick else 1))

    def command(self, measure, kind, broker, port, prefix=(), **more):
        words = [f"{name}={value}" for name, value in more.items()]
        return [*prefix, str(self.build / "tests/bench/bench_client"), measure, kind,
                f"broker={broker.path}", f"ca={self.folder}/cacerts/ca.pem", f"port={port}", *words]

    def check(self, name, seen, **expected):
        """What the origin saw must be what the client says it did."""
        for key, value in expected.items():
            if seen[key] != value:
                self.lies.append(f"{name}: the origin counted {seen[key]} {key}, not {value}")

    def check_resumed(self, name, seen, made, least, most):
        """So large a share of them; the first of all cannot."""
        if not least * made - 1 <= seen["resumed"] <= most * made:
            self.lies.append(f"{name}: the origin counted {seen['resumed']} of {made} handshakes "
                             f"as resumed, not {least:.0%} to {most:.0%}")

    @contextlib.contextmanager
    def counted(self, origin, port):
        """A dictionary that has, after the block, what the origin counted during it."""
        seen = {}
        before = origin.counts()[port]
        yield seen
        after = origin.counts()[port]
        seen.update({key: after[key] - before[key] for key in after})

    def rounds(self, name, measure, kind, broker, origin, count, prefix=(), port=None, **more):
        """Rounds of direct and broker by one process, which takes turns by itself."""
        count = self.count(count)
        port = port or kind
        others = parties.Others()
        cpu = broker.cpu_us()
        with self.counted(origin, port) as seen:
            done = subprocess.run(
                self.command(measure, kind, broker, origin.ports[port], prefix,
                             rounds=self.options.rounds, count=count, **more),
                capture_output=True, text=True, timeout=parties.DEADLINE)
            if done.returncode != 0:
                raise SystemExit(f"{name}: {done.stderr}")
            result = json.loads(done.stdout)
        made = result["connections"]
        self.check(name, seen, accepted=made, handshakes=made if kind == "tls" else 0,
                   failed=0)
        return {**result, "cpu_us": broker.cpu_us() - cpu, "count": count, "seen": seen,
                "others": [others.share()]}

    def row(self, measure, direct, broker, ratio, goal, met, others=(), peers="–"):
        verdict = "" if met is None else "met" if met else "missed"
        shares = f"{statistics.median(others):.0%}" if others else "–"
        if len(others) > 1:
            shares += f" (≤ {max(others):.0%})"
        self.rows.append((measure, direct, broker, ratio, peers, goal, verdict, shares))
        print("  " + " | ".join(self.rows[-1]), file=sys.stderr, flush=True)

    def ratio_row(self, measure, result, goal, at_most=None, at_least=None, invert=False,
                  form=lambda us: f"{us:.1f} µs", side="broker", met=None, peers="–"):
        """Ratio of each pair of rounds, median; invert: of rates instead of times."""
        direct, broker = result["direct"], result[side]
        ratio, words = ratio_of([d / b if invert else b / d for d, b in zip(direct, broker)])
        if at_most is not None:
            met = ratio <= at_most
        if at_least is not None:
            met = ratio >= at_least
        self.row(measure, form(statistics.median(direct)), form(statistics.median(broker)), words,
                 goal, met, result["others"], peers)


def ratio_of(pairs):
    """(the median, the same with the lowest and the highest as text)"""
    ratio = statistics.median(pairs)
    digits = digits_of(ratio)
    return ratio, f"{times(ratio)} ({min(pairs):.{digits}f}–{max(pairs):.{digits}f})"


def digits_of(ratio):
    return 2 if ratio >= 0.2 else 3


def times(ratio):
    return f"×{ratio:.{digits_of(ratio)}f}"


def per_second(us):
    return f"{1e6 / us:,.0f} /s"


def milliseconds(us):
    return f"{us / 1e3:.2f} ms"


def table(rows):
    head = ("measure", "direct", "broker", "ratio (lowest–highest round)",
            "peers: their ratio", "goal", "", "others' CPU")
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))


def machine():
    model = next((line.split(":", 1)[1].strip()
                  for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    tls = subprocess.run(["openssl", "version"], capture_output=True, text=True).stdout.strip()
    return (f"{len(os.sched_getaffinity(0))} cores of {model}, Linux {platform.release()}, "
            f"{' '.join(tls.split()[:2])}")
