"""Accounts: what one user may have, whatever the number of his connections. Under each limit in turn: who is at it gets the
documented error, another user does not notice, and what was taken is given back when its user has gone."""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import servers
from harness import SLOW, Client, Closed, Daemon, OwnDaemonTestCase, RpcError, main, seconds, wait_until
from ping_test import Inside, namespaces_work
from users import User, open_to_all

BAD, GOOD = 12001, 12002
ROUNDS = 40
LATENCY_MS = 500  # far more than it takes; far less than any time-out
GAUGES = ("clients", "passages", "sockets", "requests", "held_bytes", "lookups", "pings", "tokens")


@unittest.skipIf(os.getuid() != 0, "needs root, to be somebody else")
class AccountTestCase(OwnDaemonTestCase):
    """bad and good: users; admin: a client that sees both."""

    def start(self, *options, make=Daemon, **kw):
        self.server = self.use(servers.Server())
        self.bad, self.good = self.use(User(BAD)), self.use(User(GOOD))
        arguments = [word for option in ("listen.mode=0777", "threads.io=2", *options) for word in ("--set", option)]
        self.daemon = open_to_all(self.use(make(*arguments, **kw)))
        self.admin = self.use(Client(self.daemon))

    def make_folder(self):
        folder = tempfile.mkdtemp(prefix="tcpbroker-test-")
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        return folder

    def one(self):
        return self.use(self.bad.client(self.daemon))

    def refused(self, error, option, value, code=-33004, symbol="LIMIT"):
        data = self.check_error(error, code, symbol, retryable=True)
        self.assertEqual((data["limit"], data["limit_value"]), (option, value))
        return data

    def counted(self, option, least=1):
        self.assertGreaterEqual(self.admin.call("Broker.Stats")["refused_" + option.split(".")[1]], least)

    def all_is_well(self, rounds=ROUNDS):
        """For the good user, and at once."""
        slowest = 0.0
        with self.good.client(self.daemon) as client:
            for number in range(rounds):
                begin = time.monotonic()
                opened = client.connect(self.server.port)
                text = f"round {number}"
                client.call("TCPSend", [opened, text])
                self.assertEqual(client.call("TCPReceive", socket=opened, exact=len(text))["data"], text)
                client.call("TCPClose", [opened])
                slowest = max(slowest, (time.monotonic() - begin) * 1000)
        self.assertLess(slowest, LATENCY_MS * SLOW)

    def row(self, uid=BAD):
        rows = [row for row in self.admin.call("Broker.Users")["users"] if row["uid"] == uid]
        self.assertLessEqual(len(rows), 1)
        return rows[0] if rows else None

    def has(self, uid=BAD):
        row = self.row(uid)
        return {what: row[what] for what in GAUGES if row[what]} if row else {}

    def given_back(self, *clients, uid=BAD):
        for client in clients:
            client.close()
        wait_until(lambda: not self.has(uid), 10, f"nothing of {uid} being left")
        self.assertFalse(self.has(GOOD))


