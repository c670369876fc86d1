#!/usr/bin/env python3
"""Broker.Cancel against completion and deadline, for each method that can wait: every request is answered exactly once, with
its result, its own error, or EINTR; `cancelled` tells which; and the sockets are consistent afterwards.

The delay before the cancel follows the outcomes, so it stays where both happen. TCPBROKER_FULL=1 does ten times as much."""
import contextlib
import json
import os
import queue
import random
import socket
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "support"))

import ping_test
import servers
from ca import certificates
from harness import SLOW, RpcError, TestCase, main, seconds, wait_until

ROUNDS = 10000 if os.environ.get("TCPBROKER_FULL") else 300 if SLOW > 1 else 1000
CANCELLED, DEADLINE = -10004, -10060


class Race(TestCase):
    totals = {}
    DAEMON_OPTIONS = {"config": {"threads.io": 2, "io.close_timeout": "2s"}, "resolver": True}

    @classmethod
    def setUpClass(cls):
        cls.DAEMON_ARGS = ("--cacerts", certificates().cacerts)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        if cls is Race:
            print(f"\n  {sum(cls.totals.values())} races: {cls.words(cls.totals)}")

    @staticmethod
    def words(outcomes):
        names = {0: "done", CANCELLED: "cancelled", DEADLINE: "deadline"}
        return ", ".join(f"{count} {names.get(code, code)}" for code, count in sorted(outcomes.items(), reverse=True))

    def setUp(self):
        super().setUp()
        self.n_sockets = wait_until(self.steady, what="a quiet daemon")
        self.delay = 0.0003
        self.outcomes = {}
        self.started = time.monotonic()
        self.n_cancelled = self.client.call("Broker.Stats")["cancelled"]
        self.chance = random.Random(self.id())

    def steady(self):
        return self.client.call("Broker.Stats")["sockets"] == 0 and self.daemon.n_sockets()

    @staticmethod
    def sleep(pause):
        """Also for less than the kernel's timers can do."""
        end = time.perf_counter() + pause
        if pause > 0.0005:
            time.sleep(pause - 0.0002)
        while time.perf_counter() < end:
            pass

    def race(self, method, params, trigger=None, deadline=False, errors=(), client=None):
        """One round. trigger: what makes it complete. Returns the result, or the error (an RpcError)."""
        client = client or self.client
        id = f"{method}-{sum(self.outcomes.values())}"
        cancel = id + "-cancel"
        for one in (id, cancel):
            client.waiting[one] = queue.SimpleQueue()
        if deadline:
            params = dict(params, timeout_ms=self.chance.randrange(0, 4))
        lines = [json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}) + "\n",
                 json.dumps({"jsonrpc": "2.0", "id": cancel, "method": "Broker.Cancel", "params": [id]}) + "\n"]
        at_once = self.chance.randrange(4) == 0
        pause = self.delay + self.chance.uniform(-0.3, 0.3) * abs(self.delay)
        if at_once:
            if trigger:
                trigger()
            client.write("".join(lines).encode())
        elif pause < 0 and trigger:
            client.write(lines[0].encode())
            client.write(lines[1].encode())
            self.sleep(-pause)
            trigger()
        else:
            client.write(lines[0].encode())
            if trigger:
                trigger()
            self.sleep(pause)
            client.write(lines[1].encode())
        answer = client.answer(id)
        cancelled = client.wait(cancel)["cancelled"]
        code = answer["error"]["code"] if "error" in answer else 0
        self.assertEqual(cancelled, code == CANCELLED, answer)
        self.assertIn(code, (0, CANCELLED, *errors, *((DEADLINE,) if deadline else ())), answer)
        self.outcomes[code] = self.outcomes.get(code, 0) + 1
        if not at_once:
            step = abs(self.delay) * 0.1 + 0.00001
            self.delay += step if cancelled else -step
            self.delay = max(self.delay, -0.002 if trigger else 0)
        return RpcError(answer["error"]) if code else answer["result"]

    def finish(self, *codes):
        """All of these must have happened; nothing is left."""
        for code, count in self.outcomes.items():
            Race.totals[code] = Race.totals.get(code, 0) + count
        if os.environ.get("TCPBROKER_FULL"):
            print(f"\n  {self._testMethodName[5:]}: {self.words(self.outcomes)}; {time.monotonic() - self.started:.1f} s", end="")
        for code in codes or (0, CANCELLED):
            self.assertIn(code, self.outcomes, self.outcomes)
        stats = self.client.call("Broker.Stats")
        self.assertEqual(stats["cancelled"] - self.n_cancelled, self.outcomes.get(CANCELLED, 0))
        self.assertEqual(stats["requests_running"], 1, "that of Broker.Stats itself")
        self.assertEqual(self.client.call("Broker.List")["sockets"], [])
        self.check_stats("sockets", 0)
        self.check_stats("offers", 0)
        self.check_stats("lookups_running", 0)
        wait_until(lambda: self.daemon.n_sockets() <= self.n_sockets,
                   what=f"{self.n_sockets} descriptors of sockets as before")
        self.assertEqual(self.client.strays, [])

    def rounds(self, share=1.0, codes=(0, CANCELLED)):
        """So many, and on while an outcome is missing, but not for ever."""
        n = int(ROUNDS * share)
        for turn in range(n * 10):
            if turn >= n and all(code in self.outcomes for code in codes):
                return
            yield turn

    def pair(self, tls=None):
        peer = self.use(servers.Peer(tls=tls))
        return self.client.connect(peer.port, secure=tls is not None), peer.take()

    def test_connect(self):
        plain = self.use(servers.Server(servers.silent))
        before = plain.accepted
        for turn in self.rounds():
            got = self.race("TCPConnect", {"hostname": ("127.0.0.1", "localhost")[turn % 2], "port": plain.port},
                            deadline=turn % 3 == 0)
            if isinstance(got, dict):
                self.client.call("TCPSend", [got["socket"], "x"])
                self.client.call("TCPClose", [got["socket"], 2])
        wait_until(lambda: plain.accepted - before >= self.outcomes.get(0, 0), what="the peer's count")
        self.finish()

    def test_connect_with_tls(self):
        secure = self.use(servers.Server(tls=servers.tls_context()))
        for turn in self.rounds(0.2):
            got = self.race("TCPConnect", {"hostname": "localhost", "port": secure.port, "secure": True},
                            deadline=turn % 3 == 0)
            if isinstance(got, dict):
                self.client.call("TCPSend", [got["socket"], "x"])
                self.assertEqual(self.client.call("TCPReceive", socket=got["socket"], exact=1)["data"], "x")
                self.client.call("TCPClose", [got["socket"], 2])
        self.finish()

    def test_connect_that_is_refused(self):
        port = servers.closed_port()
        for turn in self.rounds(codes=(-10061, CANCELLED)):
            # with a local address it is always tried; else it is soon left alone, and fails at once
            always = {"local_address": "127.0.0.1"} if turn % 2 else {}
            self.race("TCPConnect", {"hostname": "127.0.0.1", "port": port, **always}, deadline=turn % 3 == 0,
                      errors=(-10061,))
        self.finish(-10061, CANCELLED)

    def send(self, tls):
        """What a send says to have sent is in the stream, once and in order, and nothing else."""
        number, connection = self.pair(tls)
        taken = bytearray()
        pace = threading.Semaphore(0)

        def take():
            try:
                while data := connection.recv(65536):
                    taken.extend(data)
                    pace.acquire(timeout=seconds(0.002))
            except OSError:
                pass
        taker = threading.Thread(target=take)
        taker.start()
        told = bytearray()
        blocks = [bytes([97 + i]) * 150000 + b"%06d" % i for i in range(26)]
        for turn in self.rounds(0.4):
            block = blocks[turn % 26]
            got = self.race("TCPSend", {"socket": number, "data": block.decode()}, deadline=turn % 3 == 0)
            n = got["sent"] if isinstance(got, dict) else got.data["sent"]
            if isinstance(got, dict):
                self.assertEqual(n, len(block))
            told += block[:n]
            pace.release()
        pace.release(100000)
        self.client.call("TCPSend", [number, "the end"])
        told += b"the end"
        closing = self.client.send("TCPClose", [number])
        taker.join(seconds(30))
        self.assertFalse(taker.is_alive())
        connection.close()
        self.client.wait(closing)
        self.assertEqual(len(taken), len(told))
        self.assertTrue(taken == told, "other bytes than the answers say")
        self.finish()

    def test_send(self):
        self.send(None)

    def test_send_with_tls_1_2(self):
        self.send(servers.tls12())

    def test_send_with_tls_1_3(self):
        self.send(servers.tls13())

    def receive(self, tls):
        number, connection = self.pair(tls)
        sent = got = 0
        for turn in self.rounds():
            def trigger():
                nonlocal sent
                connection.sendall(b"%08d" % sent)
                sent += 1
            result = self.race("TCPReceive", {"socket": number, "exact": 8}, trigger if sent - got < 3 else None,
                               deadline=turn % 3 == 0)
            if isinstance(result, dict):
                self.assertEqual(result["data"], f"{got:08}")
                got += 1
            while got < sent and turn % 4:
                self.assertEqual(self.client.call("TCPReceive", socket=number, exact=8)["data"], f"{got:08}")
                got += 1
        while got < sent:
            self.assertEqual(self.client.call("TCPReceive", socket=number, exact=8)["data"], f"{got:08}")
            got += 1
        self.client.call("TCPClose", [number, 2])
        connection.close()
        self.finish()

    def test_receive(self):
        self.receive(None)

    def test_receive_with_tls(self):
        self.receive(servers.tls13())

    def test_accept(self):
        """No connection is lost by a cancelled accept, none is given out twice."""
        listening = self.client.call("TCPSocket", thread="a")["socket"]
        port = self.client.call("TCPBind", socket=listening, port=0, address="127.0.0.1", thread="a")["port"]
        self.client.call("TCPListen", socket=listening, thread="a")
        waiting = {}

        def trigger():
            connection = socket.create_connection(("127.0.0.1", port))
            waiting[connection.getsockname()[1]] = connection

        def take(result):
            connection = waiting.pop(result["remote_port"])
            self.client.call("TCPSend", socket=result["socket"], data="x", thread="a")
            connection.settimeout(seconds(10))
            self.assertEqual(connection.recv(1), b"x")
            connection.close()
            self.client.call("TCPClose", socket=result["socket"], option=2, thread="a")

        for turn in self.rounds():
            got = self.race("TCPAccept", {"socket": listening, "thread": "a"}, trigger if len(waiting) < 3 else None,
                            deadline=turn % 3 == 0)
            if isinstance(got, dict):
                take(got)
            while waiting and turn % 4:
                take(self.client.call("TCPAccept", socket=listening, thread="a"))
        while waiting:
            take(self.client.call("TCPAccept", socket=listening, thread="a"))
        self.assertEqual(self.client.error("TCPAccept", socket=listening, thread="a", timeout_ms=0).code, DEADLINE)
        self.client.call("TCPClose", socket=listening, thread="a")
        self.finish()

    def close(self, tls):
        """The number is gone, however a complete close ends."""
        peer = self.use(servers.Peer(tls=tls))
        for turn in self.rounds(0.5 if tls is None else 0.2):
            number = self.client.connect(peer.port, secure=tls is not None)
            connection = peer.take()

            def trigger():
                if tls:
                    connection.setblocking(False)
                    with contextlib.suppress(OSError):
                        connection.unwrap()  # says close_notify, does not wait for the other one
                connection.close()
            self.race("TCPClose", {"socket": number}, trigger, deadline=turn % 3 == 0)
            self.assertEqual(self.client.error("TCPGetMyPort", [number]).code, -10038)
        self.finish()

    def test_close(self):
        self.close(None)

    def test_close_with_tls(self):
        self.close(servers.tls13())

    def test_partial_close(self):
        """Done, or the socket is as it was: what was queued goes out either way."""
        peer = self.use(servers.Peer())
        for turn in self.rounds(0.1):
            number = self.client.connect(peer.port)
            connection = peer.take()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            ids = [self.client.send("TCPSend", [number, "x" * 700000]) for _ in range(8)]
            taken = []
            taker = threading.Thread(target=lambda: taken.append(servers.read_to_end(connection)))
            got = self.race("TCPClose", {"socket": number, "option": 1}, taker.start, deadline=turn % 3 == 0)
            n = sum(self.client.wait(id)["sent"] for id in ids)
            if isinstance(got, RpcError):
                n += self.client.call("TCPSend", [number, "open still"])["sent"]
                self.client.call("TCPClose", [number, 1])
            self.check_error(self.client.error("TCPSend", [number, "x"]), -10058, "ESHUTDOWN")
            taker.join(seconds(20))
            self.assertEqual([len(data) for data in taken], [n])
            connection.close()
            self.client.call("TCPClose", [number])
        self.finish()

    def test_start_tls(self):
        """Secure and working, or lost: then the number lives until it is closed, and everything says so."""
        peer = self.use(servers.Peer())
        context = servers.tls_context()
        for turn in self.rounds(0.2):
            number = self.client.connect(peer.port, host="localhost")
            raw = peer.take()
            secure = []

            def accept():
                raw.settimeout(seconds(10))
                with contextlib.suppress(OSError, ValueError):
                    secure.append(context.wrap_socket(raw, server_side=True))
            acceptor = threading.Thread(target=accept)
            got = self.race("TCPStartTLS", {"socket": number}, acceptor.start, deadline=turn % 3 == 0)
            if isinstance(got, dict):
                acceptor.join(seconds(10))
                self.client.call("TCPSend", [number, "ping"])
                self.assertEqual(servers.read_exactly(secure[0], 4), b"ping")
                secure[0].sendall(b"pong")
                self.assertEqual(self.client.call("TCPReceive", socket=number, exact=4)["data"], "pong")
            else:
                code = -10053 if got.code == CANCELLED else DEADLINE
                for method, params in (("TCPSend", {"data": "x"}), ("TCPReceive", {}), ("TCPClose", {"option": 1}),
                                       ("TCPStartTLS", {}), ("TCPOffer", {})):
                    self.assertEqual(self.client.error(method, socket=number, **params).code, code, method)
                self.assertEqual([row["state"] for row in self.client.call("Broker.List")["sockets"]], ["failed"])
            self.assertEqual(self.client.call("TCPClose", [number, turn % 2 * 2]) if isinstance(got, RpcError) else
                             self.client.call("TCPClose", [number, 2]), {"status": 0, "discarded": 0})
            acceptor.join(seconds(10))
            for one in (raw, *secure):
                one.close()
        self.finish()

    def look_up(self, method, *params):
        for turn in self.rounds():
            got = self.race(method, params[turn % len(params)], deadline=turn % 3 == 0)
            if isinstance(got, dict):
                self.assertTrue(got.get("address") or got.get("hostname"), got)
        self.finish()

    def test_name_to_address(self):
        self.look_up("TCPName2Addr", {"hostname": "four.test"}, {"hostname": "localhost"})

    def test_address_to_name(self):
        self.look_up("TCPAddr2Name", {"address": "127.66.0.2"})

    def test_my_address(self):
        try:
            self.client.call("TCPGetMyAddr")
        except RpcError as error:
            self.skipTest(f"this host does not know its own name: {error}")
        self.look_up("TCPGetMyAddr", {"socket": 0})

    def test_bind_by_a_service_name(self):
        """Bound, or as it was."""
        try:
            port = socket.getservbyname("postgresql", "tcp")
        except OSError:
            self.skipTest("no table of services")
        for turn in self.rounds():
            number = self.client.call("TCPSocket")["socket"]
            got = self.race("TCPBind", {"socket": number, "service": "postgresql", "address": "127.0.66.77"},
                            deadline=turn % 3 == 0)
            if isinstance(got, dict):
                self.assertEqual((got["address"], got["port"]), ("127.0.66.77", port))
                self.check_error(self.client.error("TCPBind", [number, 0]), -10022, "EINVAL")
            else:
                self.client.call("TCPBind", socket=number, port=0, address="127.0.0.1")
            self.client.call("TCPListen", [number])
            self.client.call("TCPClose", [number])
        self.finish()

    def test_claim(self):
        """The asking session's, or on offer again."""
        peer = self.use(servers.Peer())
        number = self.client.connect(peer.port)
        connection = peer.take()
        helper = self.open_client()
        owner = self.client
        for turn in self.rounds():
            token = owner.call("TCPOffer", [number])["token"]
            claimer = self.client if turn % 2 else helper
            got = self.race("TCPClaim", {"token": token}, client=claimer)
            owner = claimer
            if isinstance(got, RpcError):
                owner = helper if turn % 3 else self.client
                self.assertEqual(owner.call("TCPClaim", [token])["socket"], number)
            connection.sendall(b"%08d" % turn)
            self.assertEqual(owner.call("TCPReceive", socket=number, exact=8)["data"], f"{turn:08}")
        owner.call("TCPClose", [number, 2])
        self.n_sockets += 1  # the helper's
        self.finish()


@unittest.skipUnless(ping_test.namespaces_work(), "needs root, unshare(1) and ip(8), for a network namespace of its own")
class Ping(Race):
    @classmethod
    def setUpClass(cls):
        cls.daemon = ping_test.Inside("0 2147483647", "--set", "limits.pings_per_second=0")
        cls.daemon.__enter__()

    def test_ping(self):
        if "TCPPing" not in self.client.call("Broker.Hello")["methods"]:
            self.skipTest("no TCPPing in this version")
        for turn in self.rounds():
            got = self.race("TCPPing", {"hostname": "127.0.0.1"}, deadline=turn % 3 == 0, errors=(-1,))
            if isinstance(got, dict):
                self.assertEqual(got["address"], "127.0.0.1")
        self.finish()


# what Ping inherits is run once, in Race
for name in [name for name in dir(Race) if name.startswith("test_")]:
    setattr(Ping, name, None)


if __name__ == "__main__":
    main()
