"""Durable sessions: Session.Open, Join, Close, Set; what survives a connection, what is shared, what a token can do."""
import json
import os
import pwd
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import HERE, SLOW, Client, Closed, Daemon, Elapsed, OwnDaemonTestCase, Raw, RpcError, TestCase, main, seconds, wait_until

LEASE = 60000
HELLO = {"jsonrpc": "2.0", "id": "hello", "method": "Broker.Hello"}


class SessionCase(TestCase):
    """Connections are dealt out to the io threads in turn, so a join means a move to another thread, often."""

    IO_THREADS = 4
    MORE = ()

    @classmethod
    def setUpClass(cls):
        cls.DAEMON_ARGS = ("--cacerts", certificates().cacerts, "--set", f"threads.io={cls.IO_THREADS}", *cls.MORE)
        super().setUpClass()

    def setUp(self):
        super().setUp()
        self.peer = self.use(servers.Peer())

    def open(self, client=None, lease_ms=LEASE):
        return (client or self.client).call("Session.Open", [lease_ms])["token"]

    def join(self, token, **kw):
        """A connection that has joined, and the answer."""
        client = self.open_client(**kw)
        return client, client.call("Session.Join", [token])

    def pair(self, client=None, **label):
        number = (client or self.client).connect(self.peer.port, **label)
        return number, self.peer.take()

    def both_ways(self, client, number, connection, **label):
        client.call("TCPSend", socket=number, data="there", **label)
        self.assertEqual(servers.read_exactly(connection, 5), b"there")
        connection.sendall(b"back")
        answer = client.call("TCPReceive", socket=number, exact=4, timeout_ms=int(seconds(5000)), **label)
        self.assertEqual(answer["data"], "back")

    def gone(self, connection):
        """The broker has closed it."""
        try:
            self.assertEqual(servers.read_to_end(connection), b"")
        except ConnectionResetError:
            pass

    def stat(self, name):
        return self.client.call("Broker.Stats")[name]

    def bad_token(self, client, token):
        self.check_error(client.error("Session.Join", [token]), -33006, "BAD_TOKEN", "request", False)


