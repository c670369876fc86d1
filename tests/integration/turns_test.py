#!/usr/bin/env python3
"""Turns: each user has his turn on an io thread, whatever another one sends, on however many connections; nothing that waits for
its turn is lost, and each gets its own answers in order."""
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from account_test import BAD, AccountTestCase
from harness import SLOW, Client, Daemon, OwnDaemonTestCase, main, seconds, wait_until

N_CONNECTIONS = 64
ROUNDS = 25
MEDIAN_MS = 100  # about ten times what it takes beside a flood; without turns it is 300 to 3600

# uid, path, kind, seconds: as many of it as are taken, on many connections. Tells how many answers came.
FLOOD = r"""
import json, os, select, socket, sys, time
uid, path, kind, n_connections, n_seconds = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
end = time.monotonic() + n_seconds

def connect():
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection

def request(id, method, params=()):
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": list(params)}

n = 0
print("ready", flush=True)
if kind == "come_and_go":
    while time.monotonic() < end:
        connect().close()
        n += 1
else:
    block = {
        "documents": lambda: [request(i, "rpc.discover") for i in range(50)],
        "greetings": lambda: [request(i, "Broker.Hello") for i in range(500)],
        "refused": lambda: [request(i, "TCPSend", [77, "x" * 1000]) for i in range(300)],
        "batches": lambda: [[request(i, "rpc.discover") for i in range(200)]],
        "sessions": lambda: [request(i, "Session.Open", [1000]) for i in range(500)],
    }.get(kind)
    block = b"".join(json.dumps(line).encode() + b"\n" for line in block()) if block else b"no JSON\n" * 10000
    rest = {connect(): b"" for _ in range(n_connections)}
    for each in rest:
        each.setblocking(False)
    while time.monotonic() < end:
        readable, writable, _ = select.select(rest, rest, [], 0.1)
        for each in readable:
            n += each.recv(1 << 20).count(b"\n")
        for each in writable:
            rest[each] = rest[each] or block
            rest[each] = rest[each][each.send(rest[each]):]
print(n, flush=True)
"""


class Flood:
    def __init__(self, daemon, kind, n_connections=N_CONNECTIONS, n_seconds=60.0):
        self.command = [sys.executable, "-B", "-c", FLOOD, str(BAD), daemon.socket_path, kind, str(n_connections), str(n_seconds)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True, cwd="/")
        self.process.stdout.readline()
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait(seconds(10))
        self.process.stdout.close()
        return False


class Floods(AccountTestCase):
    """Of one user; the other does not wait for long."""

    def counts(self):
        stats = self.admin.call("Broker.Stats")
        return [stats[name] for name in ("requests_total", "lines_refused", "clients_total")]

    def beside(self, kind, *options, n_connections=N_CONNECTIONS):
        self.start("threads.io=1", "limits.tokens_per_user=1", *options)
        with self.good.client(self.daemon) as client, Flood(self.daemon, kind, n_connections):
            number = client.connect(self.server.port)
            before = self.counts()
            wait_until(lambda: max(now - then for now, then in zip(self.counts(), before)) > 50, 20, "the flood")
            before = self.counts()
            took, end = [], time.monotonic() + seconds(0.3)
            while len(took) < ROUNDS or time.monotonic() < end:
                begin = time.monotonic()
                text = f"round {len(took)}"
                client.call("TCPSend", [number, text])
                self.assertEqual(client.call("TCPReceive", socket=number, exact=len(text))["data"], text)
                took.append((time.monotonic() - begin) * 1000)
            after = self.counts()
        self.assertLess(statistics.median(took), MEDIAN_MS * SLOW, sorted(took))
        wait_until(lambda: not self.has(BAD), 20, "nothing of him being left")
        return max(now - then for now, then in zip(after, before)) - 2 * len(took)

    def test_documents(self):
        self.assertGreater(self.beside("documents"), 10)

    def test_greetings(self):
        self.assertGreater(self.beside("greetings"), 1000)

    def test_refused(self):
        self.assertGreater(self.beside("refused"), 1000)

    def test_batches(self):
        self.assertGreater(self.beside("batches"), 10)

    def test_sessions(self):
        self.assertGreater(self.beside("sessions"), 1000)

    def test_no_json(self):
        self.assertGreater(self.beside("no JSON"), 1000)

    def test_come_and_go(self):
        self.assertGreater(self.beside("come_and_go", "log.level=warning"), 500)

    def test_one_connection(self):
        self.assertGreater(self.beside("documents", n_connections=1), 10)


