"""Programs that are stopped, and those that come and vanish: a client with full buffers, the daemon itself, 10,000 clients."""
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import HERE, Raw, TestCase, main, seconds, wait_until

MIB = 1 << 20
TOTAL = 24 * MIB
BLOCK = hashlib.shake_128(b"stall").digest(MIB).hex().encode()[:MIB]  # text, and no part of it like another

READER = """
import hashlib, socket, sys
sys.path.insert(0, sys.argv[1])
from harness import Client
client = Client(sys.argv[2], timeout=60)
port, how, total = int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
found, got = hashlib.sha256(), 0
if how == "attach":
    raw = socket.socket(socket.AF_UNIX)
    raw.connect(sys.argv[2])
    raw.sendall(b'{"jsonrpc":"2.0","id":1,"method":"TCPConnect","params":{"hostname":"localhost","port":%d,"secure":true,'
                b'"attach":true}}\\n' % port)
    _, fds, _, _ = socket.recv_fds(raw, 65536, 1)
    stream = socket.socket(fileno=fds[0])
    print("ready", flush=True)
    while data := stream.recv(65536):
        found.update(data)
        got += len(data)
else:
    number = client.connect(port, host="localhost", secure=how == "tls")
    asked = [client.send("TCPReceive", socket=number, max_bytes=100000, timeout_ms=60000)]
    print("ready", flush=True)
    while True:
        # the next one is asked for before this one has come
        result = client.wait(asked.pop(), 60)
        if result.get("closed"):
            break
        asked.append(client.send("TCPReceive", socket=number, max_bytes=100000, timeout_ms=60000))
        found.update(result["data"].encode())
        got += result["received"]
print(got, found.hexdigest(), flush=True)
"""


