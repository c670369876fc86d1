#!/usr/bin/env python3
"""Restarts under load under a real systemd: what is promised to outlive them does, byte for byte, and nobody is refused.

    python3 tests/integration/systemd_restart_test.py [-v]       TCPBROKER_RESTARTS: how many, 4 unless told;
                                                                  TCPBROKER_DEATHS: how often killed at the end, 1

All the while: clients echo over plain sockets of durable sessions, peers connect to a socket of TCPListen, programs to a
tunnel and to the broker's own socket, and one program has a connection's own descriptor. At the end the daemon is killed.
Prints what was lost for each kind of socket.
"""
import json
import os
import pathlib
import random
import re
import socket
import ssl
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from partners import Partners
import systemd_test
from systemd_test import INSIDE, SOCKET, in_container, journal, show, systemctl, wait_for

ROUNDS = int(os.environ.get("TCPBROKER_RESTARTS", "4"))
DEATHS = int(os.environ.get("TCPBROKER_DEATHS", "1"))
ECHOERS = 6
TUNNEL = "/run/tcpbroker/doors/echo.sock"
LEASE = 60000


class Lost(Exception):
    """The broker says that the socket is lost."""


class Answer(Exception):
    """An error answer."""

    def __init__(self, error):
        self.code = error["code"]
        self.data = error.get("data", {})
        super().__init__(json.dumps(error))