class Life(SessionCase):
    def test_open(self):
        hello = self.client.call("Broker.Hello")
        durable = self.stat("sessions_durable")
        result = self.client.call("Session.Open", {"lease_ms": LEASE})
        self.assertEqual(result["session"], hello["session"])
        self.assertRegex(result["token"], r"^[\x21-\x7e]{32,64}$")
        self.assertEqual(self.client.call("Session.Open", [1234]), result, "asked again: the same")
        self.assertEqual(self.stat("sessions_durable"), durable + 1)
        other = self.open_client()
        self.assertNotEqual(other.call("Session.Open", [LEASE])["token"], result["token"])
        for value in (0, -1, 604800001, "1", 1.5, None):
            self.fails(-32602, "INVALID_PARAMS", "Session.Open", [value])
        self.fails(-32602, "INVALID_PARAMS", "Session.Open", [])
        for client in (self.client, other):
            client.call("Session.Close")

    def test_it_outlives_its_connections_again_and_again(self):
        first = self.open_client()
        token, session = self.open(first), first.call("Broker.Hello")["session"]
        number, connection = self.pair(first, thread="worker")
        client = first
        for round_ in range(8):
            client.close()
            connection.sendall(b"meanwhile")
            client, joined = self.join(token)
            self.assertEqual(joined["session"], session)
            self.assertEqual(client.call("Broker.Hello")["session"], session)
            row, = joined["sockets"]
            self.assertEqual([row[name] for name in ("socket", "owner", "state", "session")],
                             [number, "worker", "connected", session])
            self.assertEqual(row["remote_port"], self.peer.port)
            self.assertEqual(client.call("TCPReceive", socket=number, exact=9, thread="worker")["data"], "meanwhile")
            self.both_ways(client, number, connection, thread="worker")
            error = client.error("TCPSend", socket=number, data="x")
            self.assertEqual(self.check_error(error, -33001, "NOT_OWNER")["owner"], "worker")
        client.call("Session.Close")

    def test_sockets_of_every_kind_survive(self):
        first = self.open_client()
        token = self.open(first)
        secure_peer = self.use(servers.Peer(tls=servers.tls13()))
        older_peer = self.use(servers.Peer(tls=servers.tls12()))
        plain, plain_end = self.pair(first)
        secure = first.connect(secure_peer.port, "localhost", family="ipv4", secure=True, thread=7)
        secure_end = secure_peer.take()
        older = first.connect(older_peer.port, secure=True)
        older_end = older_peer.take()
        half, half_end = self.pair(first)
        first.call("TCPClose", [half, 1])
        ended, ended_end = self.pair(first)
        ended_end.sendall(b"last words")
        ended_end.shutdown(socket.SHUT_WR)
        server = first.call("TCPSocket", family="ipv4")["socket"]
        port = first.call("TCPBind", socket=server, port=0, address="127.0.0.1")["port"]
        first.call("TCPListen", [server])
        unbound = first.call("TCPSocket")["socket"]
        first.call("TCPBlock", [plain, 1])
        for end in (plain_end, secure_end, older_end):
            end.sendall(b"before ")
        wait_until(lambda: all(row["bytes_in"] >= 7 for row in first.call("Broker.List")["sockets"]
                               if row["socket"] in (plain, secure, older)), what="the bytes having arrived")
        first.close()
        for end in (plain_end, secure_end, older_end):
            end.sendall(b"and after")
        with socket.create_connection(("127.0.0.1", port)) as waiting:
            client, joined = self.join(token)
            rows = {row["socket"]: row for row in joined["sockets"]}
            self.assertEqual(set(rows), {plain, secure, older, half, ended, server, unbound})
            self.assertEqual((rows[half]["state"], rows[server]["state"], rows[unbound]["state"]),
                             ("half_closed", "listening", "unbound"))
            self.assertEqual((rows[secure]["secure"], rows[secure]["verified"], rows[secure]["owner"]), (True, True, 7))
            self.assertEqual((rows[secure]["hostname"], rows[server]["local_port"]), ("localhost", port))
            for number, label in ((secure, {"thread": 7}), (older, {})):
                self.assertEqual(client.call("TCPReceive", socket=number, exact=16, **label)["data"], "before and after")
            wait_until(lambda: any(row["socket"] == plain and row["bytes_in"] == 16
                                   for row in client.call("Broker.List")["sockets"]), what="the bytes having arrived")
            self.assertEqual(client.call("TCPReceive", [plain])["data"], "before and after")
            self.check_error(client.error("TCPReceive", [plain]), -10035, "EWOULDBLOCK")
            self.both_ways(client, older, older_end)
            self.both_ways(client, secure, secure_end, thread=7)
            self.assertEqual(client.call("TCPReceive", [ended])["data"], "last words")
            self.check_end(client.call("TCPReceive", [ended]))
            self.check_error(client.error("TCPSend", [half, "x"]), -10058, "ESHUTDOWN")
            half_end.sendall(b"goes on")
            self.assertEqual(client.call("TCPReceive", socket=half, exact=7)["data"], "goes on")
            accepted = client.call("TCPAccept", [server])
            self.assertEqual(accepted["remote_port"], waiting.getsockname()[1])
        client.call("Session.Close")

    def test_a_stream_without_a_gap(self):
        """The peer never stops; connections come and go, each takes a part."""
        for tls in (None, servers.tls13()):
            with self.subTest(tls=bool(tls)):
                peer = self.use(servers.Peer(tls=tls))
                first = self.open_client()
                token = self.open(first)
                number = first.connect(peer.port, secure=bool(tls))
                connection = peer.take()
                data = "".join(f"{i:07d}\n" for i in range(60000))
                writer = threading.Thread(target=lambda c=connection, d=data: (c.sendall(d.encode()), c.close()), daemon=True)
                writer.start()
                first.close()
                got = 0
                while got < len(data):
                    client, _ = self.join(token)
                    for _ in range(3):
                        part = client.call("TCPReceive", socket=number, max_bytes=20000)["data"]
                        self.assertEqual(part, data[got:got + len(part)])
                        got += len(part)
                        if got >= len(data):
                            break
                    client.close()
                writer.join(seconds(10))
                client, _ = self.join(token)
                client.call("Session.Close")

    def test_requests_of_a_connection_that_ends_are_withdrawn(self):
        first = self.open_client()
        token = self.open(first)
        number, connection = self.pair(first)
        first.send("TCPReceive", socket=number, exact=8)
        first.call("Broker.Hello")
        connection.sendall(b"half")
        first.close()
        client, _ = self.join(token)
        connection.sendall(b"full")
        wait_until(lambda: self.stat("requests_running") == 1, what="the receive being withdrawn")
        self.assertEqual(client.call("TCPReceive", socket=number, exact=8)["data"], "halffull")
        client.call("Session.Close")

    def test_a_lease_that_expires(self):
        first = self.open_client()
        token = self.open(first, 150)
        number, connection = self.pair(first)
        accepted_by = first.call("TCPSocket", family="ipv4")["socket"]
        first.call("TCPBind", socket=accepted_by, port=0, address="127.0.0.1")
        stats = self.client.call("Broker.Stats")
        with Elapsed() as elapsed:
            first.close()
            self.gone(connection)
        self.assertGreater(elapsed.ms, 140)
        self.assertLess(elapsed.ms, 150 + 500 * SLOW)
        self.check_stats("sessions_durable", stats["sessions_durable"] - 1)
        self.check_stats("leases_expired", stats["leases_expired"] + 1)
        self.check_stats("sockets", stats["sockets"] - 2)
        self.bad_token(self.client, token)
        self.fails(-10038, "ENOTSOCK", "TCPGetMyPort", [number])

    def test_a_lease_counts_from_the_last_end(self):
        first = self.open_client()
        token = self.open(first, int(seconds(400)))
        number, connection = self.pair(first)
        second, _ = self.join(token)
        first.close()
        time.sleep(seconds(0.5))  # the lease would be over if it counted from here
        self.both_ways(second, number, connection)
        second.close()
        # it has run for a part, is stopped by who comes, and begins anew with the next end
        for _ in range(3):
            time.sleep(seconds(0.2))
            client, _ = self.join(token)
            self.both_ways(client, number, connection)
            client.close()
        client, _ = self.join(token)
        client.call("Session.Open", [100])
        client.close()
        with Elapsed() as elapsed:
            self.gone(connection)
        self.assertLess(elapsed.ms, 100 + 500 * SLOW, "the new lease")

    def test_a_lease_never_ends_who_is_there(self):
        token = self.open(lease_ms=1)
        number, connection = self.pair()
        for _ in range(20):
            time.sleep(0.005)
            self.both_ways(self.client, number, connection)
        other, _ = self.join(token)
        self.both_ways(other, number, connection)
        other.call("Session.Close")


class LifeOnOneThread(Life):
    IO_THREADS = 1


