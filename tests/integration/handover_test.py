#!/usr/bin/env python3
"""TCPTransfer, TCPOffer, TCPClaim: sockets change hands while their peers go on sending, and nothing is lost, doubled or
reordered; whatever goes wrong on the way, the socket is on offer, claimed or closed, never in between.

TCPBROKER_FULL=1 moves 1 GiB; otherwise 64 MiB (16 MiB with a sanitizer)."""
import array
import base64
import contextlib
import json
import os
import queue
import random
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import SLOW, Client, Closed, Daemon, Raw, RpcError, TestCase, main, seconds, wait_until

MIB = 1 << 20
TOTAL = 1024 * MIB if os.environ.get("TCPBROKER_FULL") else 16 * MIB if SLOW > 1 else 64 * MIB
CHUNK = 96 * 1024
NOBODY = 65534


def pattern(stream, at, n):
    """n bytes of a stream from a position on: 64-bit words that count up, so a lost, doubled or moved byte shows."""
    first = at // 8
    words = array.array("Q", range((stream << 40) + first, (stream << 40) + (at + n + 7) // 8))
    return words.tobytes()[at - first * 8:at - first * 8 + n]


class Peer(threading.Thread):
    """The far end of one connection: sends and takes `total` bytes, all the while, in one thread (TLS wants that)."""

    def __init__(self, connection, index, total):
        super().__init__(daemon=True)
        self.connection, self.index, self.total = connection, index, total
        self.error = None
        self.n_in = self.n_out = 0
        self.ended = False
        self.start()

    def run(self):
        try:
            self.connection.setblocking(False)
            data, at = b"", 0
            while not self.ended:
                wants_write = self.n_out < self.total
                self.wait(wants_write)
                if wants_write:
                    if at == len(data):
                        data, at = pattern(self.index * 2, self.n_out, min(CHUNK, self.total - self.n_out)), 0
                    try:
                        n = self.connection.send(data[at:] if at else data)
                        at += n
                        self.n_out += n
                    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                        pass
                self.take()
            if (self.n_in, self.n_out) != (self.total, self.total):
                raise AssertionError(f"the stream ended at {self.n_in} in, {self.n_out} out of {self.total}")
        except BaseException as error:  # told by finish()
            self.error = error
        finally:
            self.connection.close()

    def wait(self, wants_write):
        if isinstance(self.connection, ssl.SSLSocket) and self.connection.pending():
            return
        readable, writable, _ = select.select([self.connection], [self.connection] if wants_write else [], [],
                                              seconds(60))
        if not readable and not writable:
            raise AssertionError(f"nothing moves at {self.n_in} in, {self.n_out} out of {self.total}")

    def take(self):
        for _ in range(16):
            try:
                data = self.connection.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            if not data:
                self.ended = True
                return
            if data != pattern(self.index * 2 + 1, self.n_in, len(data)):
                raise AssertionError(f"stream {self.index}: other bytes than were sent after {self.n_in}")
            self.n_in += len(data)

    def finish(self):
        self.join(seconds(60))
        if self.is_alive():
            raise AssertionError(f"stream {self.index} has no end")
        if self.error:
            raise self.error


class Stream:
    """The near end, as it travels from owner to owner."""

    def __init__(self, index, number, total, n_in=0, n_out=0, hops=0):
        self.index, self.number, self.total = index, number, total
        self.n_in, self.n_out, self.hops = n_in, n_out, hops

    def done(self):
        return self.n_in == self.total and self.n_out == self.total

    def work(self, client, chance, **label):
        """Own it for some milliseconds: send and receive, all checked."""
        end = time.monotonic() + chance.uniform(0, 0.003)
        while not self.done():
            sending = None
            if self.n_out < self.total:
                n = min(chance.randrange(1, CHUNK), self.total - self.n_out)
                data = base64.b64encode(pattern(self.index * 2 + 1, self.n_out, n)).decode()
                sending = client.send("TCPSend", socket=self.number, data_base64=data, **label)
            if self.n_in < self.total:
                self.receive(client, chance, **label)
            if sending is not None:
                with self.may_block():
                    self.n_out += client.wait(sending, 60)["sent"]
            if time.monotonic() > end:
                break

    @contextlib.contextmanager
    def may_block(self):
        """A non-blocking socket says so when nothing can be done at once; and a receive may wait for nothing: the peer sends
        all it has to say."""
        try:
            yield
        except RpcError as error:
            if error.code not in (-10035, -10060):
                raise

    def receive(self, client, chance, **label):
        with self.may_block():
            got = client.call("TCPReceive", socket=self.number, max_bytes=chance.randrange(1, CHUNK), encoding="base64",
                              timeout_ms=chance.choice((0, 1, 20)), answer_timeout=60, **label)
            data = base64.b64decode(got["data_base64"])
            if data != pattern(self.index * 2, self.n_in, len(data)):
                raise AssertionError(f"stream {self.index}: other bytes than the peer's after {self.n_in}, hop {self.hops}")
            self.n_in += len(data)

    def close(self, client, **label):
        result = client.call("TCPClose", socket=self.number, answer_timeout=60, **label)
        if result != {"status": 0, "discarded": 0}:
            raise AssertionError(f"stream {self.index}: bytes after the end: {result}")


def worker_process():
    """One of several programs: each line of standard input hands it a socket, each line of output hands one on."""
    client = Client(sys.argv[2])
    lock = threading.Lock()

    def turn(line):
        task = json.loads(line)
        chance = random.Random(task["seed"])
        try:
            result = client.call("TCPClaim", [task["token"]], answer_timeout=60)
            if result["socket"] != task["stream"]["number"] or ("tls" in result) != task["tls"]:
                raise AssertionError(f"another socket was claimed: {result}")
            stream = Stream(**task["stream"])
            stream.hops += 1
            stream.work(client, chance)
            answer = {"stream": vars(stream)}
            if stream.done():
                stream.close(client)
            else:
                answer["token"] = client.call("TCPOffer", socket=stream.number, timeout_ms=60000, answer_timeout=60)["token"]
        except BaseException as error:
            answer = {"failed": repr(error)}
        with lock:
            print(json.dumps(dict(answer, id=task["id"])), flush=True)

    threads = []
    for line in sys.stdin:
        threads.append(threading.Thread(target=turn, args=(line,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    client.close()
    print(json.dumps({"strays": client.strays}), flush=True)


class Program:
    """A worker process and what it answers, by id."""

    def __init__(self, daemon):
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--worker", daemon.socket_path],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lock = threading.Lock()
        self.waiting = {}
        self.strays = None
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            answer = json.loads(line)
            if "strays" in answer:
                self.strays = answer["strays"]
            else:
                self.waiting[answer["id"]].put(answer)

    def turn(self, **task):
        slot = self.waiting[task["id"]] = queue.SimpleQueue()
        with self.lock:
            self.process.stdin.write(json.dumps(task) + "\n")
            self.process.stdin.flush()
        answer = slot.get(timeout=seconds(120))
        if "failed" in answer:
            raise AssertionError(answer["failed"])
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(seconds(20))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(seconds(5))
        self.process.stdout.close()


class Base(TestCase):
    DAEMON_OPTIONS = {"config": {"threads.io": 4, "log.level": "debug", "io.close_timeout": "20s"}}

    @classmethod
    def setUpClass(cls):
        cls.DAEMON_ARGS = ("--cacerts", certificates().cacerts)
        cls.tokens = []
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        log = cls.daemon.log()
        super().tearDownClass()
        for token in cls.tokens:
            if token[-32:] in log:
                raise AssertionError("a token stands in the log")

    def setUp(self):
        super().setUp()
        self.n_before = self.daemon.n_sockets()

    def offer(self, client, number, **kw):
        token = client.call("TCPOffer", socket=number, **kw)["token"]
        self.tokens.append(token)
        return token

    def pair(self, client=None, tls=None, **kw):
        peer = self.use(servers.Peer(tls=tls))
        number = (client or self.client).connect(peer.port, secure=tls is not None, **kw)
        return number, peer.take()

    def works(self, client, number, connection, **label):
        client.call("TCPSend", socket=number, data="ping", **label)
        self.assertEqual(servers.read_exactly(connection, 4), b"ping")
        connection.sendall(b"pong")
        self.assertEqual(client.call("TCPReceive", socket=number, exact=4, **label)["data"], "pong")

    def rows(self, client=None):
        return {row["socket"]: row for row in (client or self.client).call("Broker.List")["sockets"]}

    def bad_token(self, client, token):
        return self.check_error(client.error("TCPClaim", [token]), -33006, "BAD_TOKEN", "request", False)

    def peer_sees_the_end(self, connection):
        connection.settimeout(seconds(10))
        try:
            self.assertEqual(connection.recv(1), b"")
        except (ConnectionResetError, ssl.SSLError):
            pass
        connection.close()

    def nothing_left(self):
        self.check_stats("sockets", 0)
        self.check_stats("offers", 0)


class Streams(Base):
    def finish(self, peers, streams, started, errors):
        if errors:
            raise errors[0]
        for peer in peers:
            peer.finish()
        took = time.monotonic() - started
        moved = sum(peer.n_in + peer.n_out for peer in peers)
        hops = sum(stream.hops for stream in streams)
        self.assertGreaterEqual(moved, TOTAL // 2)
        self.assertGreater(hops, len(peers) * 10)
        print(f"\n  {moved / MIB:.0f} MiB in {took:.1f} s while {hops} times the owner changed "
              f"({took * 1000 * len(peers) / hops:.1f} ms each)", end="")
        self.nothing_left()

    def test_an_accepting_thread_and_its_workers(self):
        """Accepted sockets go to worker threads, and on from one to the next; half of them turn to TLS on the way."""
        n_streams, n_workers = 8, 4
        total = TOTAL // 2 // n_streams // 2
        listening = self.client.call("TCPSocket", thread="acceptor")["socket"]
        port = self.client.call("TCPBind", socket=listening, port=0, address="127.0.0.1", thread="acceptor")["port"]
        self.client.call("TCPListen", socket=listening, thread="acceptor")
        peers, streams, errors, finished = [], [], [], queue.SimpleQueue()
        inboxes = [queue.SimpleQueue() for _ in range(n_workers)]
        by_port = {}
        context = servers.tls_context()
        started = time.monotonic()

        def dial(index):
            try:
                connection = socket.create_connection(("127.0.0.1", port), seconds(30))
                by_port[connection.getsockname()[1]] = index
                if index % 2:
                    connection = context.wrap_socket(connection, server_side=True)
                peers.append(Peer(connection, index, total))
            except BaseException as error:
                errors.append(error)

        def accept():
            try:
                for turn in range(n_streams):
                    result = self.client.call("TCPAccept", socket=listening, thread="acceptor", answer_timeout=60)
                    index = wait_until(lambda: by_port.get(result["remote_port"]) is not None and
                                       (by_port[result["remote_port"]],))[0]
                    stream = Stream(index, result["socket"], total)
                    streams.append(stream)
                    worker = turn % n_workers
                    self.client.call("TCPTransfer", socket=stream.number, to=f"worker-{worker}", thread="acceptor")
                    inboxes[worker].put((stream, index % 2 == 1))
            except BaseException as error:
                errors.append(error)

        def work(me):
            chance = random.Random(me)
            label = f"worker-{me}"
            try:
                while (item := inboxes[me].get()) is not None:
                    stream, secure_first = item
                    if secure_first:
                        self.client.call("TCPStartTLS", socket=stream.number, server_name="localhost", thread=label,
                                         answer_timeout=60)
                    stream.hops += 1
                    stream.work(self.client, chance, thread=label)
                    if stream.done():
                        stream.close(self.client, thread=label)
                        finished.put(stream)
                        continue
                    to = chance.randrange(n_workers)
                    self.client.call("TCPTransfer", socket=stream.number, to=f"worker-{to}", thread=label)
                    if to != me:
                        error = self.client.error("TCPSend", socket=stream.number, data="late", thread=label)
                        self.assertEqual((error.code, error.data.get("owner")), (-33001, f"worker-{to}"))
                    inboxes[to].put((stream, False))
            except BaseException as error:
                errors.append(error)
                finished.put(None)

        threads = [threading.Thread(target=accept, daemon=True)]
        threads += [threading.Thread(target=work, args=(me,), daemon=True) for me in range(n_workers)]
        threads += [threading.Thread(target=dial, args=(index,), daemon=True) for index in range(n_streams)]
        for thread in threads:
            thread.start()
        for _ in range(n_streams):
            if finished.get(timeout=seconds(60 + TOTAL / MIB)) is None:
                break
        for inbox in inboxes:
            inbox.put(None)
        for thread in threads:
            thread.join(seconds(30))
        self.client.call("TCPClose", socket=listening, thread="acceptor")
        self.finish(peers, streams, started, errors)

    def test_several_programs(self):
        """Sockets go from process to process: every session on another io thread, plain and TLS."""
        kinds = [None, "non-blocking", servers.tls12(), servers.tls13()]
        total = TOTAL // 2 // len(kinds) // 2
        errors, results = [], [None] * len(kinds)
        started = time.monotonic()
        peers = []
        with contextlib.ExitStack() as stack:
            programs = [stack.enter_context(Program(self.daemon)) for _ in range(4)]

            def route(index, kind, stream, token):
                chance = random.Random(index)
                tls = kind not in (None, "non-blocking")
                try:
                    while True:
                        task = {"id": f"{index}/{stream.hops}", "token": token, "stream": vars(stream), "tls": tls,
                                "seed": chance.random()}
                        answer = chance.choice(programs).turn(**task)
                        stream = results[index] = Stream(**answer["stream"])
                        if "token" not in answer:
                            return
                        token = answer["token"]
                        self.tokens.append(token)
                except BaseException as error:
                    errors.append(error)

            threads = []
            for index, kind in enumerate(kinds):
                tls = kind if kind not in (None, "non-blocking") else None
                number, connection = self.pair(tls=tls)
                if kind == "non-blocking":
                    self.client.call("TCPBlock", [number, 1])
                peers.append(Peer(connection, index, total))
                threads.append(threading.Thread(target=route, daemon=True, args=(
                    index, kind, Stream(index, number, total), self.offer(self.client, number, timeout_ms=60000))))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(seconds(60 + TOTAL / MIB))
                self.assertFalse(thread.is_alive(), "a stream stands still")
            if errors:
                raise errors[0]
        self.assertEqual([program.strays for program in programs], [[]] * len(programs))
        self.finish(peers, results, started, errors)


class Offers(Base):
    def test_what_is_taken_along(self):
        """Number, mode, unread bytes, ends and TLS; the claim says who is there."""
        for tls in (None, servers.tls12(), servers.tls13()):
            with self.subTest(tls=tls):
                number, connection = self.pair(tls=tls, host="localhost", thread="a")
                address = self.client.call("TCPGetRemoteAddr", socket=number, thread="a")
                connection.sendall(b"unread")
                self.assertEqual(self.client.call("TCPReceive", socket=number, exact=2, thread="a")["data"], "un")
                self.client.call("TCPBlock", socket=number, option=1, thread="a")
                token = self.offer(self.client, number, thread="a")
                connection.sendall(b" and more")
                for label in ("a", "b"):
                    data = self.check_error(self.client.error("TCPSend", socket=number, data="x", thread=label), -33001,
                                            "NOT_OWNER")
                    self.assertNotIn("owner", data)
                other = self.open_client()
                result = other.call("TCPClaim", token=token, thread=7)
                self.assertEqual(result["socket"], number)
                self.assertEqual((result["remote_address"], result["remote_port"]), (address["address"], address["port"]))
                self.assertEqual(result.get("tls", {}).get("verified"), None if tls is None else True)
                self.check_error(self.client.error("TCPSend", socket=number, data="x", thread="a"), -33001, "NOT_OWNER")
                got = wait_until(lambda: other.call("TCPReceive", socket=number, thread=7)["data"])
                while len(got) < 13:
                    with contextlib.suppress(RpcError):
                        got += other.call("TCPReceive", socket=number, thread=7)["data"]
                self.assertEqual(got, "read and more")
                self.assertEqual(other.error("TCPReceive", socket=number, thread=7).code, -10035, "still non-blocking")
                other.call("TCPBlock", socket=number, option=0, thread=7)
                self.works(other, number, connection, thread=7)
                connection.close()
                other.call("TCPClose", socket=number, thread=7)
        self.nothing_left()

    def test_a_half_closed_socket(self):
        number, connection = self.pair()
        self.client.call("TCPClose", [number, 1])
        token = self.offer(self.client, number)
        connection.sendall(b"answer")
        connection.close()
        other = self.open_client()
        other.call("TCPClaim", [token])
        self.assertEqual(other.call("TCPReceive", socket=number, exact=6)["data"], "answer")
        self.check_end(other.call("TCPReceive", [number]))
        self.check_error(other.error("TCPSend", [number, "x"]), -10058, "ESHUTDOWN")
        self.assertEqual(self.rows(other)[number]["state"], "ended")
        other.call("TCPClose", [number])

    def test_a_listening_socket_and_who_waits_there(self):
        listening = self.client.call("TCPSocket")["socket"]
        port = self.client.call("TCPBind", socket=listening, port=0, address="127.0.0.1")["port"]
        self.client.call("TCPListen", [listening])
        first = socket.create_connection(("127.0.0.1", port))
        token = self.offer(self.client, listening)
        second = socket.create_connection(("127.0.0.1", port))
        other = self.open_client()
        self.assertEqual(other.call("TCPClaim", [token])["local_port"], port)
        for connection in (first, second):
            accepted = other.call("TCPAccept", socket=listening)
            self.assertEqual(accepted["remote_port"], connection.getsockname()[1])
            self.works(other, accepted["socket"], connection)
            connection.close()
            other.call("TCPClose", [accepted["socket"]])
        other.call("TCPClose", [listening])

    def test_before_it_is_bound(self):
        number = self.client.call("TCPSocket", family="ipv4")["socket"]
        other = self.open_client()
        self.assertEqual(other.call("TCPClaim", [self.offer(self.client, number)]), {"socket": number})
        bound = other.call("TCPBind", socket=number, port=0, address="127.0.0.1")
        self.assertEqual(self.client.call("TCPClaim", [self.offer(other, number)])["local_port"], bound["port"])
        self.client.call("TCPListen", [number])
        self.client.call("TCPClose", [number])

    def test_start_tls_after_a_claim_checks_the_name_that_was_asked_for(self):
        peer = self.use(servers.Peer())
        number = self.client.connect(peer.port, host="localhost")
        raw = peer.take()
        other = self.open_client()
        other.call("TCPClaim", [self.offer(self.client, number)])
        id = other.send("TCPStartTLS", [number])
        connection = servers.tls_context().wrap_socket(raw, server_side=True)
        self.assertEqual(other.wait(id)["tls"]["server_name"], "localhost")
        self.works(other, number, connection)
        connection.close()

    def test_an_offer_that_expires(self):
        before = self.client.call("Broker.Stats")["offers_expired"]
        for tls in (None, servers.tls13()):
            number, connection = self.pair(tls=tls)
            token = self.offer(self.client, number, timeout_ms=30)
            self.peer_sees_the_end(connection)
            self.bad_token(self.client, token)
            self.check_error(self.client.error("TCPSend", [number, "x"]), -10038, "ENOTSOCK")
        self.check_stats("offers_expired", before + 2)
        self.nothing_left()

    def test_claims_at_the_deadline(self):
        """Claimed or expired, nothing else, however close it gets."""
        peer = self.use(servers.Peer())
        others = [self.open_client() for _ in range(2)]
        claimed = 0
        before = self.client.call("Broker.Stats")["offers_expired"]
        n = 40 if SLOW > 1 else 150
        delay = 0.002
        for turn in range(n):
            number = self.client.connect(peer.port)
            connection = peer.take()
            token = self.offer(self.client, number, timeout_ms=3)
            time.sleep(delay)
            other = others[turn % 2]
            try:
                self.assertEqual(other.call("TCPClaim", [token])["socket"], number)
                claimed += 1
                delay *= 1.05
                self.works(other, number, connection)
                other.call("TCPClose", [number, 2])
            except RpcError as error:
                self.assertEqual(error.code, -33006)
                delay *= 0.95
                self.assertEqual(self.client.error("TCPSend", [number, "x"]).code, -10038)
            self.peer_sees_the_end(connection)
        self.assertEqual(self.client.call("Broker.Stats")["offers_expired"] - before, n - claimed)
        self.assertTrue(0 < claimed < n, f"{claimed} of {n} were claimed: no race at all")
        self.nothing_left()

    def test_the_offerer_dies(self):
        for tls in (None, servers.tls13()):
            offerer = self.open_client()
            number, connection = self.pair(offerer, tls)
            connection.sendall(b"before")
            token = self.offer(offerer, number)
            session = offerer.call("Broker.Hello")["session"]
            offerer.close()
            connection.sendall(b" and after")
            other = self.open_client()
            if os.geteuid() == 0:
                row = self.rows(other)[number]
                self.assertEqual((row["state"], row["session"]), ("offered", session))
            self.assertEqual(other.call("TCPClaim", [token])["socket"], number)
            self.assertEqual(other.call("TCPReceive", socket=number, exact=16)["data"], "before and after")
            self.works(other, number, connection)
            other.call("TCPClose", [number, 2])
        self.nothing_left()

    def test_tokens_that_are_none(self):
        number, connection = self.pair()
        token = self.offer(self.client, number)
        other = self.open_client()
        session = self.open_client().call("Session.Open", [1000])["token"]
        self.assertRegex(token, "^o[0-9a-f]+$")
        wrong = [token[:at] + "0123456789abcdef0"["0123456789abcdef".index(token[at]) + 1] + token[at + 1:]
                 for at in range(1, len(token))]
        wrong += ["s" + token[1:], "O" + token[1:], token[1:], token[:-1], token + "0", " " + token[:-1], "x", session,
                  "o" + session[1:], "o" + "f" * (len(token) - 1), "o" + "0" * (len(token) - 1)]
        for text in wrong:
            self.bad_token(other, text)
        for text in ("", "0" * 65, 7, None):
            self.check_error(other.error("TCPClaim", [text]), -32602, "INVALID_PARAMS")
        self.check_error(other.error("Session.Join", [token]), -33006, "BAD_TOKEN")
        other.call("TCPClaim", [token])
        self.bad_token(other, token)
        self.bad_token(self.client, token)
        again = self.offer(other, number)
        self.assertNotEqual(again, token)
        self.bad_token(self.client, token)
        self.client.call("TCPClaim", [again])
        self.works(self.client, number, connection)

    def test_two_claims_race(self):
        """Exactly one wins; both claimers live on other io threads than the offer, and on the same."""
        peer = self.use(servers.Peer())
        claimers = [self.open_client() for _ in range(5)]
        wins = [0] * len(claimers)
        number = self.client.connect(peer.port)
        connection = peer.take()
        owner = self.client
        for turn in range(100 if SLOW > 1 else 1000):
            token = self.offer(owner, number)
            both = random.sample(range(len(claimers)), 2)
            ids = [(at, claimers[at].send("TCPClaim", [token])) for at in both]
            answers = [(at, claimers[at].answer(id)) for at, id in ids]
            won = [at for at, answer in answers if "result" in answer]
            self.assertEqual(len(won), 1, answers)
            lost = next(answer for at, answer in answers if at != won[0])
            self.check_error(lost["error"], -33006, "BAD_TOKEN")
            wins[won[0]] += 1
            owner = claimers[won[0]]
        self.works(owner, number, connection)
        self.assertTrue(all(wins), wins)

    def test_busy(self):
        """Not while a request runs on the socket; and what was refused has changed nothing."""
        context = servers.tls_context()

        def refused(number):
            for method, params in (("TCPTransfer", {"to": "x"}), ("TCPOffer", {})):
                self.check_error(self.client.error(method, socket=number, **params), -33002, "BUSY", "request", True)

        number, connection = self.pair()
        id = self.client.send("TCPReceive", socket=number, exact=4)
        refused(number)
        connection.sendall(b"data")
        self.assertEqual(self.client.wait(id)["data"], "data")

        sends = [self.client.send("TCPSend", [number, "x" * 500000]) for _ in range(12)]
        wait_until(lambda: self.client.call("Broker.Hello") and not self.client.answered(sends[-1]))
        refused(number)
        reader = threading.Thread(target=servers.read_exactly, args=(connection, 6000000))
        reader.start()
        for id in sends:
            self.assertEqual(self.client.wait(id)["sent"], 500000)
        reader.join()

        id = self.client.send("TCPClose", [number])
        self.check_error(self.client.error("TCPTransfer", [number, "x"]), -33002, "BUSY", "request", True)
        self.check_error(self.client.error("TCPOffer", [number]), -33002, "BUSY")
        connection.close()
        self.client.wait(id)

        listening = self.client.call("TCPSocket")["socket"]
        port = self.client.call("TCPBind", socket=listening, port=0, address="127.0.0.1")["port"]
        self.client.call("TCPListen", [listening])
        id = self.client.send("TCPAccept", [listening])
        refused(listening)
        connection = socket.create_connection(("127.0.0.1", port))
        accepted = self.client.wait(id)["socket"]

        id = self.client.send("TCPStartTLS", socket=accepted, server_name="localhost")
        refused(accepted)
        secure = context.wrap_socket(connection, server_side=True)
        self.client.wait(id)
        self.works(self.client, accepted, secure)
        for one in (accepted, listening):
            self.client.call("TCPTransfer", socket=one, to="x")
            self.client.call("TCPClaim", [self.offer(self.client, one, thread="x")])
            self.client.call("TCPClose", [one, 2])
        secure.close()
        self.nothing_left()

    def test_what_cannot_be_offered(self):
        number, connection = self.pair()
        servers.reset(connection)
        self.assertEqual(self.client.error("TCPReceive", [number]).code, -10054)
        self.check_error(self.client.error("TCPOffer", [number]), -10054, "ECONNRESET")
        self.client.call("TCPTransfer", [number, "heir"])
        self.assertEqual(self.client.error("TCPSend", socket=number, data="x", thread="heir").code, -10054)
        self.client.call("TCPClose", socket=number, thread="heir")
        for method, params in (("TCPOffer", {}), ("TCPTransfer", {"to": 1})):
            self.check_error(self.client.error(method, socket=number, **params), -10038, "ENOTSOCK")


class Claims(Base):
    """Claims that come to nothing. With a daemon of its own, whose limit is small."""
    DAEMON_OPTIONS = {"config": {"threads.io": 4, "log.level": "debug", "limits.sockets_per_session": 3}}

    def settled(self, client, token):
        """What becomes of a claim that nobody waits for any more: on offer again, claimable; or None, it is gone."""
        def known():
            try:
                return (client.call("TCPClaim", [token])["socket"],)
            except RpcError as error:
                self.assertEqual(error.code, -33006)
                return (None,) if self.client.call("Broker.Stats")["offers"] == 0 else False
        return wait_until(known)[0]

    def test_cancelled(self):
        """Asked and cancelled in one write, and a little later: the claim holds, or the socket is on offer again."""
        peer = self.use(servers.Peer())
        number = self.client.connect(peer.port)
        connection = peer.take()
        owner, claimers = self.client, [self.open_client() for _ in range(4)]
        outcomes = {True: 0, False: 0}
        delay = 0.0
        for turn in range(100 if SLOW > 1 else 600):
            token = self.offer(owner, number)
            claimer = claimers[turn % 4]
            claim, cancel = f"claim-{turn}", f"cancel-{turn}"
            for id in (claim, cancel):
                claimer.waiting[id] = queue.SimpleQueue()
            lines = [json.dumps({"jsonrpc": "2.0", "id": claim, "method": "TCPClaim", "params": [token]}),
                     json.dumps({"jsonrpc": "2.0", "id": cancel, "method": "Broker.Cancel", "params": [claim]})]
            if turn % 2:
                claimer.write("".join(line + "\n" for line in lines).encode())
            else:
                claimer.write(lines[0].encode() + b"\n")
                time.sleep(delay)
                claimer.write(lines[1].encode() + b"\n")
            answer = claimer.answer(claim)
            cancelled = claimer.wait(cancel)["cancelled"]
            outcomes[cancelled] += 1
            if not cancelled:
                delay *= 0.9
                self.assertEqual(answer["result"]["socket"], number)
                owner = claimer
                continue
            delay = delay * 1.1 + 0.000002
            self.check_error(answer["error"], -10004, "EINTR")
            owner = claimers[(turn + turn // 4) % 4]
            self.assertEqual(owner.call("TCPClaim", [token])["socket"], number, "on offer again")
        self.works(owner, number, connection)
        owner.call("TCPClose", [number, 2])
        self.assertGreater(outcomes[True], 0)
        self.assertGreater(outcomes[False], 0)
        self.nothing_left()

    def test_claims_of_which_all_but_one_are_cancelled(self):
        """Many at once for one token: who is not cancelled gets it, whatever became of the others on the way."""
        peer = self.use(servers.Peer())
        number = self.client.connect(peer.port)
        connection = peer.take()
        owner, claimers = self.client, [self.open_client() for _ in range(4)]
        for turn in range(100 if SLOW > 1 else 500):
            token = self.offer(owner, number)
            owner = claimers[turn % 4]
            lines, ids = [], [f"{turn}-{at}" for at in range(4)]
            for id in ids[:3]:
                lines.append({"id": id, "method": "TCPClaim", "params": [token]})
                lines.append({"id": id + "-cancel", "method": "Broker.Cancel", "params": [id]})
            lines.append({"id": ids[3], "method": "TCPClaim", "params": [token]})
            for line in lines:
                owner.waiting[line["id"]] = queue.SimpleQueue()
            owner.write("".join(json.dumps(dict(line, jsonrpc="2.0")) + "\n" for line in lines).encode())
            answers = [owner.answer(line["id"]) for line in lines]
            self.assertEqual([answer["error"]["code"] for answer in answers[0:6:2]], [-10004] * 3)
            self.assertEqual(answers[6].get("result", answers[6]).get("socket"), number)
        self.works(owner, number, connection)
        owner.call("TCPClose", [number, 2])
        self.nothing_left()

    def test_the_claimer_is_killed(self):
        """It had the socket (then it goes with its session), or not (then it is on offer again)."""
        peer = self.use(servers.Peer())
        outcomes = {"claimed": 0, "on offer": 0}
        before = None
        delay = 0.0
        for turn in range(60 if SLOW > 1 else 300):
            number = self.client.connect(peer.port)
            connection = peer.take()
            token = self.offer(self.client, number, timeout_ms=60000)
            raw = Raw(self.daemon)
            raw.write_line(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "TCPClaim", "params": [token]}))
            time.sleep(delay)
            raw.close()
            found = self.settled(self.client, token)
            if found is None:
                outcomes["claimed"] += 1
                delay *= 0.9
            else:
                outcomes["on offer"] += 1
                delay = delay * 1.1 + 0.000002
                self.assertEqual(found, number)
                self.works(self.client, number, connection)
                self.client.call("TCPClose", [number, 2])
            self.peer_sees_the_end(connection)
            wait_until(lambda: number not in self.rows(), what="its end")
            if turn == 10:
                before = self.daemon.n_sockets()
        wait_until(lambda: self.daemon.n_sockets() <= before, what="the descriptors' end")
        self.assertTrue(all(outcomes.values()), outcomes)
        self.nothing_left()

    def test_at_the_limit(self):
        peer = self.use(servers.Peer())
        number = self.client.connect(peer.port)
        connection = peer.take()
        token = self.offer(self.client, number)
        full = self.open_client()
        filler = [full.connect(peer.port) for _ in range(3)]
        for _ in range(20):
            data = self.check_error(full.error("TCPClaim", [token]), -10024, "EMFILE", "broker", True)
            self.assertEqual((data["limit"], data["limit_value"]), ("limits.sockets_per_session", 3))
            self.assertEqual(self.client.call("Broker.Stats")["offers"], 1)
        full.call("TCPClose", [filler[0], 2])
        self.assertEqual(full.call("TCPClaim", [token])["socket"], number, "on offer again for the same token")
        self.works(full, number, connection)

    def test_an_offer_counts_as_its_session_s(self):
        peer = self.use(servers.Peer())
        numbers = [self.client.connect(peer.port) for _ in range(3)]
        tokens = [self.offer(self.client, number) for number in numbers]
        self.check_error(self.client.error("TCPSocket"), -10024, "EMFILE")
        other = self.open_client()
        other.call("TCPClaim", [tokens[0]])
        wait_until(lambda: "result" in self.client.answer(self.client.send("TCPSocket")), what="room for one more")
        self.check_error(self.client.error("TCPSocket"), -10024, "EMFILE")
        for token in tokens[1:]:
            other.call("TCPClaim", [token])

    def test_a_session_at_its_limit_takes_its_own_offer_back(self):
        """The number of its sockets stays what it was."""
        peer = self.use(servers.Peer())
        numbers = [self.client.connect(peer.port) for _ in range(3)]
        for number in numbers:
            for _ in range(3):
                self.assertEqual(self.client.call("TCPClaim", [self.offer(self.client, number)])["socket"], number)
        self.check_error(self.client.error("TCPSocket"), -10024, "EMFILE")

    def test_at_the_limit_and_at_the_deadline(self):
        """Refused and expired at the same moment: closed, and counted once."""
        peer = self.use(servers.Peer())
        full = self.open_client()
        for _ in range(3):
            full.connect(peer.port)
            peer.take()
        before = self.client.call("Broker.Stats")["offers_expired"]
        n = 10 if SLOW > 1 else 40
        for _ in range(n):
            number = self.client.connect(peer.port)
            connection = peer.take()
            token = self.offer(self.client, number, timeout_ms=5)
            while full.error("TCPClaim", [token]).code != -33006:
                pass
            self.peer_sees_the_end(connection)
        self.check_stats("offers_expired", before + n)
        self.check_stats("offers", 0)


@unittest.skipIf(os.geteuid(), "needs root, to be somebody else")
class Users(unittest.TestCase):
    def as_nobody(self, daemon):
        os.seteuid(NOBODY)
        try:
            return daemon.client()
        finally:
            os.seteuid(0)

    def test_another_user_s_token(self):
        with tempfile.TemporaryDirectory(prefix="tcpbroker-test-") as folder, servers.Peer() as peer:
            os.chmod(folder, 0o755)
            with Daemon(config={"listen.mode": "0777", "threads.io": 2}, socket_path=os.path.join(folder, "s")) as daemon, \
                    daemon.client() as mine, self.as_nobody(daemon) as theirs, self.as_nobody(daemon) as friend:
                self.assertEqual(theirs.call("Broker.Hello")["uid"], NOBODY)
                for owner, stranger, heir in ((mine, theirs, daemon.client()), (theirs, mine, friend)):
                    number = owner.connect(peer.port)
                    connection = peer.take()
                    token = owner.call("TCPOffer", [number])["token"]
                    for _ in range(3):
                        self.assertEqual(stranger.error("TCPClaim", [token]).code, -33006)
                    self.assertEqual(stranger.error("TCPSend", [number, "x"]).code, -33001)
                    self.assertEqual(number in [row["socket"] for row in stranger.call("Broker.List")["sockets"]],
                                     stranger is mine, "root sees all")
                    self.assertEqual(heir.call("TCPClaim", [token])["socket"], number)
                    heir.call("TCPSend", [number, "x"])
                    self.assertEqual(servers.read_exactly(connection, 1), b"x")
                    heir.call("TCPClose", [number, 2])
                    session = owner.call("Session.Open", [1000])["token"]
                    self.assertEqual(stranger.error("Session.Join", [session]).code, -33006)
                    heir.close()


class Stop(unittest.TestCase):
    def test_offers_and_claims_when_the_broker_stops(self):
        """Every claim is answered once; what is on offer is closed; nothing holds the stop up."""
        for turn in range(3 if SLOW > 1 else 8):
            with servers.Peer() as peer, Daemon(config={"threads.io": 4, "stop.drain_timeout": "3s"}) as daemon:
                clients = [daemon.client() for _ in range(4)]
                offers, connections = [], []
                for at in range(40):
                    client = clients[at % 4]
                    number = client.connect(peer.port)
                    connections.append(peer.take())
                    offers.append(client.call("TCPOffer", [number])["token"])
                threads = []
                answers = []

                def claim(client, tokens):
                    for token in tokens:
                        try:
                            answers.append(client.answer(client.send("TCPClaim", [token])))
                        except (Closed, OSError):
                            return

                for at, client in enumerate(clients):
                    threads.append(threading.Thread(target=claim, args=(client, offers[at * 8 + 1:at * 8 + 8])))
                for thread in threads:
                    thread.start()
                time.sleep(turn * 0.0005)
                daemon.terminate()
                for thread in threads:
                    thread.join(seconds(20))
                for answer in answers:
                    if "error" in answer:
                        self.assertIn(answer["error"]["code"], (-33005, -33006), answer)
                self.assertEqual(daemon.wait_exit(), 0)
                for connection in connections:
                    try:
                        self.assertEqual(connection.recv(1), b"")
                    except ConnectionResetError:
                        pass
                for client in clients:
                    client.close()
                    self.assertEqual(client.strays, [])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker_process()
    else:
        main()
