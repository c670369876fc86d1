"""Network: hosts of our own, to test what happens on a wire: silence, delay, who says what when.

    near ── wire 4 ── far       near: where the daemon runs (NetDaemon); far: where servers listen, as many addresses
         ── wire 6 ──           of both families as wanted. One wire for each family.

Three network namespaces; in the third, between the two, a thread of ours passes the frames on. It can lose what goes to an
address (drop), or pass it on later (delay), and it remembers every TCP segment that it has seen. So no firewall is needed, no
queueing discipline, and nothing but iproute2; all this needs root. What was made is taken away again, also after a failure.
"""
import collections
import contextlib
import ctypes
import heapq
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
import unittest

from harness import Daemon, wait_until

CLONE_NEWNET = 0x40000000
ETH_P_ALL, PACKET_OUTGOING, SOL_PACKET, PACKET_VNET_HDR, N_VNET_HDR = 3, 4, 263, 15, 10
FIN, SYN, RST, ACK = 1, 2, 4, 16

NEAR = {4: "192.0.2.1", 6: "2001:db8::1"}
PREFIX = {4: 24, 6: 64}

# when: seconds since forget(); out: from near to far
Segment = collections.namedtuple("Segment", "when out family source destination source_port destination_port flags lost")


def run(*command, check=True):
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done


def sweep():
    """Takes away what a test left that was killed: the name tells whose it is."""
    if not os.path.isdir("/run/netns"):
        return
    for name in os.listdir("/run/netns"):
        match = re.fullmatch(r"tcpbroker-(\d+)-[a-z]+", name)
        if match and not os.path.exists(f"/proc/{match[1]}"):
            run("ip", "netns", "del", name, check=False)


def _setns(descriptor):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