class Shared(SessionCase):
    def setUp(self):
        super().setUp()
        self.token = self.open()
        self.addCleanup(self.client.call, "Session.Close")
        self.others = [self.join(self.token)[0] for _ in range(5)]

    def test_one_set_of_sockets(self):
        number, connection = self.pair()
        for client in self.others:
            self.assertEqual([row["socket"] for row in client.call("Broker.List")["sockets"]
                              if row["session"] == self.client.call("Broker.Hello")["session"]], [number])
            self.both_ways(client, number, connection)
        made, made_end = self.pair(self.others[0], thread="t")
        self.both_ways(self.others[1], made, made_end, thread="t")
        error = self.others[2].error("TCPSend", [made, "x"])
        self.assertEqual(self.check_error(error, -33001, "NOT_OWNER")["owner"], "t")
        self.assertIn("another thread of this session", error.message)
        stranger = self.open_client()
        error = stranger.error("TCPSend", socket=made, data="x", thread="t")
        self.assertNotIn("owner", self.check_error(error, -33001, "NOT_OWNER"))
        self.assertIn("another session", error.message)
        self.others[3].call("TCPClose", socket=made, option=2, thread="t")
        self.check_error(self.others[0].error("TCPSend", socket=made, data="x", thread="t"), -10038, "ENOTSOCK")
        for client in self.others[:4]:
            client.close()
        self.both_ways(self.others[4], number, connection)

    def test_busy_between_connections(self):
        number, connection = self.pair()
        receive = self.others[0].send("TCPReceive", socket=number, exact=4)
        self.others[0].call("Broker.Hello")
        self.check_error(self.others[1].error("TCPReceive", [number]), -33002, "BUSY")
        self.check_error(self.others[1].error("TCPOffer", [number]), -33002, "BUSY")
        self.assertEqual(self.others[1].call("Broker.Cancel", [receive]), {"cancelled": False}, "a connection's own only")
        self.others[2].call("TCPSend", [number, "meanwhile"])
        self.assertEqual(servers.read_exactly(connection, 9), b"meanwhile")
        connection.sendall(b"four")
        self.assertEqual(self.others[0].wait(receive)["data"], "four")

    def test_a_socket_for_each_receive(self):
        pairs = [self.pair(self.others[i % 5]) for i in range(20)]
        ids = [(self.others[(i + 2) % 5], self.others[(i + 2) % 5].send("TCPReceive", socket=number, exact=6))
               for i, (number, _) in enumerate(pairs)]
        for i, (number, connection) in enumerate(pairs):
            self.others[(i + 3) % 5].call("TCPSend", [number, f"to {i:03d}"])
        for i, (number, connection) in enumerate(pairs):
            self.assertEqual(servers.read_exactly(connection, 6), f"to {i:03d}".encode())
            connection.sendall(f"of {i:03d}".encode())
        for i, (client, id) in enumerate(ids):
            self.assertEqual(client.wait(id)["data"], f"of {i:03d}")

    def test_sends_of_all_in_one_stream(self):
        number, connection = self.pair()
        got = []
        reader = threading.Thread(target=lambda: got.append(servers.read_exactly(connection, 5 * 40 * 10000)), daemon=True)
        reader.start()
        ids = [(client, client.send("TCPSend", [number, chr(97 + k) * 10000])) for _ in range(40)
               for k, client in enumerate(self.others)]
        for client, id in ids:
            self.assertEqual(client.wait(id)["sent"], 10000)
        reader.join(seconds(10))
        blocks = [got[0][i:i + 10000] for i in range(0, len(got[0]), 10000)]
        self.assertTrue(all(len(set(block)) == 1 for block in blocks), "each is sent in one piece")
        self.assertEqual(sorted(block[:1] for block in blocks), sorted([b"a", b"b", b"c", b"d", b"e"] * 40))

    def test_what_one_ends_another_has_running(self):
        number, connection = self.pair()
        receive = self.others[0].send("TCPReceive", [number])
        self.others[0].call("Broker.Hello")
        self.others[1].call("TCPClose", [number, 2])
        self.check_error(self.others[0].answer(receive)["error"], -10053, "ECONNABORTED")

    def test_the_end_of_one_withdraws_its_own_only(self):
        (mine, mine_end), (theirs, theirs_end) = self.pair(), self.pair()
        self.others[0].send("TCPReceive", socket=mine, exact=4)
        kept = self.others[1].send("TCPReceive", socket=theirs, exact=4)
        for client in self.others[:2]:
            client.call("Broker.Hello")
        self.others[0].close()
        wait_until(lambda: self.stat("requests_running") == 2, what="one receive being withdrawn")
        for end in (mine_end, theirs_end):
            end.sendall(b"data")
        self.assertEqual(self.others[1].wait(kept)["data"], "data")
        self.assertEqual(self.others[2].call("TCPReceive", socket=mine, exact=4)["data"], "data")

    def wait_for_stall(self, client):
        """Requests are not counted any more: the slow client is not read from."""
        def stalled():
            first = client.call("Broker.Stats")["requests_total"]
            return first > 30 and all(client.call("Broker.Stats")["requests_total"] == first + 1 + i for i in range(10))
        wait_until(stalled, what="the slow one not being read from")

    def test_a_slow_reader_holds_up_itself_only(self):
        with Daemon("--set", f"threads.io={self.IO_THREADS}", "--set", "limits.unread_answers=64K") as daemon:
            with Client(daemon) as client, Raw(daemon) as slow:
                peer = self.use(servers.Peer())
                token = client.call("Session.Open", [LEASE])["token"]
                slow_socket, fast_socket = client.connect(peer.port), client.connect(peer.port)
                slow_end, fast_end = peer.take(), peer.take()
                slow.ask({"jsonrpc": "2.0", "id": 0, "method": "Session.Join", "params": [token]})
                slow.write_line(json.dumps({"jsonrpc": "2.0", "id": "slow", "method": "TCPReceive", "params": [slow_socket]}))
                writer = threading.Thread(target=lambda: [slow.write_line(json.dumps(
                    {"jsonrpc": "2.0", "id": i, "method": "Broker.Errors"})) for i in range(1, 400)], daemon=True)
                writer.start()
                self.wait_for_stall(client)
                slow_end.sendall(b"for the slow")
                for i in range(30):
                    fast_end.sendall(b"fast")
                    answer = client.call("TCPReceive", socket=fast_socket, exact=4, timeout_ms=int(seconds(3000)))
                    self.assertEqual(answer["data"], "fast")
                messages = {message["id"]: message for message in (slow.read() for _ in range(400))}
                self.assertEqual(messages["slow"]["result"]["data"], "for the slow")
                writer.join(seconds(10))