class Waiting(OwnDaemonTestCase):
    """What waits for its turn."""

    def start(self, *options):
        self.daemon = self.use(Daemon(*[word for option in options for word in ("--set", option)]))

    @staticmethod
    def request(id, method):
        return {"jsonrpc": "2.0", "id": id, "method": method}

    def connect(self):
        connection = self.use(socket.socket(socket.AF_UNIX))
        connection.connect(self.daemon.socket_path)
        connection.settimeout(seconds(30))
        return connection

    def lines_of(self, connection):
        data = bytearray()
        while chunk := connection.recv(1 << 20):
            data += chunk
        return [json.loads(line) for line in data.split(b"\n") if line]

    def test_all_are_answered_in_order(self):
        """Also when they were sent in one go, and their sender has nothing more to say."""
        self.start("threads.io=1")
        got = {}

        def ask(name):
            connection = self.connect()
            lines = b"".join(json.dumps(self.request(i, "Broker.Hello")).encode() + b"\n" for i in range(3000))
            sender = threading.Thread(target=lambda: (connection.sendall(lines), connection.shutdown(socket.SHUT_WR)))
            sender.start()
            got[name] = [line["id"] for line in self.lines_of(connection)]
            sender.join(seconds(30))
        threads = [threading.Thread(target=ask, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds(60))
        self.assertEqual(got, {name: list(range(3000)) for name in range(4)})

    def test_a_batch_is_one_answer(self):
        """One that takes many turns, with what was sent before and after it, while others have their turn."""
        self.start("threads.io=1")
        with Client(self.daemon) as other:
            connection = self.connect()
            batch = [self.request(f"b{i}", "Broker.Hello") for i in range(600)]
            text = b"".join(json.dumps(line).encode() + b"\n"
                            for line in (self.request(1, "Broker.Hello"), batch, self.request(2, "Broker.Hello"), batch))
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            for _ in range(20):
                other.call("Broker.Hello")
            lines = self.lines_of(connection)
        self.assertEqual([line if isinstance(line, list) else line["id"] for line in (lines[0], lines[2])], [1, 2])
        for line in (lines[1], lines[3]):
            self.assertEqual([one["id"] for one in line], [one["id"] for one in batch])
            self.assertTrue(all("limits" in one["result"] for one in line))

    def test_who_vanishes_in_line(self):
        self.start("threads.io=1")
        with Client(self.daemon) as other:
            for i in range(30):
                crowd = [self.connect() for _ in range(8)]
                for connection in crowd:
                    connection.setblocking(False)
                    lines = [self.request(i, "rpc.discover") for i in range(40)]
                    try:
                        connection.send(json.dumps(lines).encode() + b"\n" + b"x\n" * 1000)
                    except BlockingIOError:
                        pass
                if i % 2:
                    other.call("Broker.Hello")
                for connection in crowd:
                    connection.close()
            wait_until(lambda: other.call("Broker.Stats")["clients"] == 1, 20, "all being gone")
            rows = other.call("Broker.Users")["users"]
            self.assertEqual([(row["clients"], row["held_bytes"]) for row in rows][0][0], 1)

    def test_a_stop_answers_what_waits(self):
        """All that was written before it, although it takes more than a turn."""
        self.start("threads.io=1", "stop.drain_timeout=20s")
        connection = self.connect()
        connection.sendall(json.dumps([self.request(i, "rpc.discover") for i in range(200)]).encode() + b"\n")
        with Client(self.daemon) as other:
            other.call("Broker.Hello")
        os.kill(self.daemon.process.pid, signal.SIGTERM)
        lines = self.lines_of(connection)
        self.assertEqual([one["id"] for one in lines[0]], list(range(200)))
        self.assertEqual(self.daemon.wait_exit(20), 0)

    def test_joining_behind_much(self):
        """A session is joined in its turn, from the same thread and from another one."""
        self.start("threads.io=3")
        with Client(self.daemon) as first:
            token = first.call("Session.Open", [10000])["token"]
            for _ in range(6):
                connection = self.connect()
                lines = [self.request(i, "Broker.Hello") for i in range(400)]
                lines.insert(200, {**self.request("join", "Session.Join"), "params": [token]})
                connection.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
                connection.shutdown(socket.SHUT_WR)
                answers = self.lines_of(connection)
                self.assertEqual([one["id"] for one in answers], [one["id"] for one in lines])
                self.assertTrue(all("result" in one for one in answers))


if __name__ == "__main__":
    main()
