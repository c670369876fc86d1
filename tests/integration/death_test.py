"""A client that is gone: its sockets are closed and its requests end within one second, whatever state they are in."""
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import HERE, SLOW, Client, Raw, TestCase, main, seconds, wait_until

HOLDER = """
import json, socket, sys, time
sys.path.insert(0, sys.argv[1])
from harness import Client
client = Client(sys.argv[2])
port, n, secure = int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "secure"
running = []
for i in range(n):
    running.append(client.send("TCPConnect", ["127.0.0.1", port, secure]))
    if len(running) == 50:
        for id in running:
            client.wait(id, 60)
        running = []
for id in running:
    client.wait(id, 60)
print("ready", flush=True)
time.sleep(600)
"""


class Death(TestCase):
    DAEMON_OPTIONS = {"resolver": True}

    @classmethod
    def setUpClass(cls):
        cls.DAEMON_ARGS = ("--cacerts", certificates().cacerts)
        super().setUpClass()

    def setUp(self):
        super().setUp()
        self.client.call("Broker.Hello")

    def settle(self, before, what, limit=1.0):
        """Within one second as many fds as before."""
        started = time.monotonic()
        wait_until(lambda: len(self.daemon.fds()) <= before, 20, what + ": descriptors freed")
        took = time.monotonic() - started
        self.assertLess(took, limit * SLOW, what)
        wait_until(lambda: self.client.call("Broker.Stats")["sockets"] == 0, 5, what + ": numbers freed")
        return took

    def killed(self, n, secure):
        server = self.use(servers.Server(servers.discard, tls=servers.tls_context() if secure else None))
        before = len(self.daemon.fds())
        holder = subprocess.Popen([sys.executable, "-c", HOLDER, HERE, self.daemon.socket_path, str(server.port), str(n),
                                   "secure" if secure else "plain"], stdout=subprocess.PIPE)
        try:
            self.assertEqual(holder.stdout.readline(), b"ready\n")
            self.assertGreaterEqual(len(self.daemon.fds()), before + n)
            self.assertEqual(self.client.call("Broker.Stats")["sockets"], n)
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            holder.stdout.close()
        took = self.settle(before, f"killed with {n} sockets")
        self.assertTrue(self.daemon.alive())
        print(f"\n  {n} {'TLS' if secure else 'plain'} sockets of a killed client were closed in {took * 1000:.0f} ms")

    def test_killed_with_1000_sockets(self):
        self.killed(1000, False)

    def test_killed_with_200_tls_sockets(self):
        self.killed(200, True)

    def request(self, raw, method, params, id):
        raw.write_line(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))

    def connected(self, raw, peer):
        answer = raw.ask({"jsonrpc": "2.0", "id": "c", "method": "TCPConnect", "params": ["127.0.0.1", peer.port]})
        return answer["result"]["socket"], peer.take()

    def test_gone_with_requests_of_every_kind_running(self):
        peer = self.use(servers.Peer())
        staller = self.use(servers.Server(servers.stall_handshake))
        with servers.BlackHole() as hole:
            for end in ("close", "unread answers"):
                with self.subTest(end=end):
                    before = len(self.daemon.fds())
                    raw = Raw(self.daemon)
                    receiving, _ = self.connected(raw, peer)
                    sending, _ = self.connected(raw, peer)
                    closing, closing_peer = self.connected(raw, peer)
                    accepted = staller.accepted
                    self.request(raw, "TCPReceive", [receiving], 1)
                    for i in range(20):
                        self.request(raw, "TCPSend", [sending, "s" * 300000], 100 + i)
                    self.request(raw, "TCPClose", [closing], 2)
                    self.request(raw, "TCPConnect", ["127.0.0.1", hole.port], 3)
                    self.request(raw, "TCPConnect", ["127.0.0.1", staller.port, True], 4)
                    self.request(raw, "TCPConnect", ["hang-death.test", 80], 5)
                    self.request(raw, "TCPName2Addr", ["hang-name.test"], 6)
                    self.request(raw, "TCPAddr2Name", ["127.66.0.1"], 7)
                    raw.write_line(json.dumps([{"jsonrpc": "2.0", "id": 8, "method": "TCPName2Addr",
                                                "params": ["hang-batch.test"]},
                                               {"jsonrpc": "2.0", "id": 9, "method": "Broker.Hello"}]))
                    if end == "unread answers":
                        for i in range(20):
                            self.request(raw, "Broker.Errors", [], 1000 + i)
                    self.assertEqual(closing_peer.recv(1), b"")
                    wait_until(lambda: staller.accepted > accepted)
                    raw.close()
                    self.settle(before, end)
                    self.check_stats("requests_running", 1)

    def test_gone_at_any_moment_of_a_connect(self):
        server = self.use(servers.Server(tls=servers.tls_context()))
        before = len(self.daemon.fds())
        for i in range(40):
            raw = Raw(self.daemon)
            for k in range(5):
                self.request(raw, "TCPConnect", ["localhost", server.port, True], k)
            end = time.monotonic() + i * 0.0005
            while time.monotonic() < end:
                pass
            raw.close()
        self.settle(before, "gone in connects", 2.0)

    def test_the_peers_see_the_end(self):
        peer = self.use(servers.Peer())
        client = Client(self.daemon)
        client.connect(peer.port)
        connection = peer.take()
        client.close()
        connection.settimeout(seconds(1))
        try:
            self.assertEqual(connection.recv(1), b"")
        except ConnectionResetError:
            pass

    def test_half_close_with_an_endless_receive_and_then_gone(self):
        peer = self.use(servers.Peer())
        before = len(self.daemon.fds())
        raw = Raw(self.daemon)
        number, _ = self.connected(raw, peer)
        self.request(raw, "TCPReceive", [number], 1)
        raw.half_close()
        self.assertTrue(raw.quiet())
        raw.close()
        self.settle(before, "half closed, then gone")

    def test_many_short_clients(self):
        before = len(self.daemon.fds())
        for _ in range(300):
            with Raw(self.daemon) as raw:
                raw.write_line('{"jsonrpc":"2.0","id":1,"method":"Broker.Hello"}')
        self.settle(before, "many short clients", 2.0)


if __name__ == "__main__":
    main()