class SharedOnOneThread(Shared):
    IO_THREADS = 1


class Join(SessionCase):
    def setUp(self):
        super().setUp()
        self.token = self.open()
        self.session = self.client.call("Broker.Hello")["session"]

    def tearDown(self):
        self.client.call("Session.Close")
        super().tearDown()

    def test_the_same_session(self):
        number, _ = self.pair()
        for _ in range(3):
            joined = self.client.call("Session.Join", [self.token])
            self.assertEqual((joined["session"], [row["socket"] for row in joined["sockets"]]), (self.session, [number]))

    def test_while_requests_run(self):
        client = self.open_client()
        number, connection = self.pair(client)
        id = client.send("TCPReceive", [number])
        self.check_error(client.error("Session.Join", [self.token]), -33002, "BUSY", "request", True)
        connection.sendall(b"x")
        client.wait(id)
        own = client.call("Broker.Hello")["session"]
        self.assertNotEqual(own, self.session)
        self.check_error(client.error("Session.Join", [self.token]), -10022, "EINVAL", "request", False)
        self.both_ways(client, number, connection)
        client.call("TCPClose", [number, 2])
        self.assertEqual(client.call("Session.Join", [self.token])["session"], self.session)

    def test_sockets_on_offer_do_not_keep_a_connection(self):
        client = self.open_client()
        number, connection = self.pair(client)
        token = client.call("TCPOffer", [number])["token"]
        client.call("Session.Join", [self.token])
        client.call("TCPClaim", [token])
        self.both_ways(self.client, number, connection)

    def test_a_session_with_others_in_it_may_be_left(self):
        """Its sockets stay with the others."""
        first = self.open_client()
        left = self.open(first)
        second, _ = self.join(left)
        number, connection = self.pair(first)
        second.call("Session.Join", [self.token])
        first.call("TCPBlock", [number, 0])
        first.call("Session.Join", [self.token])
        self.assertEqual(self.stat("sockets"), 1, "durable: it lives on without connections")
        first.call("Session.Join", [left])
        self.both_ways(first, number, connection)
        first.call("Session.Close")

    def test_two_that_leave_their_session_at_once(self):
        """Each alone could leave it to the other; one of them must stay."""
        for i in range(40):
            first = self.open_client()
            second, _ = self.join(self.open(first))
            number, connection = self.pair(first)
            first.call("Session.Close")
            number, connection = self.pair(first)
            ids = [(client, client.send("Session.Join", [self.token])) for client in (first, second)]
            answers = [client.answer(id) for client, id in ids]
            refused = [answer for answer in answers if "error" in answer]
            self.assertEqual(len(refused), 1, answers)
            self.check_error(refused[0]["error"], -10022, "EINVAL")
            stayed = first if "error" in answers[0] else second
            self.both_ways(stayed, number, connection)
            for client in (first, second):
                client.close()

    def test_in_a_batch(self):
        raw = self.open_raw()
        join = {"jsonrpc": "2.0", "id": 1, "method": "Session.Join", "params": [self.token]}
        for company in (HELLO, {"jsonrpc": "2.0", "method": "Broker.Hello"}, {**join, "id": 2}):
            for batch in ([join, company], [company, join]):
                answers = raw.ask(json.dumps(batch))
                for answer in answers:
                    if answer["id"] != "hello":
                        self.check_error(answer["error"], -32600, "INVALID_REQUEST", "request", False)
        own = raw.ask(HELLO)["result"]["session"]
        self.assertNotEqual(own, self.session)
        answers = raw.ask(json.dumps([join]))
        self.assertEqual([(answer["id"], answer["result"]["session"]) for answer in answers], [(1, self.session)])
        self.assertEqual(raw.ask(HELLO)["result"]["session"], self.session)

    def test_as_a_notification(self):
        number, _ = self.pair()
        raw = self.open_raw()
        raw.write_line(json.dumps({"jsonrpc": "2.0", "method": "Session.Join", "params": [self.token]}))
        self.assertEqual(raw.ask(HELLO)["result"]["session"], self.session)
        self.assertIn("port", raw.ask({"jsonrpc": "2.0", "id": 1, "method": "TCPGetMyPort", "params": [number]})["result"])

    def test_wrong_tokens(self):
        client = self.open_client()
        own = client.call("Broker.Hello")["session"]
        wrong = ["x", "s", "0" * 53, self.token[:-1], self.token + "0", " " + self.token, "o" + self.token[1:],
                 self.token.upper() if self.token != self.token.upper() else self.token.lower(), "ß" * 30]
        # another thread's place, another number, another secret
        for at in (1, 4, 5, 20, 21, 52):
            wrong.append(self.token[:at] + ("1" if self.token[at] == "0" else "0") + self.token[at + 1:])
        number, _ = self.pair()
        wrong.append(self.client.call("TCPOffer", [number])["token"])
        for token in wrong:
            with self.subTest(token=token):
                self.bad_token(client, token)
        self.bad_token(client, self.open_ended())
        for value in ("", "t" * 65, 1, None):
            self.check_error(client.error("Session.Join", [value]), -32602, "INVALID_PARAMS", "request")
        self.assertEqual(client.call("Broker.Hello")["session"], own)
        self.check_error(client.error("TCPClaim", [self.token]), -33006, "BAD_TOKEN")

    def open_ended(self):
        """The token of a session that is over."""
        with Client(self.daemon) as client:
            token = self.open(client)
            client.call("Session.Close")
            return token

    def test_pipelined_behind_it(self):
        number, connection = self.pair()
        for _ in range(10):
            raw = self.open_raw()
            lines = [HELLO, {"jsonrpc": "2.0", "id": "join", "method": "Session.Join", "params": [self.token]}]
            lines += [{"jsonrpc": "2.0", "id": i, "method": "TCPSend", "params": [number, f"{i:03d} "]} for i in range(50)]
            lines += [{**HELLO, "id": "last"}]
            raw.write("".join(json.dumps(line) + "\n" for line in lines))
            answers = [raw.read() for _ in lines]
            self.assertEqual([answer["id"] for answer in answers], ["hello", "join", *range(50), "last"])
            self.assertNotEqual(answers[0]["result"]["session"], self.session)
            self.assertEqual(answers[-1]["result"]["session"], self.session)
            self.assertEqual(servers.read_exactly(connection, 200), "".join(f"{i:03d} " for i in range(50)).encode())
            raw.close()

    def test_from_session_to_session_in_one_go(self):
        tokens = [self.token]
        for _ in range(5):
            client = self.open_client()
            tokens.append(self.open(client))
        order = [tokens[i * 5 % 6] for i in range(60)]
        raw = self.open_raw()
        raw.write("".join(json.dumps({"jsonrpc": "2.0", "id": i, "method": "Session.Join", "params": [token]}) + "\n" +
                          json.dumps({**HELLO, "id": f"h{i}"}) + "\n" for i, token in enumerate(order)))
        seen = {}
        for i, token in enumerate(order):
            joined, hello = raw.read(), raw.read()
            self.assertEqual((joined["id"], hello["id"]), (i, f"h{i}"))
            self.assertEqual(joined["result"]["session"], hello["result"]["session"])
            self.assertEqual(seen.setdefault(token, joined["result"]["session"]), joined["result"]["session"])
        self.assertEqual(len(set(seen.values())), 6)

    def test_a_half_closed_client(self):
        """As `printf … | nc -N`: everything is said at once, then the end; all is answered."""
        number, connection = self.pair()
        connection.sendall(b"kept for them")
        lines = [{"jsonrpc": "2.0", "id": 1, "method": "Session.Join", "params": [self.token]},
                 {"jsonrpc": "2.0", "id": 2, "method": "TCPReceive", "params": {"socket": number, "exact": 13}},
                 {"jsonrpc": "2.0", "id": 3, "method": "TCPSend", "params": [number, "thanks"]}]
        for end in ("\n", ""):
            raw = self.open_raw()
            raw.write("\n".join(json.dumps(line) for line in lines) + end)
            raw.half_close()
            answers = {answer["id"]: answer for answer in raw.rest()}
            self.assertEqual(sorted(answers), [1, 2, 3])
            self.assertEqual(answers[2]["result"]["data"], "kept for them")
            self.assertEqual(servers.read_exactly(connection, 6), b"thanks")
            connection.sendall(b"kept for them")
        # refused joins, too, are answered, and what is behind them
        raw = self.open_raw()
        raw.write("\n".join(json.dumps(line) for line in ({**lines[0], "params": ["x"]}, lines[2])))
        raw.half_close()
        self.assertEqual([answer["error"]["code"] for answer in raw.rest()], [-33006, -33001])

    def test_by_netcat(self):
        lines = "".join(json.dumps(line) + "\n" for line in
                        ({"jsonrpc": "2.0", "id": 1, "method": "Session.Join", "params": [self.token]}, HELLO))
        done = subprocess.run(["nc", "-N", "-U", self.daemon.socket_path], input=lines, capture_output=True, text=True,
                              timeout=seconds(10), check=True)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([answer["result"]["session"] for answer in answers], [self.session] * 2)

    def test_killed_in_joins(self):
        """At any moment of it: nothing is left over, nobody else is harmed."""
        number, connection = self.pair()
        self.client.call("Broker.List")
        before, stats = len(self.daemon.fds()), self.client.call("Broker.Stats")
        dice = random.Random(4711)
        join = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "Session.Join", "params": [self.token]}) + "\n"
        opened = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "Session.Open", "params": [1]}) + "\n"
        for i in range(150):
            raw = Raw(self.daemon)
            raw.write((opened if i % 3 == 0 else "") + join + (json.dumps(HELLO) + "\n" if i % 2 else ""))
            end = time.monotonic() + dice.random() * 0.0015 * SLOW
            while time.monotonic() < end:
                pass
            if i % 4 == 0:
                raw.half_close()
            raw.close()
        wait_until(lambda: len(self.daemon.fds()) <= before, 10, "descriptors freed")
        for name in ("clients", "sessions_durable", "sockets"):
            self.check_stats(name, stats[name])
        self.check_stats("requests_running", 1)
        self.assertEqual([row["socket"] for row in self.client.call("Broker.List")["sockets"]], [number])
        self.both_ways(self.client, number, connection)

    def test_a_lease_that_runs_out_while_somebody_joins(self):
        for i in range(60):
            first = Client(self.daemon)
            token = self.open(first, 3)
            first.close()
            end = time.monotonic() + 0.0015 + (i % 20) * 0.0002
            while time.monotonic() < end:
                pass
            with Client(self.daemon) as client:
                try:
                    client.call("Session.Join", [token])
                    client.call("Broker.Hello")
                except RpcError as error:
                    self.check_error(error, -33006, "BAD_TOKEN")
        self.check_stats("sessions_durable", 1)

    def test_sessions_that_are_joined_and_closed_at_once(self):
        for i in range(40):
            owner = self.open_client()
            token = self.open(owner)
            visitors = [self.open_client() for _ in range(3)]
            ids = [client.send("Session.Join", [token]) for client in visitors]
            closing = owner.send("Session.Close")
            self.assertEqual(owner.wait(closing)["status"], 0)
            for client, id in zip(visitors, ids):
                answer = client.answer(id)
                if "error" in answer:
                    self.assertIn(answer["error"]["code"], (-33006, -10004))
                self.assertIn("session", client.call("Broker.Hello"))
            for client in (owner, *visitors):
                client.close()