def say_all(connection):
    for _ in range(TOTAL // len(BLOCK)):
        connection.sendall(BLOCK)

VANISHING = r"""
import socket, sys, time
parts = (b"", b'{"jsonrpc":"2.0","id":1,"meth', b'{"jsonrpc":"2.0","id":1,"method":"Broker.Hello"}\n',
         b'{"jsonrpc":"2.0","id":1,"method":"TCPSocket"}\n{"jsonrpc":"2.0","id":2,"method":"TCPName2Addr","params":["localhost"]}\n',
         b"[" * 40 + b"\n", b"\xff\xfe\n")
for at in range(int(sys.argv[3])):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(sys.argv[1])
        sock.sendall(parts[(int(sys.argv[2]) + at) % len(parts)])
    time.sleep(0.001)
"""


class Stall(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.DAEMON_ARGS = ("--cacerts", certificates().cacerts)
        super().setUpClass()

    def state(self, pid, letters):
        def is_so():
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                return file.read().rsplit(")", 1)[1].split()[0] in letters
        wait_until(is_so, what=f"process {pid} in {letters}")

    def stopped(self, how):
        sent = []

        def counted(connection):
            say_all(connection)
            sent.append(True)
        server = self.use(servers.Server(counted, tls=servers.tls_context() if how != "plain" else None))
        echo = self.use(servers.Server())
        number = self.client.connect(echo.port)
        before = self.daemon.rss_kib()
        reader = subprocess.Popen([sys.executable, "-c", READER, HERE, self.daemon.socket_path, str(server.port), how, str(TOTAL)],
                                  stdout=subprocess.PIPE, text=True)
        try:
            self.assertEqual(reader.stdout.readline(), "ready\n")
            reader.send_signal(signal.SIGSTOP)
            self.state(reader.pid, "T")
            # until nothing moves any more
            count = -1
            while count != (count := self.client.call("Broker.Stats")["bytes_in"]):
                time.sleep(0.2)
            for at in range(50):
                self.client.call("TCPSend", [number, f"{at}\n"])
                self.assertEqual(self.client.call("TCPReceive", socket=number, until="\n")["data"], f"{at}\n")
            if not self.daemon.sanitized():
                self.assertLess(self.daemon.rss_kib() - before, 4 * 1024, "memory for a client that does not read")
            self.assertEqual(sent, [], "the server was read from although nobody reads")
            reader.send_signal(signal.SIGCONT)
            got, digest = reader.stdout.readline().split()
            self.assertEqual(int(got), TOTAL)
            self.assertEqual(digest, hashlib.sha256(BLOCK * (TOTAL // len(BLOCK))).hexdigest())
        finally:
            reader.kill()
            reader.wait()
            reader.stdout.close()

    def test_a_client_that_is_stopped(self):
        self.stopped("plain")

    def test_a_client_that_is_stopped_with_tls(self):
        self.stopped("tls")

    def test_a_program_with_an_attached_stream_that_is_stopped(self):
        self.stopped("attach")

    def test_the_daemon_is_stopped_for_a_while(self):
        """What was sent meanwhile is there, deadlines that passed have passed, who came meanwhile is served."""
        peer = self.use(servers.Peer())
        secure = self.use(servers.Server(tls=servers.tls_context()))
        number, connection = self.client.connect(peer.port), peer.take()
        quiet = self.client.connect(peer.port)
        peer.take()
        tls = self.client.connect(secure.port, host="localhost", secure=True)
        waiting = self.client.send("TCPReceive", socket=number, exact=100, timeout_ms=60000)
        short = self.client.send("TCPReceive", socket=quiet, timeout_ms=300)
        self.client.call("Broker.Hello")
        os.kill(self.daemon.pid, signal.SIGSTOP)
        try:
            self.state(self.daemon.pid, "T")
            connection.sendall(b"m" * 100)
            came = [self.use(Raw(self.daemon)) for _ in range(20)]
            for at, raw in enumerate(came):
                raw.write_line('{"jsonrpc":"2.0","id":%d,"method":"TCPConnect","params":["localhost",%d,true]}' % (at, secure.port))
            time.sleep(2)
        finally:
            os.kill(self.daemon.pid, signal.SIGCONT)
        self.assertEqual(self.client.wait(waiting)["data"], "m" * 100)
        self.assertEqual(self.client.answer(short)["error"]["data"]["symbol"], "ETIMEDOUT")
        for at, raw in enumerate(came):
            self.assertIn("result", raw.read(), at)
        self.client.call("TCPSend", [tls, "alive"])
        self.assertEqual(self.client.call("TCPReceive", socket=tls, exact=5)["data"], "alive")

    def cpu_seconds(self):
        with open(f"/proc/{self.daemon.pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def crowd(self, number, n, fds):
        """n clients come and vanish; returns how long who is there waited at most."""
        programs = [subprocess.Popen([sys.executable, "-c", VANISHING, self.daemon.socket_path, str(which), str(n // 4)])
                    for which in range(4)]
        worst = 0.0
        try:
            while any(program.poll() is None for program in programs):
                began = time.monotonic()
                self.client.call("TCPSend", [number, "x"])
                self.client.call("TCPReceive", socket=number, exact=1)
                worst = max(worst, time.monotonic() - began)
                time.sleep(0.005)
        finally:
            for program in programs:
                program.kill()
                program.wait()
        self.assertEqual([program.returncode for program in programs], [0] * 4)
        wait_until(lambda: self.client.call("Broker.Stats")["clients"] == 1, what="all of them gone")
        wait_until(lambda: len(self.daemon.fds()) <= fds, what="descriptors as before")
        return worst

    def test_10000_clients_that_vanish(self):
        """Some without a word, some in a line, some after one, some that do not wait for the answer."""
        number = self.client.connect(self.use(servers.Server()).port)
        fds = len(self.daemon.fds())
        self.crowd(number, 2000, fds)
        before = self.daemon.rss_kib()
        began, cpu = time.monotonic(), self.cpu_seconds()
        worst = self.crowd(number, 10000, fds)
        took = time.monotonic() - began
        self.assertLess(took, seconds(20))
        self.assertEqual(self.client.call("Broker.Stats")["sockets"], 1)
        self.assertLess(worst, seconds(1))
        if not self.daemon.sanitized():
            self.assertLess(self.daemon.rss_kib() - before, 6 * 1024)
        print(f"\n  10000 clients came and vanished in {took:.1f} s; who was there waited {worst * 1000:.0f} ms at most; "
              f"memory {self.daemon.rss_kib() - before:+d} KiB; {(self.cpu_seconds() - cpu) * 100:.0f} µs of CPU each")


if __name__ == "__main__":
    main()
