"""Faults: a daemon whose allocations and system calls fail when the test says so, one after the other, without a restart.

Page      what the test and the preloaded libraries share (fault_page.h): arm() a fault, disarm(), hits, calls of each kind.
Victim    a client whose requests the faults strike. It notes which methods it has called.
Rig       a daemon with doors, a pool and an identity, peers that echo, and a good client that must be served right after
          each fault. check(): it is, and the daemon holds no more descriptors and sockets than before.
Case      one fault in one scenario; run_case() runs it and says what is wrong.
Life      a daemon's start and end, with a fault in one of them; run_life().

Scenarios are in fault_scenarios.py; to repeat a case that failed: TCPBROKER_FAULT='tls allocate ENOMEM 17 own'.
"""
import array
import collections
import ctypes
import errno
import glob
import json
import mmap
import os
import random
import re
import socket
import subprocess
import tempfile
import time

import harness
import servers
from ca import certificates
from harness import Daemon, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = harness.seconds(10)  # no answer takes longer, whatever fails
CALLERS = ("own", "uv", "ssl", "other")
SEED = int(os.environ.get("TCPBROKER_SEED", random.SystemRandom().randrange(1 << 32)))

with open(os.path.join(HERE, "fault_kinds.def"), encoding="ascii") as kinds_file:
    KINDS = re.findall(r"^KIND\((\w+)\)", kinds_file.read(), re.M)

SHORT = "SHORT"  # one byte only
NO_DESCRIPTOR, NO_MEMORY = ("EMFILE", "ENFILE"), ("ENOMEM", "ENOBUFS")
READ = ("EAGAIN", "EINTR", "ECONNRESET", "ETIMEDOUT", SHORT, "EHOSTUNREACH", "ENOMEM")
WRITE = ("EAGAIN", "EINTR", "EPIPE", "ECONNRESET", "ETIMEDOUT", *NO_MEMORY, SHORT)
OPEN = ("ENOENT", "EACCES", *NO_DESCRIPTOR, "ENOMEM", "EINTR", "EIO")
FILE = ("EIO", "ENOMEM", "EACCES", "ENOENT")
CHANGE = ("EPERM", "EACCES", "EROFS", "EIO", "ENOSPC", "ENOENT")
# What each kind may fail with. A kind that is not here does not fail: epoll_ctl is libuv's, which ends the process then.
ERRORS = {
    "allocate": ("ENOMEM",),
    "socket": (*NO_DESCRIPTOR, *NO_MEMORY, "EACCES", "EAFNOSUPPORT"),
    "connect": ("ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL", "EAGAIN", "EACCES", "EINTR",
                "ECONNRESET", "ENOBUFS"),
    "bind": ("EADDRINUSE", "EADDRNOTAVAIL", "EACCES", "ENOMEM", "EIO"),
    "listen": ("EADDRINUSE", "ENOBUFS"),
    "accept4": ("EAGAIN", "EINTR", "ECONNABORTED", "EPROTO", *NO_DESCRIPTOR, *NO_MEMORY, "EPERM"),
    "read": READ[:-1],  # OpenSSL's
    "readv": READ,
    "recv": READ,
    "recvmsg": READ,
    "write": ("EINTR",),  # an eventfd's, which cannot fail otherwise; log_write is the log's
    "log_write": ("EAGAIN", "EINTR", "EPIPE", "ENOSPC", "EIO", SHORT),
    "writev": WRITE,
    "send": WRITE,
    "sendto": WRITE[:-1],
    "sendmsg": (*WRITE, "ETOOMANYREFS"),
    "setsockopt": (*NO_MEMORY, "EINVAL", "ENOPROTOOPT", "EPERM"),
    "getsockopt": ("ENOBUFS", "EINVAL", "ENOPROTOOPT"),
    "getsockname": ("ENOBUFS", "EINVAL"),
    "getpeername": ("ENOBUFS", "ENOTCONN"),
    "shutdown": ("ENOTCONN", "ENOBUFS"),
    "socketpair": (*NO_DESCRIPTOR, *NO_MEMORY),
    "epoll_create1": (*NO_DESCRIPTOR, "ENOMEM"),
    "epoll_probe": ("ENOMEM", "ENOSPC"),
    "epoll_pwait": ("EINTR",),
    "eventfd": (*NO_DESCRIPTOR, "ENOMEM", "ENODEV"),
    "poll": ("EINTR", "ENOMEM"),
    "pipe2": NO_DESCRIPTOR,
    "fcntl": ("EINVAL", "EMFILE", "ENOMEM", "EPERM"),
    "ioctl": ("EINVAL", "ENOTTY", "EIO"),
    "open": OPEN,
    "openat": OPEN,
    "fopen": OPEN,
    "fdopen": ("ENOMEM",),
    "opendir": OPEN,
    "readdir": ("EIO",),
    "fstat": FILE[:2],
    "stat": FILE,
    "lstat": FILE,
    "close": ("EIO", "EINTR", "ENOSPC"),
    "unlink": CHANGE,
    "mkdir": CHANGE,
    "chmod": CHANGE,
    "fchmod": CHANGE,
    "lchown": CHANGE,
    "ftruncate": ("ENOSPC", "EIO"),
    "memfd_create": (*NO_DESCRIPTOR, "ENOMEM", "ENOSYS"),
    "mmap": ("ENOMEM",),
    "getrandom": ("EINTR", "ENOSYS", "EAGAIN"),
    "getifaddrs": (*NO_DESCRIPTOR, "ENOBUFS"),
    "gethostname": ("ENAMETOOLONG",),
    "pthread_create": ("EAGAIN",),
    "setpriority": ("EPERM", "EACCES"),
    "setrlimit": ("EPERM",),
    "getrlimit": ("EINVAL",),
    "sched_getaffinity": ("EINVAL",),
    "getpwnam_r": ("EIO", *NO_DESCRIPTOR, "ENOMEM", "EINTR"),
    "getgrnam_r": ("EIO", *NO_DESCRIPTOR, "ENOMEM", "EINTR"),
}