class JoinOnOneThread(Join):
    IO_THREADS = 1


class Close(SessionCase):
    def test_it_ends_everything_but_the_connections(self):
        token = self.open()
        others = [self.join(token)[0] for _ in range(3)]
        pairs = [self.pair(client) for client in others]
        staller = self.use(servers.Server(servers.stall_handshake))
        server = self.client.call("TCPSocket", family="ipv4")["socket"]
        self.client.call("TCPBind", socket=server, port=0, address="127.0.0.1")
        self.client.call("TCPListen", [server])
        ids = [(client, client.send("TCPReceive", [number])) for client, (number, _) in zip(others, pairs)]
        ids.append((self.client, self.client.send("TCPAccept", [server])))
        ids.append((others[0], others[0].send("TCPConnect", ["127.0.0.1", staller.port, True])))
        closing, closing_end = self.pair(others[1])
        ids.append((others[1], others[1].send("TCPClose", [closing])))
        self.assertEqual(closing_end.recv(1), b"")
        sending, _ = self.pair(others[2])
        ids += [(others[2], others[2].send("TCPSend", [sending, "s" * 500000])) for _ in range(20)]
        wait_until(lambda: staller.accepted == 1)
        durable = self.stat("sessions_durable")
        self.assertEqual(self.client.call("Session.Close"), {"status": 0})
        cancelled = 0
        for client, id in ids:
            answer = client.answer(id)
            if "error" in answer:
                self.check_error(answer["error"], -10004, "EINTR", "broker")
                cancelled += 1
        self.assertGreater(cancelled, 6)
        for _, connection in pairs:
            self.gone(connection)
        self.check_stats("sockets", 0)
        self.assertEqual(self.stat("sessions_durable"), durable - 1)
        session = self.client.call("Broker.Hello")["session"]
        stranger = self.open_client()
        self.bad_token(stranger, token)
        number, connection = self.pair(others[0])
        for client in (self.client, *others):
            self.assertEqual(client.call("Broker.Hello")["session"], session)
            self.both_ways(client, number, connection)
        again = self.open(others[1])
        self.assertNotEqual(again, token)
        others[1].call("Session.Close")

    def test_without_session_open(self):
        number, connection = self.pair()
        self.assertEqual(self.client.call("Session.Close"), {"status": 0})
        self.gone(connection)
        self.fails(-10038, "ENOTSOCK", "TCPGetMyPort", [number])
        self.assertEqual(self.client.call("Session.Close"), {"status": 0})

    def test_afterwards_the_last_connection_ends_it(self):
        other, _ = self.join(self.open())
        self.client.call("Session.Close")
        number, connection = self.pair()
        self.client.close()
        self.both_ways(other, number, connection)
        other.close()
        self.gone(connection)

    def test_in_a_batch(self):
        raw = self.open_raw()
        raw.ask({"jsonrpc": "2.0", "id": 1, "method": "Session.Open", "params": [LEASE]})
        number = raw.ask({"jsonrpc": "2.0", "id": 2, "method": "TCPConnect",
                          "params": ["127.0.0.1", self.peer.port]})["result"]["socket"]
        answers = raw.ask(json.dumps([{"jsonrpc": "2.0", "id": 3, "method": "TCPReceive", "params": [number]},
                                      {"jsonrpc": "2.0", "id": 4, "method": "Session.Close"}, {**HELLO}]))
        codes = {answer["id"]: answer.get("error", {}).get("code") for answer in answers}
        self.assertEqual(codes, {3: -10004, 4: None, "hello": None})

    def test_offers_are_the_brokers(self):
        """A socket on offer belongs to nobody: it is not the session's to close."""
        self.open()
        number, connection = self.pair()
        token = self.client.call("TCPOffer", [number])["token"]
        self.client.call("Session.Close")
        other = self.open_client()
        other.call("TCPClaim", [token])
        self.both_ways(other, number, connection)


