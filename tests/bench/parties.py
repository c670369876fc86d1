"""The processes of the benchmark: origin, daemon, clients; and what else the machine does."""
import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import time

DEADLINE = 120  # seconds for any one step
TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")
running = set()  # process numbers


def make_certificates(folder):
    """A CA and a certificate for 127.0.0.1, ECDSA P-256, good for two days."""
    (folder / "cacerts").mkdir()
    extensions = folder / "san.conf"
    extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n"
                          "extendedKeyUsage=serverAuth\nkeyUsage=critical,digitalSignature\n"
                          "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for command in (
            ["req", "-x509", *key, "-keyout", "ca.key", "-out", "cacerts/ca.pem", "-days", "2",
             "-subj", "/CN=tcpbroker benchmark CA", "-addext",
             "keyUsage=critical,keyCertSign,cRLSign"],
            ["req", "-new", *key, "-keyout", "origin.key", "-out", "origin.csr", "-subj",
             "/CN=origin"],
            ["x509", "-req", "-in", "origin.csr", "-CA", "cacerts/ca.pem", "-CAkey", "ca.key",
             "-CAcreateserial", "-days", "2", "-extfile", "san.conf", "-out", "origin.pem"]):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True,
                       timeout=DEADLINE)


def end_all():
    """Those that an error has left behind."""
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Party:
    """A process that answers lines with lines and ends with its standard input."""

    def __init__(self, command):
        self.name = pathlib.Path(command[-1] if len(command) == 1 else next(
            word for word in map(str, command) if "bench_" in word)).name
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        running.add(self.process.pid)

    def read(self):
        if not select.select([self.process.stdout], [], [], DEADLINE)[0]:
            raise SystemExit(f"{self.name} did not answer within {DEADLINE} s")
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} failed")
        return line

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.read())

    def cpu_us(self):
        return cpu_us(self.process.pid)

    def stop(self):
        """End it; the rest of what it says."""
        self.process.stdin.close()
        self.process.wait(DEADLINE)
        running.discard(self.process.pid)
        return self.process.stdout.read()


class Origin(Party):
    def __init__(self, build, folder, prefix=()):
        super().__init__([*prefix, build / "tests/bench/bench_origin", folder / "origin.pem",
                          folder / "origin.key"])
        self.ports = json.loads(self.read())

    def counts(self):
        """{port: {what: how many}}"""
        return self.ask("counts")


# One user makes all the load here, so what is for each user must not be less than what is for all.
ONE_USER = ("connects_per_second = 0", "connects_burst = 1000000", "sockets_per_user = 40000",
            "clients_per_user = 40000", "requests_per_user = 1000000")


def one_user(build, folder):
    """The settings, if this version of the daemon knows them."""
    path = folder / "one-user.conf"
    path.write_text("[limits]\n" + "".join(line + "\n" for line in ONE_USER))
    known = takes_config(build, path)
    return ["limits." + line.replace(" ", "") for line in ONE_USER] if known else []


class Daemon:
    def __init__(self, build, folder, prefix=(), settings=(), environment=None,
                 config=os.devnull):
        settings = [*one_user(build, folder), *settings]
        self.path = folder / "broker.sock"
        self.log = open(folder / "daemon.log", "ab")
        options = [word for setting in settings for word in ("--set", setting)]
        self.process = subprocess.Popen(
            [*prefix, build / "daemon/tcpbrokerd", "--config", config, "--socket", self.path,
             "--cacerts", folder / "cacerts", "--set", "log.level=warning", *options],
            stdout=self.log, stderr=self.log, env={**os.environ, **(environment or {})})
        running.add(self.process.pid)
        until = time.monotonic() + 10
        while not self.path.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"tcpbrokerd did not start; see {self.log.name}")
            time.sleep(0.01)

    def cpu_us(self):
        return cpu_us(self.process.pid)

    def keep_threads(self, start, core):
        """Threads whose names begin so stay on that core."""
        self.stats()  # all threads are there once it answers
        kept = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            if (task / "comm").read_text().startswith(start):
                os.sched_setaffinity(int(task.name), {core})
                kept += 1
        if kept == 0:
            raise SystemExit(f"tcpbrokerd has no thread named {start}…")

    def rss_kib(self):
        return rss_kib(self.process.pid)

    def stats(self):
        """Broker.Stats"""
        with socket.socket(socket.AF_UNIX) as session:
            session.settimeout(DEADLINE)
            session.connect(str(self.path))
            session.sendall(b'{"jsonrpc":"2.0","id":1,"method":"Broker.Stats"}\n')
            with session.makefile() as answers:
                return json.loads(answers.readline())["result"]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE)
        running.discard(self.process.pid)
        self.log.close()


def takes_config(build, path):
    """Does this version of the daemon know all that stands there?"""
    return subprocess.run([build / "daemon/tcpbrokerd", "--check-config", path],
                          capture_output=True, timeout=DEADLINE).returncode == 0


def stat_fields(pid):
    """From the third field of proc(5)'s stat on; numbers, but for the first of them."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return [0, *map(int, fields[1:])]


def cpu_us(pid):
    """User and system time of the process, microseconds."""
    return sum(stat_fields(pid)[11:13]) * TICK_US


def children(pid):
    return list(map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def rss_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise SystemExit(f"no VmRSS of {pid}")


class Others:
    """The share of all CPU time that went to processes that are not ours, or to other machines."""

    def __init__(self):
        self.started = self.now()

    @staticmethod
    def now():
        times = os.times()
        ours = sum(times[:4]) * 1e6 + TICK_US * sum(sum(stat_fields(pid)[11:15])
                                                    for pid in running)
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, idle, wait, irq, softirq, steal = map(
                int, file.readline().split()[1:9])
        busy = user + nice + system + irq + softirq
        return ours / TICK_US, busy, steal, busy + idle + wait + steal

    def share(self):
        ours, busy, steal, total = (after - before
                                    for before, after in zip(self.started, self.now()))
        return (max(0, busy - ours) + steal) / max(1, total)
