"""examples/chat.py: what a program that serves with the broker looks like, and that it works with many clients."""
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from harness import ROOT, TestCase, main, seconds, wait_until

CHAT = os.path.join(ROOT, "examples", "chat.py")
N_CLIENTS, N_LINES = 200, 3


class Crowd:
    """Plain TCP clients in one thread. lines[i] is what client i was sent."""

    def __init__(self, port):
        self.port = port
        self.selector = selectors.DefaultSelector()
        self.sockets, self.lines, self.rests = {}, {}, {}

    def join(self, name, **options):
        sock = socket.create_connection(("127.0.0.1", self.port), seconds(10), **options)
        sock.sendall(f"{name}\n".encode())
        sock.setblocking(False)
        self.sockets[name], self.lines[name], self.rests[name] = sock, [], b""
        self.selector.register(sock, selectors.EVENT_READ, name)

    def say(self, name, text):
        """What is sent is short and the server reads on: it goes out at once."""
        data = f"{text}\n".encode()
        if self.sockets[name].send(data) != len(data):
            raise AssertionError(f"{name} could not send {text}")

    def leave(self, name):
        self.selector.unregister(self.sockets[name])
        self.sockets.pop(name).close()

    def read(self, timeout=0.05):
        for key, _ in self.selector.select(timeout):
            data = key.fileobj.recv(1 << 16)
            if not data:
                self.leave(key.data)
                continue
            *lines, self.rests[key.data] = (self.rests[key.data] + data).split(b"\n")
            self.lines[key.data] += [line.decode() for line in lines]

    def read_until(self, condition, what, timeout=60):
        end = time.monotonic() + seconds(timeout)
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"{what} did not come true")
            self.read()

    def close(self):
        for sock in self.sockets.values():
            sock.close()
        self.selector.close()


class ChatCase(TestCase):
    def setUp(self):
        super().setUp()
        self.server = self.start("0")
        self.port = int(re.fullmatch(r"chat: at 127\.0\.0\.1 port (\d+)\n", self.server.stdout.readline()).group(1))

    def start(self, *arguments):
        server = subprocess.Popen([sys.executable, CHAT, *arguments], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True,
                                  env={**os.environ, "TCPBROKER_SOCKET": self.daemon.socket_path})
        self.addCleanup(server.stderr.close)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        return server

    def crowd(self, *names):
        """Who came, came in this order, and all are there."""
        crowd = Crowd(self.port)
        self.addCleanup(crowd.close)
        first = None
        for number, name in enumerate(names):
            crowd.join(name)
            if first is None:
                first = name
                wait_until(self.somebody_spoke, what="the first nick being received")
            else:
                crowd.read_until(lambda: len(crowd.lines[first]) >= number, f"{name} being there")
        return crowd

    def somebody_spoke(self):
        return any(row["bytes_in"] for row in self.client.call("Broker.List")["sockets"])

    def end(self, status=0):
        self.server.send_signal(signal.SIGTERM)
        self.assertEqual((self.server.wait(seconds(10)), self.server.stderr.read()), (status, ""))

    def n_sockets(self):
        return len(self.client.call("Broker.List")["sockets"])