class Set(SessionCase):
    def waits(self, client, method, limit_ms, **params):
        """The call is answered -10060 after about that time."""
        with Elapsed() as elapsed:
            error = client.error(method, **params)
        self.check_error(error, -10060, "ETIMEDOUT", retryable=error.retryable)
        self.assertGreater(elapsed.ms, limit_ms - 20)
        self.assertLess(elapsed.ms, limit_ms + 500 * SLOW)

    def test_what_is_in_force(self):
        usual = self.client.call("Session.Set")
        self.assertEqual(set(usual), {"connect_timeout_ms", "lookup_timeout_ms"})
        self.assertGreater(usual["connect_timeout_ms"], 0)
        names = ("connect", "lookup", "send", "receive", "accept", "close")
        expected = dict(usual)
        for i, name in enumerate(names):
            expected[f"{name}_timeout_ms"] = 1000 + i
            self.assertEqual(self.client.call("Session.Set", {f"{name}_timeout_ms": 1000 + i}), expected)
        self.assertEqual(self.client.call("Session.Set", {}), expected)
        self.assertEqual(self.client.call("Session.Set", reset=False), expected)
        self.assertEqual(self.client.call("Session.Set", reset=True, send_timeout_ms=5), {**usual, "send_timeout_ms": 5})
        self.assertEqual(self.client.call("Session.Set", reset=True), usual)
        for value in (-1, 86400001, 1.5, "1", None, True):
            self.fails(-32602, "INVALID_PARAMS", "Session.Set", receive_timeout_ms=value)
        self.fails(-32602, "INVALID_PARAMS", "Session.Set", ping_timeout_ms=1)
        self.assertEqual(self.client.call("Session.Set"), usual)

    def test_a_request_that_names_one(self):
        number, connection = self.pair()
        self.client.call("Session.Set", receive_timeout_ms=int(seconds(20000)))
        self.waits(self.client, "TCPReceive", 100, socket=number, timeout_ms=100)
        self.client.call("Session.Set", receive_timeout_ms=30)
        id = self.client.send("TCPReceive", socket=number, exact=4, timeout_ms=int(seconds(10000)))
        time.sleep(0.1)
        connection.sendall(b"late")
        self.assertEqual(self.client.wait(id)["data"], "late")
        self.client.call("Session.Set", receive_timeout_ms=0)
        self.waits(self.client, "TCPReceive", 0, socket=number)
        self.client.call("Session.Set", reset=True)
        id = self.client.send("TCPReceive", socket=number, exact=4)
        time.sleep(0.1)
        connection.sendall(b"data")
        self.assertEqual(self.client.wait(id)["data"], "data")

    def test_shared_and_forgotten(self):
        token = self.open()
        other, _ = self.join(token)
        stranger = self.open_client()
        usual = self.client.call("Session.Set")
        self.client.call("Session.Set", receive_timeout_ms=80)
        number, connection = self.pair()
        self.waits(other, "TCPReceive", 80, socket=number)
        self.assertEqual(stranger.call("Session.Set"), usual)
        other.close()
        self.client.close()
        self.client = self.open_client()
        self.client.call("Session.Join", [token])
        self.waits(self.client, "TCPReceive", 80, socket=number)
        self.assertEqual(self.client.call("Session.Set")["receive_timeout_ms"], 80)
        self.client.call("Session.Close")
        self.assertEqual(self.client.call("Session.Set"), usual)

    def test_it_is_left_behind_by_join(self):
        token = self.open()
        other = self.open_client()
        other.call("Session.Set", receive_timeout_ms=50)
        other.call("Session.Join", [token])
        self.assertNotIn("receive_timeout_ms", other.call("Session.Set"))
        other.call("Session.Close")

    def test_running_requests_keep_theirs(self):
        number, connection = self.pair()
        id = self.client.send("TCPReceive", socket=number, exact=4)
        self.client.call("Session.Set", receive_timeout_ms=1)
        time.sleep(0.05)
        connection.sendall(b"data")
        self.assertEqual(self.client.wait(id)["data"], "data")


