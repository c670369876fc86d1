"""Limits: each is told by Broker.Hello, set by an option, and reaching it hurts nobody else."""
import contextlib
import json
import os
import resource
import select
import shutil
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import SLOW, Client, Daemon, OwnDaemonTestCase, Raw, main, seconds, wait_until


class Limits(OwnDaemonTestCase):
    """Each test has its own daemon."""

    def start(self, *options, **kw):
        arguments = [word for option in options for word in ("--set", option)]
        self.daemon = self.use(Daemon(*arguments, **kw))
        self.client = self.use(Client(self.daemon))
        return self.client

    def limit(self, error, code, symbol, option, value):
        data = self.check_error(error, code, symbol, retryable=True)
        self.assertEqual(data["limit"], option)
        self.assertEqual(data["limit_value"], value)

    def test_hello_tells_the_options(self):
        options = {"line": 65536, "nesting": 10, "requests": 5, "unread_answers": 100000, "held_bytes": 200000,
                   "sockets": 50, "sockets_per_session": 40, "clients_per_user": 60, "sockets_per_user": 45,
                   "requests_per_user": 70, "held_bytes_per_user": 300000, "lookups_per_user": 80, "pings_per_user": 9,
                   "tokens_per_user": 11, "connects_per_second": 90, "pings_per_second": 12, "durable_sessions": 13,
                   "receive_buffer": 8192, "lookups": 14, "passages_per_user": 15, "connects_burst": 91, "pings_burst": 16}
        client = self.start(*(f"limits.{name}={value}" for name, value in options.items()))
        self.assertEqual(client.call("Broker.Hello")["limits"], options)

    def test_requests_in_flight(self):
        client = self.start("limits.requests=4")
        peer = self.use(servers.Peer())
        numbers = [client.connect(peer.port) for _ in range(5)]
        connections = [peer.take() for _ in range(5)]
        running = [client.send("TCPReceive", [number]) for number in numbers[:4]]
        self.limit(client.error("TCPReceive", [numbers[4]]), -33004, "LIMIT", "limits.requests", 4)
        self.assertEqual(client.call("Broker.Hello")["limits"]["requests"], 4, "what never waits is admitted")
        self.assertIs(client.call("Broker.Cancel", [running[0]])["cancelled"], True)
        client.answer(running[0])
        self.assertEqual(client.call("TCPName2Addr", ["127.0.0.1"])["address"], "127.0.0.1", "room again")
        with Client(self.daemon) as other:
            other.call("TCPName2Addr", ["127.0.0.1"])
        for connection in connections:
            connection.sendall(b"x")
        for id in running[1:]:
            client.wait(id)

    def test_requests_of_a_batch_count(self):
        self.start("limits.requests=4")
        peer = self.use(servers.Peer())
        with Raw(self.daemon) as raw:
            numbers = [raw.ask({"jsonrpc": "2.0", "id": i, "method": "TCPConnect",
                                "params": ["127.0.0.1", peer.port]})["result"]["socket"] for i in range(6)]
            for _ in numbers:
                peer.take().sendall(b"y")
            answers = raw.ask([{"jsonrpc": "2.0", "id": i, "method": "TCPReceive",
                                "params": {"socket": numbers[i], "exact": 2, "timeout_ms": 300}} for i in range(6)])
            codes = sorted(answer["error"]["code"] for answer in answers)
            self.assertEqual(codes, [-33004] * 2 + [-10060] * 4)

    def test_sockets_of_a_session(self):
        client = self.start("limits.sockets_per_session=3")
        server = self.use(servers.Server())
        for _ in range(5):
            client.error("TCPConnect", ["127.0.0.1", servers.closed_port()])
        numbers = [client.connect(server.port) for _ in range(3)]
        self.limit(client.error("TCPConnect", ["127.0.0.1", server.port]), -10024, "EMFILE",
                   "limits.sockets_per_session", 3)
        with Client(self.daemon) as other:
            other.connect(server.port)
        client.call("TCPClose", [numbers[0], 2])
        client.connect(server.port)

    def test_connects_under_way_count(self):
        client = self.start("limits.sockets_per_session=2")
        with servers.BlackHole() as hole:
            ids = [client.send("TCPConnect", ["127.0.0.1", hole.port]) for _ in range(2)]
            self.limit(client.error("TCPConnect", ["127.0.0.1", hole.port]), -10024, "EMFILE",
                       "limits.sockets_per_session", 2)
            for id in ids:
                client.call("Broker.Cancel", [id])
                client.answer(id)
        client.connect(self.use(servers.Server()).port)

    def test_sockets_of_the_daemon(self):
        client = self.start("limits.sockets=3")
        server = self.use(servers.Server())
        other = self.use(Client(self.daemon))
        kept = [client.connect(server.port), other.connect(server.port), other.connect(server.port)]
        for one in (client, other):
            self.limit(one.error("TCPConnect", ["127.0.0.1", server.port]), -10024, "EMFILE", "limits.sockets", 3)
        other.close()
        wait_until(lambda: "result" in client.answer(client.send("TCPConnect", ["127.0.0.1", server.port])))
        self.assertEqual(len(kept), 3)

    def test_held_bytes(self):
        client = self.start("limits.line=1M", "limits.held_bytes=1200000")
        peer = self.use(servers.Peer())
        number, connection = client.connect(peer.port), peer.take()
        refused = None
        ids = []
        for _ in range(60):
            ids.append(client.send("TCPSend", [number, "h" * 500000]))
            time.sleep(0.02 * SLOW)
            client.call("Broker.Hello")
            if client.answered(ids[-1]):
                message = client.answer(ids.pop())
                if "error" in message:
                    refused = message["error"]
                    break
        self.limit(refused, -33004, "LIMIT", "limits.held_bytes", 1200000)
        self.assertGreaterEqual(len(ids), 1)
        connection.settimeout(0.5)
        try:
            while connection.recv(1 << 20):
                pass
        except TimeoutError:
            pass
        for id in ids:
            self.assertEqual(client.wait(id)["sent"], 500000)
        self.assertEqual(client.call("TCPSend", [number, "h" * 500000])["sent"], 500000)

    def test_lookups(self):
        client = self.start("limits.lookups=3", "threads.resolver=1", resolver=True)
        ids = [client.send("TCPName2Addr", [f"hang-{i}.test"]) for i in range(8)]
        refused = []

        def some():
            refused.extend(client.answer(id) for id in list(ids) if client.answered(id) and not ids.remove(id))
            return len(refused) >= 4
        wait_until(some)
        for message in refused:
            error = message["error"]
            self.check_error(error, error["code"], error["data"]["symbol"], retryable=True)
            self.assertEqual(error["data"].get("limit"), "limits.lookups", error)
        for id in ids:
            client.call("Broker.Cancel", [id])
            client.answer(id)

    def test_clients(self):
        self.start("listen.clients=3")
        # who tests is an administrator, and has some places more
        others = [self.use(Raw(self.daemon)) for _ in range(2 + 16)]
        for raw in others:
            self.assertIn("result", raw.ask({"jsonrpc": "2.0", "id": 1, "method": "Broker.Hello"}))
        with Raw(self.daemon) as one_more:
            self.assertIsNone(one_more.read())
        others[0].close()

        def admitted():
            with Raw(self.daemon) as raw:
                try:
                    return raw.ask({"jsonrpc": "2.0", "id": 1, "method": "Broker.Hello"}) is not None
                except OSError:
                    return False
        wait_until(admitted)

    def test_a_client_that_never_reads_is_not_read_from(self):
        client = self.start("limits.unread_answers=256K")
        memory = self.daemon.rss_kib()
        greedy = socket.socket(socket.AF_UNIX)
        self.addCleanup(greedy.close)
        greedy.connect(self.daemon.socket_path)
        greedy.setblocking(False)
        line = b"".join(b'{"jsonrpc":"2.0","id":%d,"method":"Broker.Errors"}\n' % i for i in range(100000))
        sent, still = 0, 0
        while sent < len(line) and still < 10:
            _, writable, _ = select.select([], [greedy], [], 0.1)
            if writable:
                sent += greedy.send(line[sent:sent + 65536])
                still = 0
            else:
                still += 1
        self.assertLess(sent, len(line), "the daemon read everything from a client that reads nothing")
        if not self.daemon.sanitized():
            self.assertLess(self.daemon.rss_kib() - memory, 24 * 1024)
        server = self.use(servers.Server())
        number = client.connect(server.port)
        for _ in range(50):
            client.call("TCPSend", [number, "fine"])
            self.assertEqual(client.call("TCPReceive", socket=number, exact=4)["data"], "fine")

        # now it reads: every request is answered, once
        greedy.setblocking(True)
        greedy.settimeout(seconds(20))
        n_lines = line[:sent].count(b"\n")
        if line[sent - 1:sent] != b"\n":
            end = line.index(b"\n", sent) + 1
            threading.Thread(target=greedy.sendall, args=(line[sent:end],), daemon=True).start()
            n_lines += 1
        found, rest = [], b""
        while len(found) < n_lines:
            *lines, rest = (rest + greedy.recv(1 << 20)).split(b"\n")
            found += [json.loads(one)["id"] for one in lines]
        self.assertEqual(sorted(found), list(range(n_lines)))

    def test_receives_of_a_client_that_never_reads_wait(self):
        self.start("limits.unread_answers=128K")
        server = self.use(servers.Server(servers.chatter))
        raw = self.use(Raw(self.daemon))
        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        numbers = [raw.ask({"jsonrpc": "2.0", "id": i, "method": "TCPConnect", "params": ["127.0.0.1", server.port]})
                   ["result"]["socket"] for i in range(20)]
        memory = self.daemon.rss_kib()
        for i, number in enumerate(numbers):
            raw.write_line(json.dumps({"jsonrpc": "2.0", "id": i, "method": "TCPReceive",
                                       "params": {"socket": number, "exact": 500000, "max_bytes": 500000}}))
        time.sleep(0.5)
        if not self.daemon.sanitized():
            self.assertLess(self.daemon.rss_kib() - memory, 48 * 1024)
        self.assertEqual(sorted(raw.read(30)["id"] for _ in numbers), list(range(20)))

    def test_peers_that_talk_without_end_cost_bounded_memory(self):
        client = self.start()
        server = self.use(servers.Server(servers.chatter))
        for _ in range(5):
            client.connect(server.port)
        memory = self.daemon.rss_kib()
        for _ in range(60):
            client.connect(server.port)
        time.sleep(0.5)
        if not self.daemon.sanitized():
            self.assertLess(self.daemon.rss_kib() - memory, 60 * 128 + 2048)

    def cpu_seconds(self):
        with open(f"/proc/{self.daemon.pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def exhaust(self):
        """No descriptor is left until the context ends."""
        used = self.daemon.fds()
        lowest_free = next(fd for fd in range(len(used) + 1) if fd not in used)
        _, hard = resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE)

        @contextlib.contextmanager
        def exhausted():
            resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE, (lowest_free, hard))
            try:
                yield
            finally:
                resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE, (hard, hard))
        return exhausted()

    def test_no_descriptors_for_anything(self):
        """Each method that needs one says so; doors wait; names that could not be looked up are not remembered as unknown."""
        folder = tempfile.mkdtemp(prefix="tcpbroker-test-")
        self.addCleanup(shutil.rmtree, folder)
        server = self.use(servers.Server())
        secure = self.use(servers.Server(tls=servers.tls_context()))
        door = os.path.join(folder, "t")
        client = self.start(f'tunnel "t".listen={door}', f'tunnel "t".connect=127.0.0.1:{server.port}', 'tunnel "t".secure=no',
                            f"tls.cacerts={certificates().cacerts}", "tls.system_store=no")
        number = client.connect(server.port)
        self.check_stats("lookups_running", 0)
        with self.exhaust():
            for method, params in (("TCPConnect", ["127.0.0.1", server.port]), ("TCPConnect", ["127.0.0.1", secure.port, True]),
                                   ("TCPBind", [client.call("TCPSocket")["socket"], 0])):
                self.check_error(client.error(method, params), -10024, "EMFILE", retryable=True)
            for method, params in (("TCPConnect", ["localhost", server.port]), ("TCPName2Addr", ["localhost"]),
                                   ("TCPBind", [client.call("TCPSocket")["socket"], "domain"])):
                self.check_error(client.error(method, params), -10024, "EMFILE", "resolve", retryable=True)
            program = socket.socket(socket.AF_UNIX)
            self.addCleanup(program.close)
            program.settimeout(seconds(10))
            program.connect(door)
            program.sendall(b"waits")
            before = self.cpu_seconds()
            time.sleep(0.6)
            self.assertLess(self.cpu_seconds() - before, 0.3, "accepting without descriptors must not spin")
            client.call("TCPSend", [number, "alive"])
            self.assertEqual(client.call("TCPReceive", socket=number, exact=5)["data"], "alive")
        self.assertEqual(program.recv(100), b"waits")
        self.assertEqual(client.call("TCPName2Addr", ["localhost"])["address"], "127.0.0.1")
        for host in ("localhost", "127.0.0.1"):
            client.connect(server.port, host=host)
        client.connect(secure.port, host="localhost", secure=True)

    def test_no_descriptors_left(self):
        client = self.start()
        server = self.use(servers.Server())
        number = client.connect(server.port)
        _, hard = resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE)
        used = self.daemon.fds()
        lowest_free = next(fd for fd in range(len(used) + 1) if fd not in used)
        resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            for _ in range(3):
                error = client.error("TCPConnect", ["127.0.0.1", server.port])
                self.check_error(error, -10024, "EMFILE")
                self.assertIn(error.data.get("errno"), ("EMFILE", None))
            waiting = socket.socket(socket.AF_UNIX)
            self.addCleanup(waiting.close)
            waiting.connect(self.daemon.socket_path)
            before = self.cpu_seconds()
            time.sleep(0.6)
            self.assertLess(self.cpu_seconds() - before, 0.3, "accepting without descriptors must not spin")
            client.call("TCPSend", [number, "alive"])
            self.assertEqual(client.call("TCPReceive", socket=number, exact=5)["data"], "alive")
        finally:
            resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE, (hard, hard))
        client.connect(server.port)
        waiting.sendall(b'{"jsonrpc":"2.0","id":1,"method":"Broker.Hello"}\n')
        waiting.settimeout(seconds(10))
        self.assertIn(b'"result"', waiting.recv(65536))

    def test_refusals_are_counted(self):
        client = self.start("limits.sockets_per_session=1")
        server = self.use(servers.Server())
        client.connect(server.port)
        for _ in range(3):
            client.error("TCPConnect", ["127.0.0.1", server.port])
        self.assertEqual(client.call("Broker.Stats")["limit_refused"], 3)


if __name__ == "__main__":
    main()