class Limits(AccountTestCase):
    def test_clients(self):
        self.start("limits.clients_per_user=5")
        clients = [self.bad.client(self.daemon) for _ in range(5)]
        for client in clients:
            client.call("Broker.Hello")
        for _ in range(20):
            with self.bad.raw(self.daemon) as raw:
                self.assertIsNone(raw.read(), "closed, without a word")
        self.all_is_well()
        self.counted("limits.clients_per_user", 20)
        self.assertEqual(self.row()["refused"], 20)
        self.assertGreaterEqual(self.admin.call("Broker.Stats")["refused_clients_per_user"], 20)
        self.daemon.wait_log(rf"client of uid {BAD} pid \d+ turned away: limits\.clients_per_user is 5")
        self.assertLess(self.daemon.log().count("turned away"), 10, "not a line for each")
        clients.pop().close()
        wait_until(lambda: self.has()["clients"] == 4)
        clients.append(self.bad.client(self.daemon))
        clients[-1].call("Broker.Hello")
        self.given_back(*clients)

    def test_sockets(self):
        self.start("limits.sockets_per_user=10")
        one, two = self.one(), self.one()
        numbers = [client.call("TCPSocket")["socket"] for client in (one, two) * 5]
        for client in (one, two):
            for method, params in (("TCPSocket", None), ("TCPConnect", ["127.0.0.1", self.server.port])):
                self.refused(client.error(method, params), "limits.sockets_per_user", 10, -10024, "EMFILE")
        self.all_is_well()
        token = one.call("TCPOffer", [numbers[0]])["token"]
        self.refused(one.error("TCPSocket"), "limits.sockets_per_user", 10, -10024, "EMFILE")
        two.call("TCPClaim", [token])
        wait_until(lambda: self.has() == {"clients": 2, "sockets": 10}, what="the offer being settled")
        two.call("TCPClose", [numbers[1], 2])
        one.connect(self.server.port)
        self.refused(two.error("TCPSocket"), "limits.sockets_per_user", 10, -10024, "EMFILE")
        self.counted("limits.sockets_per_user", 6)
        self.given_back(one, two)

    def test_sockets_accepted_count(self):
        self.start("limits.sockets_per_user=2")
        client = self.one()
        serving = client.call("TCPSocket")["socket"]
        port = client.call("TCPBind", socket=serving, port=0, address="127.0.0.1")["port"]
        client.call("TCPListen", [serving])
        with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
            client.call("TCPAccept", [serving])
            self.refused(client.error("TCPAccept", [serving]), "limits.sockets_per_user", 2, -10024, "EMFILE")
            self.all_is_well(5)
        self.given_back(client)

    def test_requests(self):
        self.start("limits.requests_per_user=8")
        clients = [self.one() for _ in range(4)]
        peer = self.use(servers.Peer())
        numbers = [(client, client.connect(peer.port)) for client in clients for _ in range(3)]
        running = [(client, client.send("TCPReceive", [number])) for client, number in numbers[:8]]
        wait_until(lambda: self.has()["requests"] == 8)
        for client, number in numbers[8:]:
            self.refused(client.error("TCPReceive", [number]), "limits.requests_per_user", 8)
        self.assertEqual(clients[3].call("Broker.Hello")["limits"]["requests_per_user"], 8, "what never waits is admitted")
        stop = threading.Event()

        def hammer():
            while not stop.is_set():
                clients[3].error("TCPReceive", [numbers[-1][1]])

        hammering = threading.Thread(target=hammer)
        hammering.start()
        try:
            self.all_is_well()
        finally:
            stop.set()
            hammering.join()
        client, id = running.pop()
        client.call("Broker.Cancel", [id])
        client.answer(id)
        clients[2].call("TCPName2Addr", ["127.0.0.1"])
        self.counted("limits.requests_per_user", 4)
        self.given_back(*clients)

    def test_held_bytes(self):
        self.start("limits.held_bytes_per_user=1M", "limits.line=400000")
        peer = self.use(servers.Peer())
        one, two = self.one(), self.one()
        numbers = [(client, client.connect(peer.port)) for client in (one, two)]
        refused = None
        for _ in range(200):  # until what the system holds for the peers is full
            for client, number in numbers:
                id = client.send("TCPSend", [number, "h" * 300000])
                self.admin.call("Broker.Hello")
                if client.answered(id) and "error" in (message := client.answer(id)):
                    refused = message["error"]
                    break
            if refused:
                break
        self.refused(refused, "limits.held_bytes_per_user", 1 << 20)
        self.assertGreater(self.has()["held_bytes"], 700000)
        self.all_is_well()
        self.counted("limits.held_bytes_per_user")
        self.given_back(one, two)

    def test_unread_answers_count(self):
        self.start("limits.held_bytes_per_user=1M", "limits.unread_answers=8M")
        raws = [self.bad.raw(self.daemon) for _ in range(8)]
        line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "Broker.Errors"}).encode() + b"\n"
        for raw in raws:
            raw.sock.setblocking(False)
        for _ in range(2000):
            for raw in raws:
                try:
                    raw.sock.send(line)
                except BlockingIOError:
                    pass
        # nearly all: an io thread holds some of it for the next request
        wait_until(lambda: self.has().get("held_bytes", 0) >= 7 << 17, what="the answers being counted")
        # each may have a little whatever the others have
        self.assertLess(self.has()["held_bytes"], (1 << 20) + 8 * 80000)
        self.all_is_well()
        self.assertLess(self.has()["held_bytes"], (1 << 20) + 8 * 80000)
        with self.bad.client(self.daemon) as client:
            self.refused(client.error("TCPSend", [1, "x" * 200000]), "limits.held_bytes_per_user", 1 << 20)
        for raw in raws:
            raw.close()
        self.given_back()

    def test_collected_answers_count(self):
        """Those of a batch whose last member does not end."""
        self.start("limits.held_bytes_per_user=4M", "limits.unread_answers=1M")
        peer = self.use(servers.Peer())
        raws = [self.bad.raw(self.daemon) for _ in range(8)]
        connect = {"jsonrpc": "2.0", "id": 1, "method": "TCPConnect", "params": ["127.0.0.1", peer.port]}
        numbers = [raw.ask(connect)["result"]["socket"] for raw in raws]
        for raw, number in zip(raws, numbers):
            calls = [{"jsonrpc": "2.0", "id": "waits", "method": "TCPReceive", "params": [number]}]
            calls += [{"jsonrpc": "2.0", "id": i, "method": "rpc.discover"} for i in range(200)]
            raw.write_line(json.dumps(calls))
            if raw is raws[0]:
                wait_until(lambda: self.has().get("held_bytes", 0) > 1 << 20)
        wait_until(lambda: self.has().get("held_bytes", 0) > 7 << 19, what="the answers being counted")
        self.assertLess(self.has()["held_bytes"], 5 << 20)
        self.all_is_well()
        self.assertLess(self.has()["held_bytes"], 5 << 20)
        self.counted("limits.held_bytes_per_user")
        raws[0].write_line(json.dumps({"jsonrpc": "2.0", "id": "cancel", "method": "Broker.Cancel", "params": ["waits"]}))
        first = raws[0].read()
        answers = first if isinstance(first, list) else raws[0].read()
        errors = [each["error"] for each in answers if "error" in each and each["id"] != "waits"]
        self.assertEqual(len(answers), 201)
        self.assertGreater(len(errors), 150)
        self.refused(RpcError(errors[0]), "limits.unread_answers", 1 << 20)  # that of the connection alone
        for raw in raws:
            raw.close()
        self.given_back()

    def test_long_lines_count(self):
        self.start("limits.held_bytes_per_user=1M", "limits.line=1M")
        raws = [self.bad.raw(self.daemon) for _ in range(8)]
        for raw in raws:
            raw.write(b'{"jsonrpc":"2.0","id":1,"method":"TCPSend","params":[1,"' + b"x" * 400000)
        refused = []
        for raw in raws:
            if not raw.quiet(0.3):
                refused.append(raw)
                self.refused(raw.read()["error"], "limits.held_bytes_per_user", 1 << 20)
        self.assertGreaterEqual(len(refused), 4)
        self.assertLess(len(refused), 8)
        self.assertLess(self.has()["held_bytes"], (1 << 20) * 3 / 2)
        self.all_is_well()
        for raw in set(raws) - set(refused):
            raw.close()
        wait_until(lambda: self.has().get("held_bytes", 0) == 0)
        for raw in refused:
            raw.write(b'x"]}\n')
            self.assertEqual(raw.ask({"jsonrpc": "2.0", "id": 2, "method": "Broker.Hello"})["result"]["uid"], BAD)
        for raw in raws:
            raw.close()
        self.given_back()

    def test_connects_per_second(self):
        self.start("limits.connects_per_second=2", "limits.connects_burst=5")
        for _ in range(3):  # who comes anew does not begin anew
            with self.bad.client(self.daemon) as client:
                for _ in range(5):
                    answer = client.answer(client.send("TCPConnect", ["127.0.0.1", self.server.port]))
                    if "error" in answer:
                        break
        self.given_back()
        with self.bad.client(self.daemon) as client:
            self.assertLessEqual(self.row()["connects"], 7)
            data = self.refused(client.error("TCPConnect", ["127.0.0.1", self.server.port]), "limits.connects_per_second", 2)
            self.assertGreater(data["retry_after_ms"], 0)
            self.assertLessEqual(data["retry_after_ms"], 500)
            self.assertRegex(data["until"], r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")
            with self.good.client(self.daemon) as other:
                for _ in range(3):
                    other.connect(self.server.port)
            time.sleep(data["retry_after_ms"] / 1000)  # what it was told
            client.connect(self.server.port)
        self.counted("limits.connects_per_second", 2)
        self.given_back()

    def test_any_number_of_connects(self):
        self.start("limits.connects_per_second=0", "limits.connects_burst=1")
        with self.bad.client(self.daemon) as client:
            for _ in range(20):
                client.call("TCPClose", [client.connect(self.server.port), 2])
        self.all_is_well()

    def test_lookups(self):
        self.start("limits.lookups_per_user=5", resolver=True)
        one, two = self.one(), self.one()
        for i in range(5):
            if i < 3:
                self.check_error(one.error("TCPName2Addr", hostname=f"hang-{i}.test", timeout_ms=20), -10060, "ETIMEDOUT")
            else:
                two.send("TCPConnect", [f"hang-{i}.test", 1])
        wait_until(lambda: self.has().get("lookups") == 5, what="those that nobody waits for counting, too")
        for client in (one, two):
            for method, params in (("TCPName2Addr", ["other.test"]), ("TCPConnect", ["hang-x.test", 1])):
                self.refused(client.error(method, params), "limits.lookups_per_user", 5, -11002, "TRY_AGAIN")
        # it is asked already, so it costs nothing
        self.check_error(one.error("TCPName2Addr", hostname="hang-1.test", timeout_ms=20), -10060, "ETIMEDOUT")
        with self.good.client(self.daemon) as client:
            self.assertEqual(client.call("TCPName2Addr", ["four.test"])["address"], "127.0.0.1")
        self.assertEqual(one.call("TCPName2Addr", ["four.test"])["address"], "127.0.0.1", "it is known")
        self.all_is_well()
        self.counted("limits.lookups_per_user", 4)
        one.close()
        two.close()
        wait_until(lambda: self.has() == {"lookups": 5})
        with open(self.daemon.release_path, "w", encoding="ascii"):
            pass
        self.given_back()

    def test_threads_of_the_resolver(self):
        """One who asks for silent names only gets half of them, the next one half of the rest."""
        log = os.path.join(self.make_folder(), "asked")
        open(log, "w", encoding="ascii").close()
        self.start("threads.resolver=2", "threads.resolver_max=8", resolver=True, env={"SLOW_RESOLVER_LOG": log})

        def asked(name):
            with open(log, encoding="ascii") as file:
                return sum(name in line for line in file)

        with self.bad.client(self.daemon) as client, self.good.client(self.daemon) as other:
            ids = [client.send("TCPName2Addr", hostname=f"hang-bad-{i}.test", timeout_ms=60000) for i in range(40)]
            wait_until(lambda: asked("hang-bad") == 4)
            self.daemon.wait_log("a user's other names must wait")
            for name in ("four.test", "many.test", "slow-a.test"):
                begin = time.monotonic()
                other.call("TCPName2Addr", [name])
                self.assertLess((time.monotonic() - begin) * 1000, LATENCY_MS * 2 * SLOW)
            late = other.send("TCPName2Addr", ["hang-good.test"])
            wait_until(lambda: asked("hang-good") == 1)
            self.assertEqual(other.call("TCPName2Addr", ["a.tls.test"])["address"], "127.0.0.1")
            self.assertEqual(asked("hang-bad"), 4)
            with open(self.daemon.release_path, "w", encoding="ascii"):
                pass
            for id in ids:
                self.check_error(client.answer(id)["error"], -11002, "TRY_AGAIN")
            other.answer(late)
            self.assertEqual(asked("hang-bad"), 40, "in the end all were asked")
        self.given_back()

    def test_tokens(self):
        """limits.durable_sessions is for all together; one user cannot take them all."""
        self.start("limits.tokens_per_user=3", "limits.durable_sessions=5")
        clients = [self.one() for _ in range(6)]
        clients[0].call("Session.Open", [60000])
        clients[1].call("Session.Open", [60000])
        number = clients[2].call("TCPSocket")["socket"]
        token = clients[2].call("TCPOffer", [number])["token"]
        for client in clients[3:]:
            self.refused(client.error("Session.Open", [60000]), "limits.tokens_per_user", 3)
            number = client.call("TCPSocket")["socket"]
            self.refused(client.error("TCPOffer", [number]), "limits.tokens_per_user", 3)
            client.call("TCPClose", [number, 2])
        for _ in range(20):
            clients[0].call("Session.Open", [70000])  # the same one
        self.assertEqual(self.daemon.log().count("outlives its connections by 70000 ms"), 1, "not a line for each")
        with self.good.client(self.daemon) as good:
            good.call("Session.Open", [60000])
            good.call("TCPClaim", [good.call("TCPOffer", [good.call("TCPSocket")["socket"]])["token"]])
            good.call("Session.Close")
        self.all_is_well()
        clients[3].call("TCPClaim", [token])
        wait_until(lambda: self.has()["tokens"] == 2)
        clients[4].call("Session.Open", [60000])
        self.refused(clients[5].error("Session.Open", [60000]), "limits.tokens_per_user", 3)
        self.counted("limits.tokens_per_user", 7)
        for client in (clients[0], clients[1], clients[4]):
            client.call("Session.Close")
        wait_until(lambda: "tokens" not in self.has())
        for client in clients:
            client.close()
        self.given_back(uid=BAD)

    @unittest.skipUnless(namespaces_work(), "needs a network namespace of its own")
    def test_pings(self):
        self.start("limits.pings_per_user=3", "limits.pings_per_second=20", "limits.pings_burst=6",
                   make=lambda *args: Inside("0 2147483647", *args))
        one, two = self.one(), self.one()
        ids = [(client, client.send("TCPPing", ["203.0.113.5", 10, 60000])) for client in (one, two, one)]
        wait_until(lambda: self.has().get("pings") == 3)
        for _ in range(10):  # which takes nothing from the rate
            self.refused(two.error("TCPPing", ["192.0.2.1"]), "limits.pings_per_user", 3)
        with self.good.client(self.daemon) as good:
            self.assertEqual(good.call("TCPPing", ["192.0.2.1"])["address"], "192.0.2.1")
        for client, id in ids:
            client.call("Broker.Cancel", [id])
            client.answer(id)
        wait_until(lambda: "pings" not in self.has())
        one.call("TCPPing", ["192.0.2.1"])
        refused = None
        for _ in range(60):
            try:
                one.call("TCPPing", ["192.0.2.1"])
            except RpcError as error:
                refused = error
                break
        self.assertGreater(self.refused(refused, "limits.pings_per_second", 20)["retry_after_ms"], 0)
        with self.good.client(self.daemon) as good:
            good.call("TCPPing", ["192.0.2.1"])
        self.counted("limits.pings_per_user")
        self.counted("limits.pings_per_second")
        self.given_back(one, two)

    def test_passages(self):
        door = os.path.join(self.make_folder(), "door")
        with servers.Server() as server:
            self.start("limits.passages_per_user=3", f'tunnel "t".listen={door}', 'tunnel "t".mode=0666',
                       f'tunnel "t".connect=127.0.0.1:{server.port}', 'tunnel "t".secure=no')
            programs = [self.bad.connect(door) for _ in range(3)]
            for program in programs:
                program.settimeout(seconds(10))
                program.sendall(b"hello")
                self.assertEqual(servers.read_exactly(program, 5), b"hello")
            self.assertEqual(self.has(), {"passages": 3, "sockets": 3})
            with self.bad.connect(door) as more:
                more.settimeout(seconds(10))
                try:
                    self.assertEqual(more.recv(1), b"")
                except ConnectionResetError:
                    pass
            with self.good.connect(door) as program:
                program.settimeout(seconds(10))
                program.sendall(b"good")
                self.assertEqual(servers.read_exactly(program, 4), b"good")
            self.all_is_well()
            self.counted("limits.passages_per_user")
            self.daemon.wait_log(rf"tunnel t of uid {BAD} pid \d+ turned away: limits\.passages_per_user is 3")
            for program in programs:
                program.close()
            self.given_back()

    def test_who_comes_by_tcp_is_one_user(self):
        with servers.Server() as server, socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
            free.close()
            self.start("limits.sockets_per_user=2", f'tunnel "t".listen=127.0.0.1:{port}',
                       f'tunnel "t".connect=127.0.0.1:{server.port}', 'tunnel "t".secure=no')
            programs = [socket.create_connection(("127.0.0.1", port), seconds(10)) for _ in range(2)]
            for program in programs:
                program.sendall(b"hello")
                self.assertEqual(servers.read_exactly(program, 5), b"hello")
            self.assertEqual(self.has(-1), {"passages": 2, "sockets": 2})
            try:
                with socket.create_connection(("127.0.0.1", port), seconds(10)) as more:
                    self.assertEqual(more.recv(1), b"")
            except ConnectionResetError:
                pass
            self.counted("limits.sockets_per_user")
            self.all_is_well()
            for program in programs:
                program.close()
            self.given_back(uid=-1)


class Administrators(AccountTestCase):
    """Their limits are those of everybody else, but they can always see what is the matter, and end it."""

    def look_and_close(self, client, number):
        self.assertIn(number, [row["socket"] for row in client.call("Broker.List", all=True)["sockets"]])
        self.assertEqual(client.call("Broker.Close", [number, 2])["status"], 0)
        client.call("Broker.Users")
        client.call("Broker.Log")
        client.call("Broker.Reload")
        self.assertEqual(client.call("Broker.Drain", off=True)["draining"], False)

    def test_connections(self):
        self.start("limits.clients_per_user=3", f"admin.users={GOOD}")
        for user in (None, self.good):
            number = self.admin.call("TCPSocket")["socket"]
            def come():
                return Client(self.daemon) if user is None else user.client(self.daemon)
            clients = [come() for _ in range(18 if user is None else 19)]
            for client in clients:
                client.call("Broker.Hello")
            self.look_and_close(clients[-1], number)
            with self.assertRaises((Closed, OSError)), come() as more:
                more.call("Broker.Hello")
            for client in clients:
                client.close()
            wait_until(lambda: self.has(0).get("clients") == 1 and not self.has(GOOD))
        clients = [self.one() for _ in range(3)]
        for client in clients:
            client.call("Broker.Hello")
        with self.bad.raw(self.daemon) as raw:
            self.assertIsNone(raw.read(), "he is none")

    def test_connections_of_all(self):
        self.start("listen.clients=3")
        self.admin.call("Broker.Hello")
        clients = [self.one() for _ in range(2)]
        numbers = [client.call("TCPSocket")["socket"] for client in clients]
        for _ in range(3):
            with self.bad.raw(self.daemon) as raw:
                self.assertIsNone(raw.read())
        with Client(self.daemon) as client:
            self.look_and_close(client, numbers[0])
        self.given_back(*clients)

    def test_requests(self):
        self.start("limits.requests_per_user=2")
        peer = self.use(servers.Peer())
        numbers = [self.admin.connect(peer.port) for _ in range(3)]
        ids = [self.admin.send("TCPReceive", [number]) for number in numbers[:2]]
        with Client(self.daemon) as client:
            self.refused(client.error("TCPName2Addr", ["127.0.0.1"]), "limits.requests_per_user", 2)
            self.look_and_close(client, numbers[0])
        self.assertIn("error", self.admin.answer(ids[0]))
        self.admin.call("Broker.Cancel", [ids[1]])
        self.admin.answer(ids[1])

    def test_held_bytes(self):
        """What ends something is admitted; of others, too, if it does not wait."""
        self.start("limits.held_bytes_per_user=1M", "limits.line=900K")
        peer = self.use(servers.Peer())
        for mine in (False, True):
            with Client(self.daemon) if mine else self.one() as client:
                number = client.connect(peer.port)
                ids = []
                for size in (600000, 60000, 6000, 600, 60, 1):  # until not another byte is admitted
                    for _ in range(40):
                        ids.append(client.send("TCPSend", [number, "h" * size]))
                        client.call("Broker.Hello")
                        if client.answered(ids[-1]) and "error" in (message := client.answer(ids.pop())):
                            self.refused(RpcError(message["error"]), "limits.held_bytes_per_user", 1 << 20)
                            break
                    else:
                        self.fail("never refused")
                waiting = [id for id in ids if not client.answered(id)]
                self.assertTrue(waiting)
                client.call("Broker.Users")
                if mine:
                    self.look_and_close(client, number)
                else:
                    self.assertIs(client.call("Broker.Cancel", [waiting[0]])["cancelled"], True)


class Users(AccountTestCase):
    def test_who_sees_whom(self):
        self.start()
        with self.bad.client(self.daemon) as bad, self.good.client(self.daemon) as good:
            good.connect(self.server.port)
            self.assertEqual([row["uid"] for row in bad.call("Broker.Users")["users"]], [BAD])
            self.assertEqual([row["uid"] for row in self.admin.call("Broker.Users")["users"]], [0, BAD, GOOD])
            row = self.row(GOOD)
            self.assertEqual((row["clients"], row["sockets"], row["connects"], row["refused"]), (1, 1, 1, 0))
        wait_until(lambda: not self.has(GOOD) and not self.has(BAD))

    def test_command(self):
        self.start()
        command = os.path.join(os.path.dirname(self.daemon.command[0]), "..", "cli", "tcpbroker")
        with self.bad.client(self.daemon) as bad:
            bad.call("TCPSocket")
            def run(*words):
                return subprocess.run([command, "--socket", self.daemon.socket_path, "users", *words], capture_output=True,
                                      text=True, check=True, timeout=seconds(10)).stdout
            lines = run().splitlines()
            self.assertEqual(lines[0].split()[:4], ["UID", "CLIENTS", "DOORS", "SOCKETS"])
            self.assertEqual([line.split()[0] for line in lines[1:]], ["0", str(BAD)])
            self.assertEqual(lines[2].split()[1:4], ["1", "0", "1"])
            self.assertEqual(run("--no-header").splitlines()[1], lines[2])
            rows = json.loads(run("--json"))["users"]
            self.assertEqual((rows[1]["uid"], rows[1]["sockets"]), (BAD, 1))

    def test_a_connection_that_joins_takes_its_part_along(self):
        self.start("limits.requests_per_user=2", "limits.clients_per_user=3")
        one, two, three = self.one(), self.one(), self.one()
        token = one.call("Session.Open", [60000])["token"]
        for client in (two, three):  # one of them comes from another thread
            client.call("Session.Join", [token])
        self.assertEqual(self.has(), {"clients": 3, "tokens": 1})
        two.call("Session.Close")
        self.given_back(one, two, three)

    def test_reload(self):
        config = "[listen]\nmode = 0777\n[limits]\nsockets_per_user = {}\nclients_per_user = {}\nconnects_per_second = {}\n"
        self.start(config=config.format(5, 3, 1000))
        path = os.path.join(self.daemon.folder, "tcpbroker.conf")
        client = self.one()
        for _ in range(5):
            client.connect(self.server.port)
        self.refused(client.error("TCPSocket"), "limits.sockets_per_user", 5, -10024, "EMFILE")
        for sockets, clients, fits in ((7, 1, True), (2, 2, False)):
            with open(path, "w", encoding="ascii") as file:
                file.write(config.format(sockets, clients, 5))
            self.assertIs(self.admin.call("Broker.Reload")["restart_needed"], False)
            limits = client.call("Broker.Hello")["limits"]
            self.assertEqual((limits["sockets_per_user"], limits["clients_per_user"], limits["connects_per_second"]),
                             (sockets, clients, 5))
            if fits:
                client.call("TCPSocket")
                with self.bad.raw(self.daemon) as raw:
                    self.assertIsNone(raw.read())
            else:
                self.refused(client.error("TCPSocket"), "limits.sockets_per_user", 2, -10024, "EMFILE")
                self.one().call("Broker.Hello")
        self.all_is_well()

    def test_many_come_and_vanish(self):
        """From two users at a time, over all threads: nothing is left of them."""
        self.start("threads.io=4", "limits.requests_per_user=64", "limits.sockets_per_user=50")

        def storm(user, uid):
            for i in range(60):
                with user.raw(self.daemon) as raw:
                    for id in range(5):
                        raw.write_line(json.dumps({"jsonrpc": "2.0", "id": id, "method": "TCPConnect",
                                                   "params": ["127.0.0.1", self.server.port]}))
                    if i % 2:
                        raw.read()
        threads = [threading.Thread(target=storm, args=(user, user.uid)) for user in (self.bad, self.good)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds(60))
        self.given_back()
        self.all_is_well()


if __name__ == "__main__":
    main()