class Chat(ChatCase):
    # a request for each member, and one more while somebody is slow
    DAEMON_OPTIONS = {"config": {"limits.requests": 2 * N_CLIENTS + 20}}

    def test_it_is_short(self):
        with open(CHAT, encoding="utf-8") as file:
            lines = file.read().splitlines()
        self.assertLessEqual(len(lines), 60)
        self.assertLessEqual(max(map(len, lines)), 120)

    def test_many_clients(self):
        names = [f"n{i}" for i in range(N_CLIENTS)]
        crowd = self.crowd(*names)
        fds = self.daemon.n_sockets()
        # all at the same time, whole lines and pieces of lines
        for turn in range(N_LINES):
            for name in names:
                crowd.say(name, f"line {turn} of {name} äöü €")
            crowd.read(0)
        expected = {name: [f"line {turn} of {name} äöü €" for turn in range(N_LINES)] for name in names}
        want = {name: N_CLIENTS - 1 - i + (N_CLIENTS - 1) * N_LINES for i, name in enumerate(names)}
        crowd.read_until(lambda: all(len(crowd.lines[name]) >= want[name] for name in names), "everybody hearing all")
        for i, name in enumerate(names):
            with self.subTest(name=name):
                lines = crowd.lines[name]
                self.assertEqual(len(lines), want[name])
                self.assertEqual([line for line in lines if line.startswith("*")],
                                 [f"* {other} joins" for other in names[i + 1:]])
                heard = {other: [] for other in names if other != name}
                for line in lines:
                    if not line.startswith("*"):
                        who, text = line.split(": ", 1)
                        heard[who].append(text)
                self.assertEqual(heard, {other: expected[other] for other in heard})
        self.assertEqual(self.n_sockets(), N_CLIENTS + 1)
        for name in names[1:]:
            crowd.leave(name)
        leaves = {f"* {name} leaves" for name in names[1:]}
        crowd.read_until(lambda: len(crowd.lines["n0"]) >= want["n0"] + len(leaves), "the leaves being told")
        self.assertEqual(sorted(crowd.lines["n0"][want["n0"]:]), sorted(leaves))
        wait_until(lambda: self.daemon.n_sockets() <= fds - (N_CLIENTS - 1), what="their sockets being closed")
        self.end()

    def test_clients_that_come_and_go(self):
        crowd = self.crowd("stays")
        for turn in range(100):
            crowd.join(f"guest{turn}")
            crowd.read_until(lambda: f"* guest{turn} joins" in crowd.lines["stays"], "the guest joining")
            crowd.say(f"guest{turn}", "hello")
            crowd.say("stays", f"welcome {turn}")
            crowd.read_until(lambda: crowd.lines[f"guest{turn}"], "the guest being welcomed")
            crowd.leave(f"guest{turn}")
            self.assertEqual(crowd.lines[f"guest{turn}"], [f"stays: welcome {turn}"])
        crowd.read_until(lambda: "* guest99 leaves" in crowd.lines["stays"], "the last leave")
        expected = []
        for turn in range(100):
            expected += [f"* guest{turn} joins", f"guest{turn}: hello", f"* guest{turn} leaves"]
        self.assertEqual(sorted(crowd.lines["stays"]), sorted(expected))
        for turn in range(100):
            own = [line for line in crowd.lines["stays"] if re.search(rf"guest{turn}\b", line)]
            self.assertEqual(own, expected[3 * turn:3 * turn + 3])
        # no nick, a nick of half a line, nothing but an end, a reset
        for data in (b"", b"half", b"\n"):
            with socket.create_connection(("127.0.0.1", self.port), seconds(10)) as sock:
                sock.sendall(data)
        wait_until(lambda: self.n_sockets() == 2, what="only one client being left")
        self.end()

    def test_a_slow_reader(self):
        crowd = self.crowd("a", "b")
        slow = socket.socket()
        self.addCleanup(slow.close)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", self.port))
        slow.sendall(b"slow\n")
        crowd.read_until(lambda: "* slow joins" in crowd.lines["b"], "the slow one joining")
        # nobody else waits for them, and in the end they are dropped
        for turn in range(100000):
            crowd.say("a", f"{turn} " + "x" * 390)
            crowd.read_until(lambda: "* slow leaves" in crowd.lines["b"] or
                             crowd.lines["b"][-1].startswith(f"a: {turn} "), "b hearing a")
            if "* slow leaves" in crowd.lines["b"]:
                break
        self.assertGreater(turn, 300)
        crowd.read_until(lambda: any(line.startswith(f"a: {turn} ") for line in crowd.lines["b"]), "b hearing the last")
        told = [line for line in crowd.lines["b"] if line.startswith("a: ")]
        self.assertEqual([int(line.split()[1]) for line in told], list(range(turn + 1)))
        slow.settimeout(seconds(10))
        with self.assertRaises(ConnectionResetError):
            while slow.recv(1 << 20):
                pass
        crowd.say("b", "still here")
        crowd.read_until(lambda: "b: still here" in crowd.lines["a"], "a hearing b")
        self.end()

    def test_what_is_no_text(self):
        crowd = self.crowd("a")
        bad = socket.create_connection(("127.0.0.1", self.port), seconds(10))
        self.addCleanup(bad.close)
        bad.sendall(b"bad\nfine\n\xff\xfe\n")
        crowd.read_until(lambda: "* bad leaves" in crowd.lines["a"], "bytes ending it")
        self.assertEqual(crowd.lines["a"], ["* bad joins", "bad: fine", "* bad leaves"])
        self.end()

    def test_the_end(self):
        crowd = self.crowd("a", "b", "c")
        self.end()
        crowd.read_until(lambda: not crowd.sockets, "all connections being ended")
        wait_until(lambda: self.n_sockets() == 0, what="the sockets being closed")
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port), seconds(10))
        second = self.start(str(self.port), "127.0.0.1")
        self.assertEqual(second.stdout.readline(), f"chat: at 127.0.0.1 port {self.port}\n")

    def test_a_port_in_use_is_told(self):
        second = self.start(str(self.port))
        self.assertEqual((second.wait(seconds(10)), second.stdout.read()), (1, ""))
        self.assertRegex(second.stderr.read(), rf"^chat: TCPBind to 127\.0\.0\.1 port {self.port}: something listens")
        self.end()


class Full(ChatCase):
    """A broker with room for nine members: one request accepts, the others receive."""
    DAEMON_OPTIONS = {"config": {"limits.requests": 10}}

    def setUp(self):
        super().setUp()
        self.members = Crowd(self.port)
        self.addCleanup(self.members.close)

    def test_newcomers_wait(self):
        for number in range(14):
            self.members.join(f"n{number}")
        wait_until(lambda: self.n_sockets() == 1 + 9, what="the limit")
        self.assertIsNone(self.server.poll())
        for number in range(6):
            self.members.leave(f"n{number}")
        self.members.read_until(lambda: "* n13 joins" in self.members.lines["n6"], "the last one being there")
        self.members.say("n13", "hello")
        self.members.read_until(lambda: "n13: hello" in self.members.lines["n6"], "what the last one says")
        self.end()


if __name__ == "__main__":
    main()
