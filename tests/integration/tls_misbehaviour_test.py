"""Peers that break the rules of TLS, or stretch them: a table of cases (tests/support/misbehaviour_cases.py) during the
handshake, while receiving, sending and closing. Its lines are the test's output. What real programs do on request
(openssl s_server) follows."""
import base64
import fcntl
import os
import re
import subprocess
import sys
import termios
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import misbehaviour_cases
from ca import certificates
from harness import SLOW, TestCase, main, seconds, wait_until
from servers import Peer
from tls_wire import Wire

CLOSE_TIMEOUT_MS = 600


class Link:
    """A connection of the broker and the peer's end of it."""

    def __init__(self, client, number, wire):
        self.client, self.number, self.wire = client, number, wire

    @staticmethod
    def words(answer):
        error = answer["error"]
        told = bool(error["data"].get("tls", {}).get("alert"))
        return f"{error['code']}{' alert' if told else ''}"

    def receive(self, **kw):
        """What came, as text; "end", or the error."""
        answer = self.client.answer(self.client.send("TCPReceive", {
            "socket": self.number, "encoding": "base64", "timeout_ms": int(5000 * SLOW), **kw}))
        if "error" in answer:
            return self.words(answer)
        result = answer["result"]
        if result.get("closed"):
            return "end"
        return base64.b64decode(result["data_base64"]).decode("latin-1")

    def receive_all(self):
        data = ""
        while True:
            piece = self.receive()
            if piece == "end" or re.match(r"-\d{4,}", piece):
                # and so it stays
                again = self.receive()
                assert again == piece, f"first {piece}, then {again}"
                return f"{data} {piece}" if data else piece
            data += piece

    def send(self, text):
        answer = self.client.answer(self.client.send("TCPSend", [self.number, text]))
        return self.words(answer) if "error" in answer else f"sent:{answer['result']['sent']}"

    def closed(self, id, discarded=None):
        answer = self.client.answer(id)
        if "error" in answer:
            return self.words(answer)
        result = answer["result"]
        told = result["discarded"] if discarded is None else "ok" if discarded(result["discarded"]) else "wrong"
        return f"{result['status']} discarded:{told}"

    def close_after(self, outcome):
        """TCPClose works whatever has happened; the peer's silence is not waited for when it has ended or failed."""
        answer = self.client.answer(self.client.send("TCPClose", [self.number]))
        if "error" in answer or answer["result"]["status"] != 0:
            return f", TCPClose: {answer}"
        gone = self.client.error("TCPReceive", [self.number])
        return "" if gone.code == -10038 else f", the number is still there: {gone}"


class SServer:
    """openssl s_server; type() what a person would type, shows() waits for words in its output."""

    def __init__(self, version):
        chain, key = certificates().pem("good")
        self.process = subprocess.Popen(
            ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", chain, "-key", key,
             "-tls" + version.replace(".", "_"), "-no_ticket"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        self.output = ""
        self.reader = threading.Thread(target=self._read, daemon=True)

    def _read(self):
        while data := os.read(self.process.stdout.fileno(), 65536):
            self.output += data.decode(errors="replace")

    def __enter__(self):
        self.reader.start()
        self.port = int(wait_until(lambda: re.search(r"ACCEPT 127\.0\.0\.1:(\d+)", self.output), what="s_server").group(1))
        return self

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        # what is typed before it has read this would be the same command for it
        wait_until(lambda: fcntl.ioctl(self.process.stdin, termios.FIONREAD, bytes(4)) == bytes(4), what="s_server reading")

    def shows(self, words):
        wait_until(lambda: words in self.output, what=f"s_server showing {words!r} in {self.output!r}")

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait(seconds(5))
        self.reader.join(seconds(5))
        self.process.stdin.close()
        self.process.stdout.close()
        return False


class Cases(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.DAEMON_ARGS = ("--cacerts", certificates().cacerts)
        cls.DAEMON_OPTIONS = {"config": {"io.close_timeout": f"{CLOSE_TIMEOUT_MS}ms", "tls.system_store": "no"}}
        super().setUpClass()
        cls.lines = []
        cls.chain = None

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        print_table(cls.lines)

    close_timeout_s = CLOSE_TIMEOUT_MS / 1000
    wait_until = staticmethod(wait_until)

    def setUp(self):
        super().setUp()
        self.peer = self.use(Peer())

    def long_chain(self):
        """(a chain of more than 100 KB, its key)"""
        if not Cases.chain:
            path, key = certificates().pem("good")
            with open(path, encoding="ascii") as file:
                text = file.read()
            with open(path + ".long", "w", encoding="ascii") as file:
                file.write(text * (160000 // (len(text) * 3 // 4)))
            Cases.chain = (path + ".long", key)
        return Cases.chain

    # ---- what the cases use ----

    def connect_to(self, version, play, certificate=None, late=False):
        """The outcome of a TCPConnect whose peer is played by play(wire); without verification it is the same."""
        outcomes = set()
        for verify in (True, False):
            id = self.client.send("TCPConnect", {"hostname": "127.0.0.1", "port": self.peer.port, "secure": True,
                                                 "verify": verify, "timeout_ms": int((300 if late else 8000) * SLOW)})
            connection = self.peer.take()
            try:
                play(Wire(connection, version, certificate))
            except (OSError, ValueError):
                pass  # the broker has had enough
            answer = self.client.answer(id)
            if "error" in answer:
                outcomes.add(Link.words(answer))
                self.assertEqual(answer["error"]["data"]["stage"], "tls", answer)
                self.assertGreater(len(answer["error"]["message"]), 20)
            else:
                outcomes.add("ok")
                self.client.call("TCPClose", [answer["result"]["socket"], 2])
            connection.close()
        return " or ".join(sorted(outcomes))

    def s_server(self, version):
        return SServer(version)

    def link_of(self, number):
        return Link(self.client, number, None)

    def link(self, version):
        id = self.client.send("TCPConnect", ["127.0.0.1", self.peer.port, True])
        wire = Wire(self.peer.take(), version).handshake()
        return Link(self.client, self.client.wait(id)["socket"], wire)

    def check(self, case):
        outcome = case.run(self, case.version)
        self.lines.append((case, outcome))
        self.assertEqual(outcome, case.expected)
        self.assertTrue(self.daemon.alive())


def short(text):
    return text if len(text) <= 34 else text[:12] + "..." + text[-19:]


def print_table(lines):
    print(f"\n    0  TLS  {'case':58} {'expected':34} got", flush=True)
    for number, (case, got) in enumerate(lines, 1):
        mark = "" if got == case.expected else "   <-- differs"
        print(f"  {number:3}  {case.version}  {(case.group + ': ' + case.name)[:58]:58} {short(case.expected):34} "
              f"{short(got)}{mark}", flush=True)
    print(f"  {len(lines)} cases", flush=True)


def add_tests():
    for number, case in enumerate(misbehaviour_cases.make(), 1):
        def test(self, case=case):
            self.check(case)
        test.__doc__ = f"{case.group}: {case.name}, TLS {case.version}"
        setattr(Cases, f"test_{number:03}", test)


add_tests()

if __name__ == "__main__":
    main()