class Limits(SessionCase):
    MORE = ("--set", "limits.durable_sessions=3", "--set", "limits.sockets_per_session=4")

    def test_durable_sessions(self):
        clients = [self.open_client() for _ in range(4)]
        tokens = [self.open(client) for client in clients[:3]]
        for _ in range(3):
            data = self.check_error(clients[3].error("Session.Open", [LEASE]), -33004, "LIMIT", "broker", True)
            self.assertEqual((data["limit"], data["limit_value"]), ("limits.durable_sessions", 3))
        self.assertEqual(self.open(clients[0]), tokens[0], "it is one already")
        clients[0].close()
        self.check_error(clients[3].error("Session.Open", [LEASE]), -33004, "LIMIT")
        clients[1].call("Session.Close")
        tokens[1] = self.open(clients[3])
        for client, token in zip((self.open_client(), self.open_client(), self.open_client()), tokens):
            client.call("Session.Join", [token])
            client.call("Session.Close")
        self.check_stats("sessions_durable", 0)

    def test_one_limit_of_sockets_for_all_connections(self):
        token = self.open()
        others = [self.join(token)[0] for _ in range(3)]
        for client in (self.client, *others):
            self.pair(client)
        for client in (self.client, *others):
            data = self.check_error(client.error("TCPConnect", ["127.0.0.1", self.peer.port]), -10024, "EMFILE")
            self.assertEqual(data["limit"], "limits.sockets_per_session")
        self.client.call("Session.Close")