class Tally:
    """What happened, for each kind of party."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = {}
        self.notes = []

    def add(self, kind, what, n=1, note=None):
        with self.lock:
            counts = self.counts.setdefault(kind, {})
            counts[what] = counts.get(what, 0) + n
            if note and len(self.notes) < 20:
                self.notes.append(f"{kind}: {what}: {note}")

    def get(self, kind, what):
        with self.lock:
            return self.counts.get(kind, {}).get(what, 0)

    def table(self):
        columns = ("done", "refused", "lost", "wrong bytes", "close_notify")
        lines = [f"figures: {'':28}" + "".join(f"{column:>14}" for column in columns)]
        for kind, counts in sorted(self.counts.items()):
            lines.append(f"figures: {kind:28}" + "".join(f"{counts.get(column, '-' if column == 'close_notify' else 0):>14}"
                                                         for column in columns))
        return "\n".join(lines)


class Broker:
    """One connection after another that belongs to one durable session."""

    def __init__(self, tally, kind):
        self.tally, self.kind = tally, kind
        self.token = None
        self.control = None
        self.buffer = b""
        self.id = 0

    def reach(self):
        """A connection, in the session."""
        while self.control is None:
            control = socket.socket(socket.AF_UNIX)
            control.settimeout(30)
            try:
                control.connect(SOCKET)
            except OSError as error:
                self.tally.add("control socket", "refused", note=repr(error))
                raise
            self.control, self.buffer = control, b""
            try:
                if self.token:
                    self.rows = self.ask("Session.Join", [self.token])["sockets"]
                else:
                    self.token = self.ask("Session.Open", [LEASE])["token"]
            except EOFError:  # it was on its way out: the next one comes
                pass
            except Answer as error:
                if error.code != -33005:
                    raise
                self.drop()

    def drop(self):
        if self.control:
            self.control.close()
        self.control = None

    def ask(self, method, params):
        """EOFError: without an answer; and whether the request was written (error.written)."""
        self.id += 1
        line = json.dumps({"jsonrpc": "2.0", "id": self.id, "method": method, "params": params}).encode() + b"\n"
        written = False
        try:
            self.control.sendall(line)
            written = True
            while b"\n" not in self.buffer:
                data = self.control.recv(65536)
                if not data:
                    raise EOFError
                self.buffer += data
        except (OSError, EOFError) as error:
            self.drop()
            end = EOFError(f"{method}: {error!r}")
            end.written = written
            raise end from None
        line, self.buffer = self.buffer.split(b"\n", 1)
        answer = json.loads(line)
        if "error" in answer:
            raise Answer(answer["error"])
        return answer["result"]


class Echoer(threading.Thread):
    """Sends lines and wants each back."""

    def __init__(self, load, index):
        super().__init__(daemon=True)
        self.load, self.tally, self.index = load, load.tally, index
        self.broker = Broker(load.tally, "echo")
        self.number = None
        self.n = 0
        self.early = None
        self.failed = None

    def run(self):
        try:
            while not self.load.over.is_set():
                self.round_trip()
        except Exception as error:  # told by the test
            self.failed = f"echoer {self.index}: {error!r}"

    def connect(self):
        while self.number is None:
            self.broker.reach()
            try:
                self.number = self.broker.ask("TCPConnect", ["127.0.0.1", self.load.echo_port])["socket"]
            except EOFError:
                pass
            except Answer as error:
                if error.code != -33005:
                    raise
                self.broker.drop()

    def lose(self, error):
        self.tally.add("plain TCP socket", "lost", note=str(error))
        self.broker.ask("TCPClose", [self.number, 2])
        self.number = None

    def round_trip(self):
        self.connect()
        self.n += 1
        line = f"{self.index}:{self.n}:{random.getrandbits(64):x}\n"
        try:
            self.send(line)
            got = self.receive()
        except Lost as error:
            self.lose(error)
            return
        if got != line:
            self.tally.add("plain TCP socket", "wrong bytes", note=f"sent {line!r}, got {got!r}")
            raise AssertionError(f"sent {line!r}, got {got!r}")
        self.tally.add("plain TCP socket", "done")

    def one(self, method, params):
        """None: there was no answer, and nobody knows. Raises Answer SHUTTING_DOWN for the caller."""
        self.broker.reach()
        try:
            return self.broker.ask(method, params)
        except EOFError as error:
            if not error.written:
                return self.one(method, params)
            if not self.load.killing.is_set():
                self.tally.add("request", "without answer", note=str(error))
            return None
        except Answer as error:
            if error.code in (-10053, -10038):
                raise Lost(str(error)) from None
            raise

    def send(self, line):
        rest = line
        while rest:
            try:
                answer = self.one("TCPSend", [self.number, rest])
            except Answer as error:
                if error.code != -33005:
                    raise
                rest = rest[error.data.get("sent", 0):]
                self.broker.drop()
                continue
            if answer is None:
                # killed: either the whole line has gone out, or the socket is lost, or the daemon never saw it
                if self.came_back():
                    return
                continue
            rest = rest[answer["sent"]:]

    def came_back(self):
        """Is the line coming back, although nobody knows whether it was sent? It is kept for receive()."""
        try:
            self.early = self.receive(1000)
        except Answer as error:
            if error.code != -10060:
                raise
        return self.early is not None

    def receive(self, timeout_ms=20000):
        if self.early is not None:
            line, self.early = self.early, None
            return line
        while True:
            try:
                answer = self.one("TCPReceive", {"socket": self.number, "until": "\n", "timeout_ms": timeout_ms})
            except Answer as error:
                if error.code != -33005:
                    raise
                self.broker.drop()
                continue
            if answer is not None:
                return answer["data"]


class Server(threading.Thread):
    """Accepts by TCPListen and TCPAccept of a durable session, and answers each ping."""

    def __init__(self, load):
        super().__init__(daemon=True)
        self.load = load
        self.broker = Broker(load.tally, "server")
        self.failed = None
        self.todo = []
        self.taken = {}  # what was received of whom and not sent back yet; "": it was
        self.broker.reach()
        self.serving = self.broker.ask("TCPSocket", {})["socket"]
        self.port = self.broker.ask("TCPBind", {"socket": self.serving, "port": 0, "address": "127.0.0.1"})["port"]
        self.broker.ask("TCPListen", [self.serving])

    def run(self):
        try:
            while not self.load.over.is_set():
                try:
                    self.serve()
                except EOFError:
                    pass
                except Answer as error:
                    if error.code not in (-33005, -10060):
                        raise
                    if error.code == -33005:
                        self.broker.drop()
        except Exception as error:
            self.failed = f"server: {error!r}"

    def serve(self):
        if self.broker.control is None:
            self.broker.reach()
            self.todo = [row["socket"] for row in self.broker.rows if row["socket"] != self.serving]
        while not self.todo:
            self.todo.append(self.broker.ask("TCPAccept", {"socket": self.serving, "timeout_ms": 500})["socket"])
        number = self.todo[0]
        try:
            if number not in self.taken:
                answer = self.broker.ask("TCPReceive", {"socket": number, "exact": 5, "timeout_ms": 10000})
                self.taken[number] = answer["data"]
            if self.taken[number]:
                self.broker.ask("TCPSend", [number, self.taken[number]])
                self.taken[number] = ""
            self.broker.ask("TCPClose", [number])
        except Answer as error:
            if error.code == -33005:
                raise
            self.broker.ask("TCPClose", [number, 2])
        self.taken.pop(number, None)
        self.todo.pop(0)


class Peer(threading.Thread):
    """Connects and wants its five bytes back, again and again."""

    def __init__(self, load, kind, family, address):
        super().__init__(daemon=True)
        self.load, self.kind, self.family, self.address = load, kind, family, address
        self.failed = None

    def run(self):
        while not self.load.over.is_set():
            self.visit()
            time.sleep(0.002)

    def visit(self):
        tally = self.load.tally
        program = socket.socket(self.family)
        program.settimeout(30)
        try:
            program.connect(self.address)
        except OSError as error:
            tally.add(self.kind, "refused", note=repr(error))
            program.close()
            return
        got = b""
        try:
            program.sendall(b"hello")
            while len(got) < 5 and (data := program.recv(5 - len(got))):
                got += data
            tally.add(self.kind, "done" if got == b"hello" else "wrong bytes" if got else "lost",
                      note=None if got == b"hello" else f"got {got!r}")
        except OSError as error:
            tally.add(self.kind, "lost", note=repr(error))
        program.close()


class Caller(threading.Thread):
    """Connects to the broker and says hello."""

    def __init__(self, load):
        super().__init__(daemon=True)
        self.load = load
        self.failed = None

    def run(self):
        hello = b'{"jsonrpc":"2.0","id":1,"method":"Broker.Hello"}\n'
        while not self.load.over.is_set():
            with socket.socket(socket.AF_UNIX) as control:
                control.settimeout(30)
                try:
                    control.connect(SOCKET)
                except OSError as error:
                    self.load.tally.add("control socket", "refused", note=repr(error))
                    continue
                try:
                    control.sendall(hello)
                    if control.recv(65536):
                        self.load.tally.add("control socket", "done")
                except OSError:
                    pass  # the end of a connection is no refusal: who is cut off comes again
            time.sleep(0.002)


class Direct(threading.Thread):
    """Has the connection itself, by TCPAttach."""

    def __init__(self, load):
        super().__init__(daemon=True)
        self.load = load
        self.failed = None
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(SOCKET)
            request = {"jsonrpc": "2.0", "id": 1, "method": "TCPConnect",
                       "params": {"hostname": "127.0.0.1", "port": load.echo_port, "attach": True}}
            control.sendall(json.dumps(request).encode() + b"\n")
            data, fds, _, _ = socket.recv_fds(control, 65536, 1)
            assert json.loads(data)["result"]["direct"], data
            self.stream = socket.socket(fileno=fds[0])
        self.stream.settimeout(30)

    def run(self):
        n = 0
        try:
            while not self.load.over.is_set():
                n += 1
                line = f"direct {n}\n".encode()
                self.stream.sendall(line)
                got = b""
                while len(got) < len(line) and (data := self.stream.recv(4096)):
                    got += data
                self.load.tally.add("attached descriptor", "done" if got == line else "wrong bytes" if got else "lost")
                time.sleep(0.001)
        except OSError as error:
            self.load.tally.add("attached descriptor", "lost", note=repr(error))


class TlsSockets:
    """Idle TLS sockets of a durable session: they end, with a close_notify."""

    def __init__(self, load, made):
        self.load = load
        self.broker = Broker(load.tally, "tls")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.context = made.server_context()
        self.context.verify_mode = ssl.CERT_NONE

    def open(self):
        self.streams, self.numbers = [], []
        self.broker.reach()
        for _ in range(3):
            accepted = []
            thread = threading.Thread(target=lambda: accepted.append(self.accept()))
            thread.start()
            self.numbers.append(self.broker.ask("TCPConnect", {"hostname": "localhost", "secure": True, "verify": False,
                                                               "port": self.listener.getsockname()[1]})["socket"])
            thread.join(30)
            self.streams += accepted

    def accept(self):
        raw, _ = self.listener.accept()
        raw.settimeout(30)
        return self.context.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False)

    def look(self):
        for stream in self.streams:
            self.load.tally.add("TLS socket", "lost")
            try:
                if stream.recv(1) == b"":
                    self.load.tally.add("TLS socket", "close_notify")
            except OSError as error:
                self.load.tally.add("TLS socket", "without close_notify", note=repr(error))
            stream.close()
        self.broker.drop()
        self.broker.reach()
        for number in self.numbers:
            state = {row["socket"]: row["state"] for row in self.broker.rows}[number]
            if state != "failed":
                self.load.tally.add("TLS socket", "not told", note=state)
            self.broker.ask("TCPClose", [number, 2])


class Load:
    def __init__(self, made):
        self.tally = Tally()
        self.over, self.killing = threading.Event(), threading.Event()
        self.origin = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.echo_port = self.origin.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()
        self.made = made

    def serve(self):
        while True:
            connection, _ = self.origin.accept()
            threading.Thread(target=self.echo, args=(connection,), daemon=True).start()

    @staticmethod
    def echo(connection):
        try:
            with connection:
                while data := connection.recv(65536):
                    connection.sendall(data)
        except OSError:
            pass

    def begin(self):
        self.tls = TlsSockets(self, self.made)
        server = Server(self)
        self.echoers = [Echoer(self, index) for index in range(ECHOERS)]
        self.parties = [*self.echoers, server, Direct(self), Caller(self), Caller(self)]
        for _ in range(2):
            self.parties.append(Peer(self, "TCPListen socket", socket.AF_INET, ("127.0.0.1", server.port)))
            self.parties.append(Peer(self, "tunnel", socket.AF_UNIX, TUNNEL))
        for party in self.parties:
            party.start()

    def failures(self):
        return [party.failed for party in self.parties if party.failed]

    def wait_for_progress(self):
        """Everybody has got on since now."""
        marks = [party.n + 3 for party in self.echoers]
        kinds = ("TCPListen socket", "tunnel", "control socket", "attached descriptor")
        counts = [self.tally.get(kind, "done") + 3 for kind in kinds]

        def got_on():
            return self.failures() or (all(party.n >= mark for party, mark in zip(self.echoers, marks)) and
                                       all(self.tally.get(kind, "done") >= count for kind, count in zip(kinds, counts)))
        wait_for(f"progress of all: {self.tally.counts} {self.tally.notes}", got_on)

    def end(self):
        self.over.set()
        for party in self.parties:
            party.join(40)


class RestartTest(systemd_test.SystemdTest):
    """The set-up of systemd_test, without its tests."""

    @in_container
    def test_restarts_under_load(self):
        made = Partners(tempfile.mkdtemp())
        config = re.search(r"--config (\S+)", show("ExecStart"))[1]
        load = Load(made)
        pathlib.Path(config).write_text(f'[tunnel "echo"]\nlisten = {TUNNEL}\nconnect = localhost:{load.echo_port}\nsecure = no\n',
                                        encoding="ascii")
        self.start()
        load.begin()
        load.wait_for_progress()
        took = []
        for i in range(ROUNDS):
            load.tls.open()
            systemctl("reset-failed", "tcpbroker.service")  # so many starts in a short time are no mistake here
            begun = time.monotonic()
            if i == 0:  # as an upgrade of the package does it (cmake/debian/postinst)
                systemctl("daemon-reload")
                systemctl("try-restart", "tcpbroker.service")
            else:
                systemctl("restart", "tcpbroker.service")
            took.append(time.monotonic() - begun)
            load.tls.look()
            load.wait_for_progress()
            self.assertEqual(load.failures(), [], journal())
        in_order = {kind: dict(counts) for kind, counts in load.tally.counts.items()}
        print(f"figures: {ROUNDS} times under load, {max(took):.2f} s at most, {sorted(took)[len(took) // 2]:.2f} s in the middle")
        print(load.tally.table())
        # promised
        for kind in ("plain TCP socket", "TCPListen socket", "tunnel", "control socket", "attached descriptor"):
            for what in ("refused", "lost", "wrong bytes"):
                self.assertEqual(in_order[kind].get(what, 0), 0, f"{kind} {what}: {load.tally.notes}\n{journal()}")
        self.assertNotIn("request", in_order, load.tally.notes)
        self.assertEqual(in_order["TLS socket"], {"lost": 3 * ROUNDS, "close_notify": 3 * ROUNDS}, load.tally.notes)
        self.death(load)

    def death(self, load):
        """kill -9: what can be given back is, and what not is told; nothing is wrong silently."""
        load.killing.set()
        before = load.tally.get("plain TCP socket", "lost")
        for _ in range(DEATHS):
            pid = int(show("MainPID"))
            systemctl("reset-failed", "tcpbroker.service")
            os.kill(pid, 9)
            wait_for("a new daemon", lambda: show("ActiveState") == "active" and show("MainPID") not in ("0", str(pid)))
            load.wait_for_progress()
        load.end()
        self.assertEqual(load.failures(), [], journal())
        lost = load.tally.get("plain TCP socket", "lost") - before
        print(f"figures: then kill -9, {DEATHS} times: of {DEATHS * ECHOERS} plain sockets in full use {lost} were lost, and said so")
        print(load.tally.table())
        for kind in ("plain TCP socket", "TCPListen socket", "tunnel", "control socket", "attached descriptor"):
            self.assertEqual(load.tally.get(kind, "refused"), 0, f"{kind}: {load.tally.notes}")
            self.assertEqual(load.tally.get(kind, "wrong bytes"), 0, f"{kind}: {load.tally.notes}")
        self.assertEqual(load.tally.get("attached descriptor", "lost"), 0, load.tally.notes)


def load_tests(loader, tests, pattern):
    return loader.loadTestsFromName("RestartTest.test_restarts_under_load", sys.modules[__name__])


if __name__ == "__main__":
    unittest.main(testRunner=unittest.TextTestRunner(stream=sys.stdout) if os.environ.get(INSIDE) else None)