@contextlib.contextmanager
def inside(name):
    """This thread is in that network namespace: sockets it makes stay there."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(before)
    finally:
        os.close(before)


def parse(frame):
    """(family, source, destination, ports, flags) of a TCP segment, else None. Without extension headers."""
    kind, = struct.unpack_from("!H", frame, 12)
    if kind == 0x0800 and frame[23] == 6:
        family, at = 4, 14 + (frame[14] & 15) * 4
        ends = socket.inet_ntop(socket.AF_INET, frame[26:30]), socket.inet_ntop(socket.AF_INET, frame[30:34])
    elif kind == 0x86DD and frame[20] == 6:
        family, at = 6, 54
        ends = socket.inet_ntop(socket.AF_INET6, frame[22:38]), socket.inet_ntop(socket.AF_INET6, frame[38:54])
    else:
        return None
    ports = struct.unpack_from("!HH", frame, at)
    return family, *ends, *ports, frame[at + 13]


class Wire(threading.Thread):
    """Passes frames on between pairs of interfaces, {family: (near end, far end)}."""

    def __init__(self, name, pairs):
        super().__init__(daemon=True)
        self.lock = threading.Lock()
        self.dropped = set()  # addresses that hear nothing
        self.delay_s = {4: 0.0, 6: 0.0}  # of what goes out
        self.segments, self.begun = [], set()  # begun: (port here, address and port there)
        self.since = time.monotonic()
        self.ports = {}  # socket: (family, out, the other end)
        self.errors = []
        self.wake, self.wake_write = os.pipe()
        with inside(name):
            for family, ends in pairs.items():
                near, far = (self.end(interface) for interface in ends)
                self.ports[near] = (family, True, far)
                self.ports[far] = (family, False, near)

    @staticmethod
    def end(interface):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        # checksums are left to the receiving end by this: with the header they stay so
        sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        sock.bind((interface, ETH_P_ALL))
        sock.setblocking(False)
        return sock

    def run(self):
        late, n = [], 0
        while True:
            left = max(late[0][0] - time.monotonic(), 0) if late else None
            readable, _, _ = select.select([self.wake, *self.ports], [], [], left)
            if self.wake in readable:
                return
            for sock in readable:
                due, to, frame = self.take(sock)
                if frame:
                    n += 1
                    heapq.heappush(late, (due, n, to, frame))
            while late and late[0][0] <= time.monotonic():
                _, _, to, frame = heapq.heappop(late)
                try:
                    to.send(frame)
                except OSError as error:
                    self.errors.append(error)

    def take(self, sock):
        family, out, to = self.ports[sock]
        try:
            frame, address = sock.recvfrom(1 << 17)
        except OSError as error:
            self.errors.append(error)
            return 0, None, None
        if address[2] == PACKET_OUTGOING:
            return 0, None, None
        now = time.monotonic()
        segment = parse(frame[N_VNET_HDR:])
        with self.lock:
            lost = bool(segment) and out and segment[2] in self.dropped
            if segment:
                self.note(Segment(now - self.since, out, *segment, lost))
            # neighbours are found at once, whatever the delay
            due = now + (self.delay_s[family] if out and segment else 0)
        return (0, None, None) if lost else (due, to, frame)

    def note(self, segment):
        """Remember it, unless its connection was begun before forget()."""
        if segment.out and segment.flags & (SYN | ACK) == SYN:
            self.begun.add((segment.source_port, segment.destination, segment.destination_port))
        if segment.out:
            key = segment.source_port, segment.destination, segment.destination_port
        else:
            key = segment.destination_port, segment.source, segment.source_port
        if key in self.begun:
            self.segments.append(segment)

    def forget(self):
        """Remember what is begun from now on."""
        with self.lock:
            self.segments = []
            self.begun = set()
            self.since = time.monotonic()

    def seen(self, out=None, flags=None, mask=SYN | ACK | FIN | RST, **wanted):
        """Segments so far, those of a kind."""
        with self.lock:
            segments = list(self.segments)
        return [each for each in segments if (out is None or each.out == out)
                and (flags is None or each.flags & mask == flags)
                and all(getattr(each, name) == value for name, value in wanted.items())]

    def attempts(self, port):
        """The first SYN to each address: [(time, address)]"""
        found = {}
        for each in self.seen(out=True, flags=SYN, destination_port=port):
            found.setdefault(each.destination, each.when)
        return [(when, address) for address, when in found.items()]

    def stop(self):
        os.write(self.wake_write, b"x")
        self.join(10)
        for sock in self.ports:
            sock.close()
        os.close(self.wake)
        os.close(self.wake_write)


class Network:
    """addresses: those of the far host."""

    def __init__(self, addresses):
        self.names = {part: f"tcpbroker-{os.getpid()}-{part}" for part in ("near", "wire", "far")}
        self.addresses = addresses
        self.wire = None
        self.entered = contextlib.ExitStack()

    @property
    def near(self):
        return self.names["near"]

    @property
    def far(self):
        return self.names["far"]

    def __enter__(self):
        if os.geteuid() != 0:
            raise unittest.SkipTest("network namespaces need root")
        if not shutil.which("ip"):
            raise unittest.SkipTest("ip is not there (package iproute2)")
        sweep()
        try:
            self.build()
        except BaseException:
            self.entered.close()
            raise
        return self

    def build(self):
        for name in self.names.values():
            made = run("ip", "netns", "add", name, check=False)
            if made.returncode:
                raise unittest.SkipTest(f"no network namespaces here: {made.stderr.strip()}")
            self.entered.callback(run, "ip", "netns", "del", name, check=False)
            with inside(name):
                for where in ("all", "default"):
                    for option, value in (("accept_dad", "0"), ("accept_ra", "0")):
                        with open(f"/proc/sys/net/ipv6/conf/{where}/{option}", "w", encoding="ascii") as file:
                            file.write(value)
            run("ip", "-n", name, "link", "set", "lo", "up")
        pairs = {}
        for family in (4, 6):
            for host in ("near", "far"):
                made = run("ip", "-n", self.names["wire"], "link", "add", f"{host}{family}", "type", "veth",
                           "peer", "name", f"host{family}", "netns", self.names[host], check=False)
                if made.returncode:
                    raise unittest.SkipTest(f"no virtual Ethernet here (veth): {made.stderr.strip()}")
                run("ip", "-n", self.names["wire"], "link", "set", f"{host}{family}", "up")
                run("ip", "-n", self.names[host], "link", "set", f"host{family}", "up")
            pairs[family] = (f"near{family}", f"far{family}")
            self.assign("near", NEAR[family])
        for address in self.addresses:
            self.assign("far", address)
        self.wire = Wire(self.names["wire"], pairs)
        self.wire.start()
        self.entered.callback(self.wire.stop)
        for address in self.addresses:
            self.reach(address)

    def assign(self, host, address):
        family = 6 if ":" in address else 4
        run("ip", "-n", self.names[host], "address", "add", f"{address}/{PREFIX[family]}", "dev", f"host{family}",
            *(["nodad"] if family == 6 else []))

    def reach(self, address):
        """Until the neighbour is known: no test is about that."""
        with inside(self.near):
            kind = socket.AF_INET6 if ":" in address else socket.AF_INET

            def refused():
                with socket.socket(kind) as probe:
                    probe.settimeout(2)
                    return probe.connect_ex((address, 9)) == 111
            wait_until(refused, 15, f"an answer of {address}")

    def delay(self, ms, families=(4, 6)):
        for family in families:
            self.wire.delay_s[family] = ms / 1000

    def __exit__(self, *unused):
        self.entered.close()
        return False


class NetDaemon(Daemon):
    """A daemon on the near host. hosts: {name: addresses}; ipv4_first: what the resolver prefers."""

    def __init__(self, network, hosts, *args, ipv4_first=False, **kw):
        super().__init__(*args, **kw)
        files = {
            "hosts": "".join(f"{address} {name}\n" for name, addresses in hosts.items() for address in addresses),
            "gai.conf": "precedence ::ffff:0:0/96 100\n" if ipv4_first else "",
        }
        script = "shift; "
        for name, text in files.items():
            with open(os.path.join(self.folder, name), "w", encoding="ascii") as file:
                file.write(text)
            if os.path.exists(f"/etc/{name}"):
                script += f'mount --bind "{self.folder}/{name}" /etc/{name} && '
            elif text:
                shutil.rmtree(self.folder)
                raise unittest.SkipTest(f"there is no /etc/{name} to put another in its place")
        script += 'exec ip netns exec "$0" "$@"'
        self.command = ["unshare", "--mount", "sh", "-c", script, network.near, "", *self.command]