# Where a caller has only a part of them. The daemon itself reads from its eventfds only.
ONLY = {("read", "own"): ("EAGAIN", "EINTR")}


def library(name):
    """The path of a library that is preloaded, or None."""
    build = os.path.join(os.path.dirname(harness.daemon_path()), "..")
    found = glob.glob(os.path.join(build, "tests", "support", f"*{name}.so"))
    return os.path.abspath(found[0]) if found else None


def unusable():
    """Why there can be no faults, or None."""
    if library("fail_call") is None or library("fail_malloc") is None:
        return "the build has no tests/support/fail_call (build all targets)"
    return None


def sanitizer():
    """Has the daemon one? It has its own malloc, which cannot be made to fail."""
    with open(harness.daemon_path(), "rb") as file:
        return re.search(rb"__[at]san_init", file.read()) is not None


class Page:
    """struct fault_page."""

    FIELDS = ("armed", "kind", "callers", "error", "at", "repeat", "count", "hits", "where", "clock_s")
    N_HEAD, N_KINDS_MAX = 16, 96

    def __init__(self):
        size = 8 * (self.N_HEAD + self.N_KINDS_MAX * len(CALLERS))
        file = tempfile.NamedTemporaryFile(prefix="tcpbroker-faults-", delete=False)
        self.path = file.name
        file.truncate(size)
        self.map = mmap.mmap(file.fileno(), size)
        file.close()
        self.words = (ctypes.c_int64 * (size // 8)).from_buffer(self.map)

    def get(self, field):
        return self.words[self.FIELDS.index(field)]

    def put(self, field, value):
        self.words[self.FIELDS.index(field)] = value

    def arm(self, kind, error, at=1, callers=("own",), repeat=1):
        self.disarm()
        for field, value in (("kind", KINDS.index(kind)), ("error", 0 if error == SHORT else getattr(errno, error)),
                             ("at", at), ("callers", sum(1 << CALLERS.index(one) for one in callers)), ("repeat", repeat),
                             ("count", 0), ("hits", 0), ("where", 0), ("armed", 1)):
            self.put(field, value)

    def disarm(self):
        self.put("armed", 0)

    @property
    def hits(self):
        return self.get("hits")

    def calls(self):
        """{(kind, caller): how often} since the daemon began."""
        return {(kind, caller): self.words[self.N_HEAD + k * len(CALLERS) + c]
                for k, kind in enumerate(KINDS) for c, caller in enumerate(CALLERS)}

    def environment(self):
        preload = [library("fail_call")] + ([] if sanitizer() else [library("fail_malloc")])
        return {"LD_PRELOAD": ":".join(preload), "FAULT_PAGE": self.path,
                "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:verify_asan_link_order=0"}

    def close(self):
        os.unlink(self.path)


class Ended(Exception):
    """The request was answered with an error, or the connection was closed: the scenario ends here."""


class Wrong(AssertionError):
    """An answer that must not be."""


class Victim:
    """One connection to the daemon, or one after the other. Requests are answered in order here, as each is waited for."""

    called = set()  # methods, by all

    def __init__(self, path):
        self.path = path
        self.sock = None
        self.buffer = bytearray()
        self.fds = []
        self.next_id = 1
        self.ended = None
        self.notes = []  # notifications that came between answers

    def open(self):
        self.close()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT)
        self.sock.connect(self.path)
        self.buffer.clear()

    def post(self, method, params):
        """Send a request; its id."""
        if self.sock is None:
            self.open()
        Victim.called.add(method)
        id, self.next_id = self.next_id, self.next_id + 1
        try:
            self.sock.sendall(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # the answer may be there nevertheless
        return id

    def line(self):
        while (at := self.buffer.find(b"\n")) < 0:
            try:
                data, control, _, _ = self.sock.recvmsg(1 << 18, socket.CMSG_SPACE(64))
            except ConnectionResetError:
                data, control = b"", []
            except TimeoutError:
                raise Wrong(f"no answer within {LIMIT} s") from None
            for level, kind, payload in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds = array.array("i")
                    fds.frombytes(payload[:len(payload) - len(payload) % fds.itemsize])
                    self.fds += fds
            if not data:
                within = " within a line" if self.buffer else ""
                self.close()
                raise Ended("the connection was closed" + within)
            self.buffer += data
        line = bytes(self.buffer[:at])
        del self.buffer[:at + 1]
        return json.loads(line)

    def wait(self, id):
        answer = self.line()
        while isinstance(answer, dict) and "method" in answer and "id" not in answer:
            self.notes.append(answer)
            answer = self.line()
        if isinstance(answer, list):
            (answer,) = answer
        if answer.get("id") != id and not (answer.get("id") is None and "error" in answer):
            raise Wrong(f"not the answer to {id}: {answer}")
        if ("result" in answer) == ("error" in answer):
            raise Wrong(f"neither answer nor error: {answer}")
        if "error" in answer:
            data = answer["error"].get("data")
            if not isinstance(data, dict) or not {"symbol", "stage", "retryable"} <= set(data) or answer["error"]["code"] >= 0:
                raise Wrong(f"an incomplete error: {answer}")
            self.ended = data["symbol"]
            raise Ended(json.dumps(answer["error"]))
        return answer["result"]

    def ask(self, method, params=None):
        return self.wait(self.post(method, {} if params is None else params))

    def refused(self, method, params=None):
        """A request that is refused in any case."""
        try:
            result = self.ask(method, params)
        except Ended:
            if self.sock is None:
                raise
            self.ended = None
            return
        raise Wrong(f"{method} was not refused: {result}")

    def fd(self):
        """The descriptor that came with the last answer, as a socket."""
        if not self.fds:
            raise Wrong("an answer has told of a descriptor, and none came")
        taken = socket.socket(fileno=self.fds.pop(0))
        taken.settimeout(LIMIT)
        return taken

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()
        if self.sock:
            self.sock.close()
        self.sock = None


class Rig:
    """options: more for the daemon's command line."""

    POOL_IDLE = 2  # descriptors that may come and go with the pool

    def __init__(self, *options):
        self.page = Page()
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-faults-")
        self.plain = servers.Server()
        self.secure = servers.Server(tls=servers.tls_context())
        self.pooled = servers.Server()
        context = servers.tls13()
        context.num_tickets = 0  # so that it is verified each time
        self.unresumed = servers.Server(tls=context)
        self.extra = options
        self.daemon = self.good = None

    def options(self):
        chain, key = certificates().pem("mutual")
        pairs = {
            "threads.io": 1, "threads.dial": 1, "threads.resolver": 1, "threads.resolver_max": 2, "stop.drain_timeout": "2s",
            "log.level": "debug", "tls.system_store": "no", "tls.cacerts": certificates().cacerts,
            'identity "server".certificate': chain, 'identity "server".key': key, 'identity "server".users': os.getuid(),
            'pool "p".connect': f"localhost:{self.pooled.port}", 'pool "p".secure': "no", 'pool "p".max_idle': self.POOL_IDLE,
            'tunnel "t".listen': self.path("t"), 'tunnel "t".connect': f"127.0.0.1:{self.plain.port}", 'tunnel "t".secure': "no",
            'tunnel "n".listen': self.path("n"), 'tunnel "n".connect': f"localhost:{self.secure.port}",
            "socks.socket": self.path("s"), "connect.backoff_after": 0, "io.close_timeout": "1s",
        }
        return [word for name, value in pairs.items() for word in ("--set", f"{name}={value}")]

    def path(self, name):
        return os.path.join(self.folder, name)

    def __enter__(self):
        for server in (self.plain, self.secure, self.pooled, self.unresumed):
            server.__enter__()
        return self

    def start(self):
        """The daemon, and the good client."""
        self.page.disarm()
        self.daemon = Daemon(*self.options(), *self.extra, env=self.page.environment())
        self.daemon.__enter__()
        self.good = harness.Client(self.daemon, timeout=LIMIT)
        self.streams = [self.good.connect(self.plain.port),
                        self.good.connect(self.secure.port, host="localhost", secure=True)]
        self.turn = 0
        self.serves()
        self.settle()

    def settle(self):
        """What is there when nothing happens."""
        count = None
        while count != (count := len(self.daemon.fds())):
            time.sleep(0.1)
        self.base = count + self.POOL_IDLE

    def stop(self):
        """(exit status, last lines of the log)"""
        self.page.disarm()
        self.good.close()
        if self.daemon.alive():
            self.daemon.terminate()
        try:
            status = self.daemon.wait_exit(20)
        except subprocess.TimeoutExpired:
            status = "it did not end"
            self.daemon.kill()
        log = self.daemon.log()
        try:
            self.daemon.exit_status, self.daemon.log_ok = self.daemon.process.returncode, "."  # the caller judges
            self.daemon.__exit__(None, None, None)
        finally:
            self.daemon = None
        return status, log

    def __exit__(self, *unused):
        status, log = self.stop() if self.daemon else (0, "")
        bad = harness.BAD_LOG.search(log)
        for server in (self.plain, self.secure, self.pooled, self.unresumed):
            server.__exit__()
        for name in os.listdir(self.folder):
            os.unlink(self.path(name))
        os.rmdir(self.folder)
        self.page.close()
        if status != 0 or bad:
            raise Wrong(f"the daemon has ended with {status}, its log has {bad and bad.group(0)!r}:\n{log[-5000:]}")
        return False

    def serves(self):
        """The good client gets every byte of its own back."""
        self.turn += 1
        for number in self.streams:
            text = f"{self.turn} of {number}: " + "good" * (self.turn % 50) + "\n"
            asked = [self.good.send("TCPSend", [number, text]),
                     self.good.send("TCPReceive", socket=number, exact=len(text), timeout_ms=int(LIMIT * 1000))]
            answers = [self.good.answer(id) for id in asked]
            if answers[0].get("result") != {"sent": len(text)} or answers[1].get("result", {}).get("data") != text:
                raise Wrong(f"the good client is not served: {answers}")

    def ebb(self, timeout=1):
        """What the victim had is closed, or will not be."""
        end = time.monotonic() + timeout
        while self.daemon.alive() and len(self.daemon.fds()) > self.base and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(0.002)

    def connects(self):
        """New connections are made and verified as ever."""
        number = self.good.connect(self.unresumed.port, host="localhost", secure=True)
        self.good.call("TCPClose", [number, 2])

    def check(self):
        if not self.daemon.alive():
            raise Wrong(f"the daemon has ended with {self.daemon.process.returncode}")
        self.serves()
        self.connects()
        wait_until(lambda: len(self.daemon.fds()) <= self.base, 5, "as few descriptors as before", step=0.002)
        wait_until(lambda: self.good.call("Broker.Stats")["sockets"] == len(self.streams), 5, "as few sockets as before",
                   step=0.002)
        if self.good.strays:
            raise Wrong(f"answers nobody asked for: {self.good.strays}")


class Case(collections.namedtuple("Case", "scenario kind error at caller")):
    __slots__ = ()

    def __str__(self):
        return f"{self.scenario} {self.kind} {self.error} {self.at} {self.caller}"

    @staticmethod
    def parse(text):
        scenario, kind, error, at, caller = text.split()
        return Case(scenario, kind, error, int(at), caller)


def count_calls(rig, scenarios, kinds, callers):
    """How many calls of each kind a scenario makes: {(scenario, kind, caller): n}, from two runs without a fault, which also
    warm up what is made once only."""
    counted = {}
    for name, scenario in scenarios.items():
        for _ in range(2):
            before = rig.page.calls()
            victim = Victim(rig.daemon.socket_path)
            try:
                scenario.run(rig, victim)
            except Ended as error:
                raise Wrong(f"{name} fails without a fault: {error}") from None
            finally:
                victim.close()
            rig.ebb()
            after = rig.page.calls()
            rig.check()
            for key, n in after.items():
                if key[0] in kinds and key[1] in callers and n > before[key]:
                    counted[name, *key] = max(n - before[key], counted.get((name, *key), 0))
    return counted


def all_cases(counted):
    return [Case(scenario, kind, error, at, caller) for (scenario, kind, caller), n in sorted(counted.items())
            for error in ONLY.get((kind, caller), ERRORS.get(kind, ())) for at in range(1, n + 1)]


def sample(cases, n, n_seconds):
    """A generator of n of them, or as many as there is time for: of each scenario and kind one at first; by $TCPBROKER_SEED."""
    if os.environ.get("TCPBROKER_FAULT"):
        yield Case.parse(os.environ["TCPBROKER_FAULT"])
        return
    if os.environ.get("TCPBROKER_FULL"):
        yield from cases
        return
    shuffled = random.Random(SEED).sample(cases, len(cases))
    first = {}
    for case in shuffled:
        first.setdefault((case.scenario, case.kind), case)
    firsts = list(first.values())
    random.Random(SEED).shuffle(firsts)
    rest = [case for case in shuffled if first[case.scenario, case.kind] is not case]
    end = time.monotonic() + n_seconds
    for case in (firsts + rest)[:n]:
        if time.monotonic() > end:
            return
        yield case


class Tally:
    def __init__(self):
        self.injected = collections.Counter()
        self.told = collections.Counter()
        self.symbols = collections.defaultdict(collections.Counter)
        self.slow = []
        self.bad = []

    def figures(self):
        return (f"{sum(self.injected.values())} faults of {len(self.injected)} kinds, "
                f"{sum(self.told.values())} told by an error, {len(self.bad)} bad")

    def table(self):
        lines = ["  kind               injected   told"]
        lines += [f"  {kind:18} {n:8} {self.told[kind]:6}" for kind, n in sorted(self.injected.items())]
        return "\n".join(lines)


def run_case(rig, scenarios, case, tally, repeat=1):
    """Run it, with so many faults in a row; the daemon is started anew when it has not survived. Returns what is wrong, or None."""
    if rig.daemon is None:
        rig.start()
    victim = Victim(rig.daemon.socket_path)
    began = time.monotonic()
    problem = ended = None
    rig.page.arm(case.kind, case.error, case.at, (case.caller,), repeat)
    try:
        try:
            scenarios[case.scenario].run(rig, victim)
        except Ended as error:
            ended = str(error)
        except (Wrong, OSError, ValueError, KeyError) as error:
            problem = f"{type(error).__name__}: {error}"
        took = time.monotonic() - began
        victim.close()
        rig.ebb()
        hits, where = rig.page.hits, rig.page.get("where")
        rig.page.disarm()
        if took > 2:
            tally.slow.append((case, took))
        try:
            rig.check()
        except Exception as error:  # whatever the good client meets
            problem = f"{problem + '; ' if problem else ''}{type(error).__name__}: {error}"
    finally:
        rig.page.disarm()
    tally.injected[case.kind] += hits
    tally.told[case.kind] += ended is not None and hits > 0
    if ended and hits:
        tally.symbols[case.kind, case.error][victim.ended or "closed"] += 1
    if ended and not hits:
        problem = f"{problem + '; ' if problem else ''}an error without a fault: {ended}"
    if problem is None:
        return None
    tally.bad.append(case)
    status, log = rig.stop()
    return f"{case}: {problem} (the call at {where:#x}, the daemon ended with {status})\n" + \
        "\n".join("    " + line[:300] for line in log.splitlines()[-8:])


class Life:
    """A daemon's start and its end, with a fault in one of them."""

    def __init__(self, rig, endings):
        self.rig, self.endings = rig, endings

    def run(self, arm=None, ending=None):
        """arm: called before the start, or before the ending, one of ENDINGS. Returns (started, exit status, log, calls made in
        the start, or in the ending)."""
        page, at_end = self.rig.page, ending is not None
        page.disarm()
        before = page.calls()
        if arm and not at_end:
            arm()
        daemon = Daemon(*self.rig.options(), *self.rig.extra, "--set", "stop.drain_timeout=50ms", env=page.environment(),
                        wait=False)
        daemon.__enter__()
        try:
            wait_until(lambda: not daemon.alive() or re.search(r" tcpbrokerd \S+ listens on ", daemon.log()), 10,
                       "the start, or its failure", step=0.003)
            counted = page.calls()
            if started := daemon.alive():
                self.use(daemon, page, arm if at_end else None, ending or "end")
                if at_end:
                    before = counted
            status = daemon.wait_exit(15)
            if at_end:
                counted = page.calls()
            page.disarm()
            return started, status, daemon.log(), {key: n - before[key] for key, n in counted.items() if n > before[key]}
        finally:
            page.disarm()
            daemon.kill()
            daemon.exit_status, daemon.log_ok = daemon.process.returncode, "."  # the caller judges
            daemon.__exit__(None, None, None)

    def use(self, daemon, page, arm, ending):
        """One that says that it has started serves; its end comes while something runs."""
        if not arm:
            page.disarm()
        with harness.Client(daemon, timeout=LIMIT) as client:
            number = client.connect(self.rig.plain.port)
            try:
                secure = client.connect(self.rig.secure.port, host="localhost", secure=True)
            except harness.RpcError as error:
                if not error.symbol.startswith("CA_"):  # a trust profile may be bad at the start; it says why
                    raise
                secure = number
            for one in (number, secure):
                client.call("TCPSend", [one, "hello"])
                if client.call("TCPReceive", socket=one, exact=5)["data"] != "hello":
                    raise Wrong("other bytes")
            client.send("TCPReceive", [number])
            if arm:
                arm()
            self.endings[ending].run(daemon, client)
            daemon.wait_exit(15)
            # without memory it cannot know which request that was
            client.strays = [one for one in client.strays if not isinstance(one, dict) or one.get("id") is not None]


def run_life(life, case, tally):
    """case.scenario: start, or an ending. Returns what is wrong, or None."""
    problem, ending = None, None if case.scenario == "start" else case.scenario
    try:
        started, status, log, _ = life.run(lambda: life.rig.page.arm(case.kind, case.error, case.at, (case.caller,)), ending)
    except (Wrong, AssertionError, subprocess.TimeoutExpired, harness.Closed, harness.RpcError) as error:
        return f"{case}: {type(error).__name__}: {error}"
    tally.injected[case.kind] += life.rig.page.hits
    tally.told[case.kind] += not started
    if started and status != 0:
        problem = f"it ended with {status}"
    elif not started and (status not in (1, 2) or not re.search(r" error \S|tcpbrokerd: |cannot be ", log)):
        problem = f"it did not start, with status {status}, and does not say why"
    elif harness.BAD_LOG.search(log):
        problem = "its log is not clean"
    if problem:
        tally.bad.append(case)
        problem = f"{case}: {problem} (the call at {life.rig.page.get('where'):#x})\n" + \
            "\n".join("    " + line[:300] for line in log.splitlines()[-8:])
    return problem