class Tokens(SessionCase):
    MORE = ("--set", "listen.mode=0777", "--set", "log.level=debug")

    def as_nobody(self, *messages):
        """The answers that a client of another user gets."""
        entry = pwd.getpwnam("nobody")
        os.chmod(self.daemon.folder, 0o755)
        done = subprocess.run(["nc", "-N", "-U", self.daemon.socket_path], capture_output=True, text=True, user=entry.pw_uid,
                              input="".join(json.dumps(message) + "\n" for message in messages), group=entry.pw_gid,
                              extra_groups=[], cwd="/", timeout=seconds(20), check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        return sorted(answers, key=lambda answer: answer["id"])

    @unittest.skipIf(os.geteuid() != 0, "two users are needed; run it as root")
    def test_of_another_user(self):
        token = self.open()
        number, connection = self.pair()
        offer = self.client.call("TCPOffer", [self.pair()[0]])["token"]
        answers = self.as_nobody({**HELLO, "id": 0}, {"jsonrpc": "2.0", "id": 1, "method": "Session.Join", "params": [token]},
                                 {"jsonrpc": "2.0", "id": 2, "method": "TCPClaim", "params": [offer]},
                                 {"jsonrpc": "2.0", "id": 3, "method": "TCPSend", "params": [number, "x"]},
                                 {"jsonrpc": "2.0", "id": 4, "method": "Broker.List"},
                                 {"jsonrpc": "2.0", "id": 5, "method": "Session.Open", "params": [LEASE]})
        self.assertEqual(answers[0]["result"]["uid"], pwd.getpwnam("nobody").pw_uid)
        for answer in answers[1:3]:
            self.check_error(answer["error"], -33006, "BAD_TOKEN", "request", False)
        self.check_error(answers[3]["error"], -33001, "NOT_OWNER")
        self.assertEqual(answers[4]["result"]["sockets"], [])
        # the other way round, for root has no privilege here
        self.bad_token(self.client, answers[5]["result"]["token"])
        self.client.call("TCPClaim", [offer])
        self.both_ways(self.client, number, connection)
        joined, = self.as_nobody({"jsonrpc": "2.0", "id": 1, "method": "Session.Join",
                                  "params": [answers[5]["result"]["token"]]})
        self.assertEqual(joined["result"]["session"], answers[5]["result"]["session"], "kept for its own user")
        self.client.call("Session.Close")

    def test_never_in_the_log(self):
        token = self.open()
        other, _ = self.join(token)
        number, _ = self.pair()
        offer = other.call("TCPOffer", [number])["token"]
        other.call("TCPClaim", [offer])
        guess = token[:-1] + ("1" if token[-1] == "0" else "0")
        self.bad_token(self.open_client(), guess)
        other.close()
        self.client.call("Session.Close")
        log = self.daemon.log()
        for secret in (token, offer, guess):
            self.assertNotIn(secret, log)
            self.assertNotIn(secret[21:], log, "the secret part")
        self.assertIn("durable", log)

    def test_of_a_session_unlike_any_other(self):
        tokens = set()
        for _ in range(50):
            tokens.add(self.open())
            self.client.call("Session.Close")
        self.assertEqual(len({token[21:] for token in tokens}), 50)


class Stop(OwnDaemonTestCase):
    """Each test has its own daemon."""

    def start(self, *options, io=4):
        options = [word for option in (*options, f"threads.io={io}") for word in ("--set", option)]
        return self.use(Daemon(*options))

    def test_with_leases_and_offers_pending(self):
        for io in (1, 4):
            with self.subTest(io=io):
                daemon = self.start(io=io)
                peer = self.use(servers.Peer())
                connections = []
                for _ in range(6):
                    with Client(daemon) as client:
                        client.call("Session.Open", [LEASE])
                        client.connect(peer.port)
                        client.call("TCPOffer", socket=client.connect(peer.port), timeout_ms=LEASE)
                        connections += [peer.take(), peer.take()]
                with Elapsed() as elapsed:
                    daemon.terminate()
                    self.assertEqual(daemon.wait_exit(), 0)
                self.assertLess(elapsed.ms, 2000 * SLOW)
                for connection in connections:
                    try:
                        self.assertEqual(connection.recv(1), b"")
                    except ConnectionResetError:
                        pass

    def test_while_the_drain_lasts(self):
        daemon = self.start("stop.drain_timeout=10s")
        peer = self.use(servers.Peer())
        clients = [self.use(Client(daemon)) for _ in range(3)]
        token = clients[0].call("Session.Open", [LEASE])["token"]
        clients[1].call("Session.Join", [token])
        number = clients[0].connect(peer.port)
        connection = peer.take()
        other = clients[2].connect(peer.port)
        other_end = peer.take()
        ids = [clients[1].send("TCPReceive", [number]), clients[2].send("TCPReceive", [other])]
        clients[1].call("Broker.Hello")
        clients[2].call("Broker.Hello")
        daemon.terminate()
        for client in clients[1:]:
            wait_until(lambda client=client: client.error("TCPName2Addr", ["fail"]).code == -33005, what="the drain")
        self.check_error(clients[2].error("Session.Join", [token]), -33005, "SHUTTING_DOWN")
        self.check_error(clients[1].error("Session.Open", [LEASE]), -33005, "SHUTTING_DOWN")
        connection.sendall(b"last")
        self.assertEqual(clients[1].wait(ids[0])["data"], "last")
        other_end.sendall(b"last")
        self.assertEqual(clients[2].wait(ids[1])["data"], "last")
        self.assertEqual(daemon.wait_exit(), 0)

    def test_while_joins_and_claims_run(self):
        """Every request is answered or its connection ended; the broker ends in time, with status 0."""
        for io in (1, 4, 4, 4):
            with self.subTest(io=io):
                daemon = self.start("stop.drain_timeout=1s", io=io)
                owners = [Client(daemon) for _ in range(4)]
                tokens = [owner.call("Session.Open", [LEASE])["token"] for owner in owners]
                stop = threading.Event()
                failures, joins = [], []

                peer = self.use(servers.Peer())

                def visit(dice):
                    with Client(daemon) as client:
                        while not stop.is_set():
                            client.call("Session.Join", [dice.choice(tokens)])
                            joins.append(1)

                def pass_on(_dice):
                    with Client(daemon) as client, Client(daemon) as other:
                        token = client.call("TCPOffer", [client.connect(peer.port)])["token"]
                        while not stop.is_set():
                            number = other.call("TCPClaim", [token])["socket"]
                            token = other.call("TCPOffer", [number])["token"]
                            client, other = other, client

                def run(work, seed):
                    try:
                        work(random.Random(seed))
                    except (Closed, OSError):
                        pass
                    except RpcError as error:
                        if error.code != -33005:
                            failures.append(error)
                    except Exception as error:  # pylint: disable=broad-except
                        failures.append(error)

                threads = [threading.Thread(target=run, args=(visit if i % 2 else pass_on, i), daemon=True) for i in range(8)]
                for thread in threads:
                    thread.start()
                wait_until(lambda: len(joins) > 50 or failures, what="some joins")
                with Elapsed() as elapsed:
                    daemon.terminate()
                    self.assertEqual(daemon.wait_exit(), 0)
                self.assertLess(elapsed.ms, 3000 * SLOW)
                stop.set()
                for thread in threads:
                    thread.join(seconds(10))
                    self.assertFalse(thread.is_alive())
                for owner in owners:
                    owner.close()
                self.assertEqual(failures, [])


if __name__ == "__main__":
    main()
