"""Who is slow without end, a byte each 50 ms, wherever somebody waits for him: a deadline is that of the whole call, not of the
next byte; what came is not lost; nobody else notices."""
import os
import random
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import SLOW, Raw, main, seconds, wait_until
from doors import DoorTestCase

STEP, DEADLINE = 0.05, int(400 * SLOW)
TEXT = "".join(chr(ord("a") + at % 26) for at in range(5000))


def trickle(connection, data=None):
    """Until the end, or until it is not wanted any more."""
    try:
        for at in range(len(data or TEXT)):
            connection.sendall((data or TEXT.encode())[at:at + 1])
            time.sleep(STEP)
    except OSError:
        pass


class Narrow(servers.Listener):
    """Passes on what comes to a port, and what comes back: a byte each STEP."""

    def __init__(self, port):
        super().__init__()
        self.to = port

    def on_connection(self, connection):
        threading.Thread(target=self._pass, args=(connection,), daemon=True).start()

    def _pass(self, connection):
        try:
            with socket.create_connection(("127.0.0.1", self.to), seconds(10)) as far:
                far.sendall(connection.recv(65536))
                while data := far.recv(65536):
                    trickle(connection, data)
        except OSError:
            pass
        finally:
            self.forget(connection)
            connection.close()


class Slow(DoorTestCase):
    def begin(self, text=""):
        self.start(text, "--set", f"socks.handshake_timeout={DEADLINE}ms", "--set", f"io.close_timeout={DEADLINE}ms",
                   "--set", f"connect.timeout={DEADLINE}ms")
        self.client = self.daemon.client()
        self.addCleanup(self.client.close)

    def late(self, call, *arguments, **keywords):
        """It takes as long as the deadline allows, no longer, and no less."""
        began = time.monotonic()
        result = call(*arguments, **keywords)
        took = (time.monotonic() - began) * 1000
        self.assertGreater(took, DEADLINE * 0.9)
        self.assertLess(took, DEADLINE + 500 * SLOW)
        return result

    def test_receive(self):
        self.begin()
        server = self.use(servers.Server(trickle))
        number = self.client.connect(server.port)
        got = ""
        for how in ({"exact": 1000}, {"until": "\n"}):
            error = self.late(self.client.error, "TCPReceive", socket=number, timeout_ms=DEADLINE, **how)
            self.assertEqual(error.symbol, "ETIMEDOUT")
        while len(got) < 20:
            got += self.client.call("TCPReceive", socket=number, timeout_ms=DEADLINE)["data"]
        self.assertEqual(got, TEXT[:len(got)])

    def test_close_of_what_never_ends(self):
        self.begin()
        server = self.use(servers.Server(trickle))
        number = self.client.connect(server.port)
        wait_until(lambda: self.client.call("TCPReceive", socket=number)["data"])
        self.late(self.client.call, "TCPClose", [number])

    def test_send(self):
        def read_slowly(connection):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            while connection.recv(1):
                time.sleep(STEP)
        self.begin()
        number = self.client.connect(self.use(servers.Server(read_slowly)).port)
        for _ in range(40):
            if self.client.answer(self.client.send("TCPSend", socket=number, data="s" * 500000, timeout_ms=50)).get("error"):
                break
        error = self.late(self.client.error, "TCPSend", socket=number, data="s" * 500000, timeout_ms=DEADLINE)
        self.assertEqual(error.symbol, "ETIMEDOUT")

    def test_handshakes(self):
        """As client, in TCPConnect, TCPStartTLS and a tunnel; as server in TCPAccept."""
        server = self.use(servers.Server(tls=servers.tls_context()))
        narrow = self.use(Narrow(server.port))
        chain, key = certificates().pem("mutual")
        self.begin(self.tunnel(narrow.port, timeout=f"{DEADLINE}ms") +
                   f'[identity "i"]\ncertificate = {chain}\nkey = {key}\nusers = {os.getuid()}\n')
        error = self.late(self.client.error, "TCPConnect", hostname="localhost", port=narrow.port, secure=True, timeout_ms=DEADLINE)
        self.assertEqual((error.symbol, error.stage), ("ETIMEDOUT", "tls"))
        number = self.client.connect(narrow.port)
        error = self.late(self.client.error, "TCPStartTLS", socket=number, server_name="localhost", timeout_ms=DEADLINE)
        self.assertEqual((error.symbol, error.stage), ("ETIMEDOUT", "tls"))
        sock = self.enter()
        self.late(self.gone, sock)

        listening = self.client.call("TCPSocket", family="ipv4")["socket"]
        port = self.client.call("TCPBind", socket=listening, port=0, address="127.0.0.1")["port"]
        self.client.call("TCPListen", [listening])
        with socket.create_connection(("127.0.0.1", port)) as slow:
            # a ClientHello of 512 bytes that never gets there
            threading.Thread(target=trickle, args=(slow, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(501)),
                             daemon=True).start()
            error = self.late(self.client.error, "TCPAccept", socket=listening, secure=True, identity="i", timeout_ms=DEADLINE)
            self.assertEqual(error.symbol, "ETIMEDOUT")

    def test_socks(self):
        self.begin(f"[socks]\nsocket = {self.path('socks')}\n")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(seconds(10))
            sock.connect(self.path("socks"))
            threading.Thread(target=trickle, args=(sock, b"\5\xff" + bytes(255)), daemon=True).start()
            self.late(self.gone, sock)

    def test_lines(self):
        """A client may take as long as it likes for a line; beside it others are served at once."""
        self.begin()
        number = self.client.connect(self.use(servers.Server()).port)
        lines = [b'{"jsonrpc":"2.0","id":1,"method":"Broker.Hello"}\n', b'{"jsonrpc":"2.0","id":2,"meth', b"x" * 5000]
        slow = [self.use(Raw(self.daemon)) for _ in range(60)]
        chosen = random.Random(1)
        pending = [bytearray(chosen.choice(lines)) for _ in slow]
        pending[0][:] = lines[0]
        worst = 0
        for _ in range(len(lines[0])):
            for raw, data in zip(slow, pending):
                if data:
                    raw.write(bytes(data[:1]))
                    del data[:1]
            began = time.monotonic()
            self.client.call("TCPSend", [number, "x"])
            self.client.call("TCPReceive", socket=number, exact=1)
            worst = max(worst, time.monotonic() - began)
        self.assertLess(worst, seconds(0.5))
        self.assertIn("result", slow[0].read())


if __name__ == "__main__":
    main()
