#!/usr/bin/env python3
"""Random operations of 32 threads in 8 sessions against a model that knows what each answer may be.

Every socket has one owner in the model, too: the owner knows what each answer must be, byte by byte; others are refused.
Sessions are closed and connections killed under their owners' feet; what they asked at that moment may end in any way, but
what is left afterwards is known again. At the end nothing is left in the broker.

TCPBROKER_SEED repeats a run's decisions (not its timing); TCPBROKER_MODEL_SECONDS is how long it runs (20)."""
import base64
import collections
import json
import os
import queue
import random
import re
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))

from ca import certificates
from harness import Client, Closed, TestCase, main, seconds, wait_until
from model import LABELS, LIMIT, SETTLE, Far, Offer, Place, Session, Sock, Wrong

SECONDS = float(os.environ.get("TCPBROKER_MODEL_SECONDS", "20"))
SEED = int(os.environ.get("TCPBROKER_SEED", random.SystemRandom().randrange(1 << 32)))
N_GROUPS, ANSWER = 8, 60
OFFER_MS = int(seconds(5000))

OK, EINTR, EINVAL, EMFILE, EAGAIN, ENOTSOCK = 0, -10004, -10022, -10024, -10035, -10038
ECONNABORTED, ECONNRESET, ENOTCONN, ESHUTDOWN, ETIMEDOUT, ECONNREFUSED = -10053, -10054, -10057, -10058, -10060, -10061
NOT_OWNER, BUSY, BAD_TOKEN, TLS_VERIFY, TLS_IO, TLS_HANDSHAKE = -33001, -33002, -33006, -33010, -33011, -1031
BAD_CLOSE_OPTION, ALREADY_SECURE, TLS_NO_PARTIAL_CLOSE = -517, -1015, -1018


class Lost(Exception):
    """The session has ended while it was being asked: the answer may be anything."""


class World:
    def __init__(self, daemon, far):
        self.daemon, self.far = daemon, far
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.failures = []
        self.pool = []
        self.granted = collections.defaultdict(set)  # number: actors it was ever given to
        self.clients = []
        self.counts = collections.Counter()
        self.groups = [Group(self, at) for at in range(N_GROUPS)]
        self.admins = [self.client() for _ in range(3)]  # one on each io thread

    def client(self):
        client = Client(self.daemon, timeout=ANSWER)
        with self.lock:
            self.clients.append(client)
        return client

    def fail(self, who, error, trace=()):
        with self.lock:
            self.failures.append(f"{who}: {error!r}\n    " + "\n    ".join(trace))
        self.stop.set()


class Group:
    """The threads of one session. Durable: a connection each; else one for all."""

    def __init__(self, world, at):
        self.world, self.at = world, at
        self.durable = at < N_GROUPS // 2
        self.lock = threading.Lock()
        self.client = world.client()
        if self.durable:
            opened = self.client.call("Session.Open", [3600000])
            self.session = Session(token=opened["token"], id=opened["session"])
        else:
            self.session = Session(id=self.client.call("Broker.Hello")["session"])
        self.actors = [Actor(self, label) for label in LABELS]


class Actor(threading.Thread):
    def __init__(self, group, label):
        super().__init__(name=f"{group.at}/{label}", daemon=True)
        self.group, self.world, self.label = group, group.world, label
        self.chance = random.Random(f"{SEED}/{self.name}")
        self.inbox = queue.SimpleQueue()
        self.socks, self.session, self.client = [], None, None
        self.stale = collections.deque(maxlen=8)
        self.trace = collections.deque(maxlen=40)
        self.n_asked = 0
        self.operations = [(getattr(self, name), weight) for name, weight in WEIGHTS]

    # ---- asking

    def note(self, text):
        self.trace.append(f"{time.monotonic():.3f} {text}"[:300])

    def send(self, method, labelled=True, **params):
        if labelled:
            params["thread"] = self.label
        self.note(f"-> {method} {params}")
        self.n_asked += 1
        try:
            return self.client.send(method, params, id=f"{self.name}:{self.n_asked}")
        except (Closed, OSError):
            self.check_ended()

    def check_ended(self):
        if not self.session.ended:
            raise Wrong("the broker closed the connection")
        raise Lost

    def answer(self, id, keep=False):
        """(code, result or data). keep: also when the session has ended meanwhile."""
        try:
            message = self.client.answer(id, ANSWER)
        except (Closed, OSError):
            self.note(f"<- {id} closed")
            self.check_ended()
        self.note(f"<- {id} {json.dumps(message.get('result', message.get('error')))}")
        code, body = 0, message.get("result")
        if "error" in message:
            code, body = message["error"]["code"], message["error"]["data"]
        if self.session.ended and not keep:
            if code == 0 and "socket" in body:
                self.drop(body["socket"])
            raise Lost
        return code, body

    def drop(self, number):
        """A socket that came when its session had ended: nobody is interested, and it may be there no more."""
        try:
            self.client.answer(self.client.send("TCPClose", {"socket": number, "option": 2, "thread": self.label}), ANSWER)
        except (Closed, OSError):
            pass

    def ask(self, method, *allowed, labelled=True, keep=False, **params):
        """The code must be one of these (0, success, when none is given)."""
        code, body = self.answer(self.send(method, labelled, **params), keep)
        if code not in (allowed or (OK,)) and not (keep and self.session.ended):
            raise Wrong(f"{method} {params}: {code} {body}, expected {allowed or 'success'}")
        return code, body

    def same(self, got, expected, what):
        if got != expected:
            raise Wrong(f"{what}: {got!r}, expected {expected!r}")

    # ---- the thread

    def run(self):
        try:
            self.enter()
            while not self.world.stop.is_set():
                try:
                    self.step()
                except Lost:
                    self.enter()
            self.leave()
        except BaseException as error:
            self.world.fail(f"thread {self.name}", error, self.trace)

    def step(self):
        while not self.inbox.empty():
            session, sock = self.inbox.get()
            if session is self.session:
                self.socks.append(sock)
        operation = self.chance.choices([one for one, _ in self.operations], [weight for _, weight in self.operations])[0]
        self.note(operation.__name__)
        operation()
        self.world.counts[operation.__name__] += 1

    def enter(self):
        """Belong to the group's session as it is now; what there was in the old one is gone."""
        while True:
            old, old_socks = self.session, [sock.number for sock in self.socks if sock.sure]
            with self.group.lock:
                self.session = self.group.session
                if not self.group.durable:
                    self.client = self.group.client
            self.socks = []
            try:
                if self.group.durable:
                    self.join_session()
                if old and old is not self.session:
                    for number in old_socks[:3]:
                        self.must_vanish(number)
                return
            except Lost:
                continue

    def must_vanish(self, number):
        end = time.monotonic() + SETTLE * 3
        while self.ask("TCPGetMyPort", ENOTSOCK, NOT_OWNER, socket=number)[0] != ENOTSOCK:
            if time.monotonic() > end:
                raise Wrong(f"socket {number} outlives its session")

    def join_session(self):
        if self.client is None or self.client.ended:
            self.client = self.world.client()
        code, body = self.ask("Session.Join", OK, labelled=False, token=self.session.token)
        self.same(body["session"], self.session.id, "the session joined")
        self.check_rows(body["sockets"])

    def check_rows(self, rows):
        rows = {row["socket"]: row for row in rows}
        for sock in self.socks:
            row = rows.get(sock.number)
            if row is None:
                raise Wrong(f"socket {sock.number} is not listed")
            self.same((row.get("owner"), row["session"], row["secure"]), (self.label, self.session.id, sock.secure),
                      f"the row of {sock.number}") if not sock.failed else None
            if row["state"] not in sock.states():
                raise Wrong(f"socket {sock.number} is {row['state']}, expected {sock.states()}")
        for number in self.stale:
            if number in rows:
                raise Wrong(f"socket {number} was closed and is listed")

    def leave(self):
        """Half of the threads close what they have, the others leave it to the session's end."""
        try:
            if self.label in ("t0", 1):
                while not self.inbox.empty():
                    session, sock = self.inbox.get()
                    if session is self.session:
                        self.socks.append(sock)
                while self.socks:
                    self.close_now(self.socks[-1])
        except Lost:
            pass

    # ---- choosing

    def pick(self, condition=lambda sock: True):
        found = [sock for sock in self.socks if condition(sock)]
        return self.chance.choice(found) if found else None

    def usable(self):
        return self.pick(lambda sock: sock.stream and not sock.failed)

    def open_one(self, condition=lambda sock: True):
        return self.pick(lambda sock: sock.stream and not sock.failed and not sock.shut and not sock.told_bye and condition(sock))

    def idle(self, condition=lambda sock: True):
        return self.open_one(lambda sock: not sock.pending and condition(sock))

    def text(self, n):
        return "".join(self.chance.choices("acdefghé", k=n))

    # ---- sockets come

    def full(self, code, body, since):
        """EMFILE: was it true?"""
        self.session.wanted_not()
        if code == EMFILE:
            self.same((body["limit"], body["limit_value"]), ("limits.sockets_per_session", LIMIT), "the limit")
            if not self.session.may_be_full(since):
                raise Wrong(f"refused by the limit with {self.session.high} sockets and {self.session.place.offered} offers")

    def new(self, sock):
        self.session.has()
        self.world.granted[sock.number].add(self.name)
        self.socks.append(sock)
        return sock

    def connect(self, finish=None, allowed=(), **params):
        kind = self.chance.choice(("plain", "plain", "tls12", "tls13"))
        since = self.session.wants()
        name = self.chance.random() < 0.5
        port = self.world.far.port(kind)
        id = self.send("TCPConnect", hostname="localhost" if name else "127.0.0.1", port=port, secure=kind != "plain", **params)
        if finish:
            finish(id)
        code, body = self.answer(id)
        if code not in (OK, EMFILE, *allowed):
            raise Wrong(f"connecting: {code} {body}")
        if code:
            self.full(code, body, since)
            return code
        self.same((body.get("tls", {}).get("version"), body["remote_port"]),
                  ({"tls12": "TLSv1.2", "tls13": "TLSv1.3"}.get(kind), port), "the connection")
        self.new(Sock(body["socket"], kind, (body["remote_address"], port)))
        return code

    def op_connect(self):
        if len(self.socks) < 5:
            self.connect()

    def op_connect_with_deadline(self):
        if len(self.socks) < 5:
            self.connect(None, (ETIMEDOUT,), timeout_ms=self.chance.randrange(0, 30))

    def op_connect_and_cancel(self):
        if len(self.socks) < 5:
            told = []

            def cancel(id):
                time.sleep(self.chance.choice((0, 0, 0.0003, 0.001, 0.003)))
                told.append(self.send("Broker.Cancel", False, id=id))
            code = self.connect(cancel, (EINTR,))
            self.same(self.answer(told[0])[1], {"cancelled": code == EINTR}, "what Broker.Cancel says")

    def op_connect_to_nobody(self):
        since = self.session.wants()
        code, body = self.ask("TCPConnect", ECONNREFUSED, EMFILE, hostname="127.0.0.1", port=self.world.far.port("nothing"))
        self.full(code, body, since)

    def op_listener(self):
        if len(self.socks) >= 5 or self.pick(lambda sock: not sock.stream):
            return
        since = self.session.wants()
        code, body = self.ask("TCPSocket", OK, EMFILE, family="ipv4")
        if code:
            self.full(code, body, since)
            return
        sock = self.new(Sock(body["socket"], "unbound"))
        if self.chance.random() < 0.3:
            return
        self.bind(sock)

    def bind(self, sock):
        body = self.ask("TCPBind", socket=sock.number, port=0, address="127.0.0.1")[1]
        sock.kind, sock.port = "bound", body["port"]

    def op_next_step(self):
        sock = self.pick(lambda sock: not sock.stream)
        if not sock:
            return
        if sock.kind == "unbound":
            if self.chance.random() < 0.5:
                self.ask("TCPListen", EINVAL, socket=sock.number)
            self.bind(sock)
        elif sock.kind == "bound":
            if self.chance.random() < 0.5:
                self.ask("TCPAccept", EINVAL, socket=sock.number)
            self.ask("TCPListen", socket=sock.number)
            sock.kind = "listening"
        else:
            method, params, code = self.chance.choice((
                ("TCPBind", {"port": 0}, EINVAL), ("TCPSend", {"data": "x"}, ENOTCONN), ("TCPReceive", {}, ENOTCONN),
                ("TCPClose", {"option": 1}, ENOTCONN), ("TCPStartTLS", {"server_name": "localhost"}, ENOTCONN),
                ("TCPGetRemoteAddr", {}, ENOTCONN), ("TCPListen", {"backlog": 64}, OK)))
            self.ask(method, code, socket=sock.number, **params)

    def op_accept(self):
        sock = self.pick(lambda sock: sock.kind == "listening")
        if not sock:
            return
        for _ in range(self.chance.choice((0, 1, 1, 2))):
            if len(sock.waiting) < 4:
                sock.waiting.append(self.dial(sock.port))
        since = self.session.wants()
        nothing = EAGAIN if sock.non_blocking else ETIMEDOUT
        # one more in the queue than the socket's thread has heard of cannot be: dial() returns when the kernel has it
        code, body = self.ask("TCPAccept", *((OK, EMFILE, *((EAGAIN,) if sock.non_blocking else ())) if sock.waiting else
                                             (nothing, EMFILE)), socket=sock.number,
                              timeout_ms=int(seconds(20000)) if sock.waiting else self.chance.randrange(4))
        if code:
            self.full(code, body, since)
            return
        port = sock.waiting.popleft()
        self.same(body["remote_port"], port, "the one that waits longest")
        self.new(Sock(body["socket"], "plain", ("127.0.0.1", port), hostname=False)).non_blocking = sock.non_blocking

    def dial(self, port):
        self.note(f"dial {port}")
        try:
            return self.world.far.dial(port)
        except OSError as error:
            if not self.session.ended:
                raise Wrong(f"a listening socket is not there: {error}") from None
            raise Lost from None

    def op_accept_and_cancel(self):
        sock = self.pick(lambda sock: sock.kind == "listening" and not sock.waiting and not sock.non_blocking)
        if not sock:
            return
        id = self.send("TCPAccept", socket=sock.number)
        self.ask("TCPAccept", BUSY, EMFILE, socket=sock.number, timeout_ms=0)
        self.ask("TCPTransfer", BUSY, socket=sock.number, to="t0")
        self.cancelled(id)

    def cancelled(self, id):
        told = self.send("Broker.Cancel", False, id=id)
        code, body = self.answer(id)
        self.same((code, self.answer(told)[1]), (EINTR, {"cancelled": True}), "a cancelled request")
        return body

    # ---- bytes

    def op_send(self):
        sock = self.open_one(lambda sock: len(sock.pending) < 8000)
        if sock:
            self.say(sock, self.text(self.chance.choice((1, 10, 300, 2000))))

    def say(self, sock, text, echoed=True):
        data = text.encode()
        params = {"data": text} if self.chance.random() < 0.7 else {"data_base64": base64.b64encode(data).decode()}
        self.same(self.ask("TCPSend", socket=sock.number, **params)[1], {"sent": len(data)}, "what was sent")
        if echoed:
            sock.pending += data

    def took(self, body):
        data = base64.b64decode(body["data_base64"]) if "data_base64" in body else body.get("data", "").encode()
        self.same(len(data), body["received"], "what is said to be received")
        return data

    def op_receive(self):
        sock = self.pick(lambda sock: sock.pending and not sock.failed)
        if not sock:
            return
        # é is two bytes: text is asked for where a cut through it does no harm
        params, most = {"encoding": "base64"}, len(sock.pending)
        style = self.chance.randrange(3)
        if style == 0:
            most = params["exact"] = self.chance.randrange(1, len(sock.pending) + 1)
        elif style == 1:
            params["max_bytes"] = most = self.chance.randrange(1, len(sock.pending) + 100)
        elif b"h" in sock.pending and sock.pending[0] & 0xC0 != 0x80:
            params = {"until": "h"}
            most = sock.pending.index(b"h") + 1
        code, body = self.ask("TCPReceive", OK, *((EAGAIN,) if sock.non_blocking else ()), socket=sock.number,
                              timeout_ms=int(seconds(20000)), **params)
        if code:
            return
        data = self.took(body)
        if "max_bytes" not in params and ("exact" in params or "until" in params):
            self.same(len(data), most, "the length received")
        self.same(data, bytes(sock.pending[:len(data)]), "the bytes received")
        if not 0 < len(data) <= most:
            raise Wrong(f"{len(data)} bytes of {most}")
        del sock.pending[:len(data)]

    def op_receive_too_much(self):
        """More than there is: the deadline passes and takes nothing along."""
        sock = self.open_one()
        if sock:
            self.ask("TCPReceive", EAGAIN if sock.non_blocking else ETIMEDOUT, socket=sock.number,
                     exact=len(sock.pending) + 1, timeout_ms=self.chance.randrange(6))

    def op_receive_and(self):
        """While a receive waits: a second one, giving the socket away, cancelling, an abort."""
        sock = self.idle(lambda sock: not sock.non_blocking)
        if not sock:
            return
        id = self.send("TCPReceive", socket=sock.number, exact=5, encoding="base64")
        what = self.chance.randrange(5)
        if what == 0:
            self.ask("TCPReceive", BUSY, socket=sock.number, timeout_ms=0)
        elif what == 1:
            self.ask("TCPTransfer", BUSY, socket=sock.number, to=self.chance.choice(LABELS))
        elif what == 2:
            self.ask("TCPOffer", BUSY, socket=sock.number)
        elif what == 3:
            self.session.gives()
            self.same(self.ask("TCPClose", socket=sock.number, option=2)[1], {"status": 0, "discarded": 0}, "an abort")
            self.same(self.answer(id)[0], ECONNABORTED, "what runs while a socket is closed")
            self.forget(sock)
            return
        elif what == 4:
            self.say(sock, "acdef")
            self.same(self.took(self.answer(id)[1]), b"acdef", "what was waited for")
            sock.pending.clear()
            return
        self.cancelled(id)

    def op_block(self):
        sock = self.pick()
        if sock:
            sock.non_blocking = self.chance.random() < 0.3
            self.ask("TCPBlock", socket=sock.number, option=int(sock.non_blocking))

    # ---- ends

    def end_seen(self, sock):
        """The far end ends, or has."""
        while not sock.ended:
            code, body = self.ask("TCPReceive", OK, *((EAGAIN,) if sock.non_blocking else ()), socket=sock.number,
                                  encoding="base64", timeout_ms=int(seconds(20000)))
            if code:
                time.sleep(0.002)
                continue
            data = self.took(body)
            self.same(data, bytes(sock.pending[:len(data)]), "the last bytes")
            del sock.pending[:len(data)]
            sock.ended = body.get("closed", False)
            if sock.ended:
                self.same(bytes(sock.pending), b"", "what never came")

    def op_partial_close(self):
        sock = self.open_one()
        if not sock:
            return
        code, body = self.ask("TCPClose", TLS_NO_PARTIAL_CLOSE if sock.kind == "tls12" else OK, socket=sock.number, option=1)
        if code:
            return
        sock.shut = sock.told_bye = True
        self.ask("TCPSend", ESHUTDOWN, socket=sock.number, data="x")
        self.ask("TCPClose", ESHUTDOWN, socket=sock.number, option=1)
        if self.chance.random() < 0.5:
            self.end_seen(sock)

    def op_far_end_ends(self):
        sock = self.idle()
        if sock:
            self.say(sock, "BYE\n", echoed=False)
            sock.told_bye = True
            self.end_seen(sock)

    def op_at_the_end(self):
        sock = self.pick(lambda sock: sock.ended and not sock.failed)
        if sock:
            body = self.ask("TCPReceive", socket=sock.number, timeout_ms=1000)[1]
            self.same((body["received"], body.get("closed")), (0, True), "at the end")

    def op_far_end_resets(self):
        sock = self.idle(lambda sock: not sock.non_blocking)
        if sock:
            self.say(sock, "RST\n", echoed=False)
            sock.failed = self.ask("TCPReceive", ECONNRESET, *((TLS_IO,) if sock.secure else ()), socket=sock.number,
                                   timeout_ms=int(seconds(20000)))[0]

    def op_failed(self):
        sock = self.pick(lambda sock: sock.failed)
        if sock:
            method, params = self.chance.choice((("TCPSend", {"data": "x"}), ("TCPReceive", {}), ("TCPOffer", {}),
                                                 ("TCPClose", {"option": 1}), ("TCPStartTLS", {"server_name": "a.test"})))
            self.ask(method, sock.failed, socket=sock.number, **params)

    def op_close(self):
        if self.socks and (len(self.socks) > 2 or self.chance.random() < 0.3):
            self.close_now(self.chance.choice(self.socks))

    def close_now(self, sock):
        option = self.chance.choice((0, 2))
        self.session.gives()
        params = {} if self.chance.random() < 0.8 else {"timeout_ms": int(seconds(20000))}
        body = self.ask("TCPClose", socket=sock.number, option=option, **params)[1]
        if not sock.failed:
            self.same(body, {"status": 0, "discarded": len(sock.pending) if option == 0 else 0}, "the end")
        self.forget(sock)

    def forget(self, sock):
        self.session.gone()
        self.socks.remove(sock)
        self.stale.append(sock.number)

    def op_closed_by_an_administrator(self):
        """Also under a receive that waits, and when the session ends at that moment."""
        sock = self.pick()
        if not sock:
            return
        id = None
        if sock in self.socks and self.chance.random() < 0.5 and sock.stream and not sock.failed and not sock.non_blocking:
            id = self.send("TCPReceive", socket=sock.number, exact=len(sock.pending) + 5, encoding="base64")
        admin = self.chance.choice(self.world.admins)
        self.session.gives()
        message = admin.answer(admin.send("Broker.Close", [sock.number]), ANSWER)
        self.note(f"closed: {json.dumps(message)}")
        if not self.session.ended and ("error" in message or message["result"]["closing"]):
            raise Wrong(f"Broker.Close of {sock.number}: {message}")
        # the administrator may be quicker than the request, and so may an end of what the far end has sent
        if id and self.answer(id)[0] not in (ECONNABORTED, ENOTSOCK, OK, ECONNRESET, TLS_IO):
            raise Wrong("what runs while an administrator closes the socket has another end")
        self.ask("TCPGetMyPort", ENOTSOCK, socket=sock.number)
        self.forget(sock)

    # ---- STARTTLS

    def op_start_tls(self):
        sock = self.idle(lambda sock: sock.kind == "plain" and not sock.non_blocking)
        if not sock:
            return
        what = self.chance.randrange(6)
        number = sock.number
        params = {} if sock.hostname and self.chance.random() < 0.5 else {"server_name": "localhost"}
        if what == 0:  # the far end knows nothing of it, and echoes the handshake
            sock.failed = self.ask("TCPStartTLS", TLS_HANDSHAKE, socket=number, **params)[0]
            return
        self.say(sock, "STARTTLS\n", echoed=False)
        self.same(self.ask("TCPReceive", socket=number, exact=3, timeout_ms=int(seconds(20000)))[1]["data"], "GO\n", "the go-ahead")
        if what == 1:
            sock.failed = self.ask("TCPStartTLS", TLS_VERIFY, socket=number, server_name="other.test")[0]
        elif what == 2:
            id = self.send("TCPStartTLS", socket=number, **params)
            time.sleep(self.chance.choice((0, 0.0005, 0.002, 0.005)))
            told = self.send("Broker.Cancel", False, id=id)
            code, body = self.answer(id)
            self.same(self.answer(told)[1], {"cancelled": code == EINTR}, "what Broker.Cancel says")
            if code not in (OK, EINTR):
                raise Wrong(f"TCPStartTLS: {code} {body}")
            sock.kind, sock.failed = ("tls13", 0) if code == OK else ("plain", ECONNABORTED)
        else:
            body = self.ask("TCPStartTLS", socket=number, **params)[1]
            self.same((body["tls"]["version"], body["tls"]["verified"]), ("TLSv1.3", True), "TLS")
            sock.kind = "tls13"

    def op_start_tls_again(self):
        sock = self.open_one(lambda sock: sock.secure)
        if sock:
            self.ask("TCPStartTLS", ALREADY_SECURE, socket=sock.number, server_name="localhost")

    # ---- owners

    def op_transfer(self):
        sock = self.pick()
        other = self.chance.choice(self.group.actors)
        if not sock:
            return
        if other is self:
            self.ask("TCPTransfer", socket=sock.number, to=self.label)
            return
        self.world.granted[sock.number].add(other.name)
        self.ask("TCPTransfer", socket=sock.number, to=other.label)
        self.socks.remove(sock)
        body = self.ask("TCPSend", NOT_OWNER, socket=sock.number, data="late")[1]
        self.same(body.get("owner"), other.label, "the new owner")
        other.inbox.put((self.session, sock))

    def op_intrude(self):
        """On a socket of somebody else: refused, or it was given to this thread meanwhile."""
        group = self.group if self.chance.random() < 0.6 else self.chance.choice(self.world.groups)
        other = self.chance.choice(group.actors)
        socks = list(other.socks)
        if other is self or not socks:
            return
        number = self.chance.choice(socks).number
        method, params = self.chance.choice((("TCPGetMyPort", {}), ("TCPClose", {"option": 1}), ("TCPTransfer", {"to": "x"}),
                                             ("TCPReceive", {"timeout_ms": 0}), ("TCPBlock", {"option": 1}),
                                             ("TCPSend", {"data": "x"}), ("TCPOffer", {}), ("TCPClose", {"option": 2})))
        if self.name in self.world.granted[number] or group is self.group:
            method, params = "TCPGetMyPort", {}  # it does no harm should it be mine
        code, body = self.answer(self.send(method, socket=number, **params))
        mine = self.name in self.world.granted[number]
        if code == NOT_OWNER and (group is self.group or "owner" not in body):
            if "owner" in body and body["owner"] == self.label and not mine:
                raise Wrong(f"socket {number} is said to be mine")
        elif code != ENOTSOCK and not mine:
            raise Wrong(f"{method} on socket {number} of {other.name}: {code} {body}")

    def op_stale(self):
        if self.stale:
            method, params = self.chance.choice((("TCPSend", {"data": "x"}), ("TCPReceive", {}), ("TCPClose", {"option": 1}),
                                                 ("TCPClose", {}), ("TCPOffer", {}), ("TCPTransfer", {"to": 5}),
                                                 ("TCPAccept", {}), ("TCPGetMyAddr", {}), ("TCPListen", {})))
            self.ask(method, ENOTSOCK, socket=self.chance.choice(self.stale), **params)

    def op_ask_about(self):
        sock = self.usable()
        if not sock:
            return
        self.ask("TCPClose", BAD_CLOSE_OPTION, socket=sock.number, option=7)
        body = self.ask("TCPGetRemoteAddr", socket=sock.number)[1]
        self.same((body["address"], body["port"]), sock.remote, "the far end's address")
        self.ask("TCPGetMyPort", socket=sock.number)

    def op_offer(self):
        sock = self.pick(lambda sock: not sock.failed)
        if not sock:
            return
        timeout_ms = OFFER_MS if self.chance.random() < 0.85 else self.chance.randrange(1, 60)
        contested = self.chance.random() < 0.3
        sock.sure = False
        self.session.gives()
        session, asked = self.session, time.monotonic()
        code, body = self.ask("TCPOffer", OK, NOT_OWNER, ENOTSOCK, EINTR, socket=sock.number, timeout_ms=timeout_ms, keep=True)
        if code:
            if session.ended:
                raise Lost
            raise Wrong(f"TCPOffer: {code} {body}")
        offer = Offer(body["token"], sock, session, asked, time.monotonic(), timeout_ms / 1000, contested)
        session.offers()
        self.socks.remove(sock)
        if not session.ended and timeout_ms == OFFER_MS:
            try:
                self.same(self.ask("TCPSend", NOT_OWNER, socket=sock.number, data="late")[1].get("owner"), None,
                          "an owner of what is on offer")
            finally:
                self.publish(offer)
        else:
            self.publish(offer)
        if session.ended:
            raise Lost

    def publish(self, offer):
        with self.world.lock:
            self.world.pool += [offer] * offer.tries

    def again(self, offer):
        with self.world.lock:
            self.world.pool.append(offer)

    def op_claim(self):
        if len(self.socks) >= 6:
            return
        with self.world.lock:
            if not self.world.pool:
                return
            offer = self.world.pool.pop(self.chance.randrange(len(self.world.pool)))
        self.claim(offer)

    def claim(self, offer):
        session, asked = self.session, self.session.wants()
        self.world.granted[offer.sock.number].add(self.name)
        told = None
        try:
            id = self.send("TCPClaim", token=offer.token)
            if self.chance.random() < 0.15:
                told = self.send("Broker.Cancel", False, id=id)
            code, body = self.answer(id, keep=True)
        except Lost:
            offer.lost = True
            self.again(offer)
            raise
        answered = time.monotonic()
        if code not in (OK, BAD_TOKEN, EMFILE, *((EINTR,) if told or session.ended else ())):
            raise Wrong(f"TCPClaim: {code} {body}")
        if code == OK:
            offer.won(asked)
        elif code != BAD_TOKEN or offer.refused(asked, answered):
            self.again(offer)  # on offer still, for the same token
        if session.ended:
            if code == OK:
                self.drop(body["socket"])
            raise Lost
        if told:
            self.same(self.answer(told)[1], {"cancelled": code == EINTR}, "what Broker.Cancel says")
        if code:
            self.full(code, body, asked)
            return
        sock = offer.sock
        sock.sure = True
        self.same((body["socket"], body.get("remote_port"), "tls" in body),
                  (sock.number, sock.remote and sock.remote[1], sock.secure), "what was claimed")
        self.new(sock)

    # ---- the rest

    def op_list(self):
        rows = self.ask("Broker.List", labelled=False)[1]["sockets"]
        self.check_rows(rows)

    def op_look_up(self):
        method, params, name = self.chance.choice((("TCPName2Addr", {"hostname": "four.test"}, "address"),
                                                   ("TCPAddr2Name", {"address": "127.66.0.2"}, "hostname")))
        if self.chance.random() < 0.5:
            self.same(self.ask(method, labelled=False, **params)[1][name],
                      "127.0.0.1" if name == "address" else "stub.test", method)
            return
        id = self.send(method, False, **params)
        told = self.send("Broker.Cancel", False, id=id)
        code = self.answer(id)[0]
        self.same((self.answer(told)[1]["cancelled"], code in (OK, EINTR)), (code == EINTR, True), method)

    def op_session_set(self):
        body = self.ask("Session.Set", labelled=False, reset=True, lookup_timeout_ms=31000)[1]
        if body["lookup_timeout_ms"] != 31000 or "receive_timeout_ms" in body:
            raise Wrong(f"Session.Set: {body}")

    def op_wrong_token(self):
        # Session.Join of a shared connection would be refused for other reasons first
        self.ask("TCPClaim", BAD_TOKEN, token="o" + "%052x" % self.chance.getrandbits(208))

    def op_kill(self):
        """The connection dies. A durable session goes on, with what this thread has in it; another one ends."""
        if self.group.durable:
            sock = self.idle(lambda sock: not sock.non_blocking)
            what = self.chance.randrange(3)
            if what == 1 and sock:
                self.send("TCPReceive", socket=sock.number, exact=9)
            elif what == 2:
                # it may be done before the broker notices; the socket belongs to nobody then, and its limit shows it
                self.session.wants()
                self.send("TCPConnect", hostname="127.0.0.1", port=self.world.far.port("plain"))
            self.kill(self.client)
            self.join_session()
            if what == 1 and sock:
                end = time.monotonic() + SETTLE
                while self.ask("TCPReceive", BUSY, ETIMEDOUT, socket=sock.number, timeout_ms=0)[0] == BUSY:
                    if time.monotonic() > end:
                        raise Wrong("the receive of a dead connection runs on")
                self.say(sock, "cafe")
                self.same(self.ask("TCPReceive", socket=sock.number, exact=4, timeout_ms=int(seconds(20000)))[1]["data"],
                          "cafe", "after a dead connection")
                sock.pending.clear()
            return
        with self.group.lock:
            if self.session is not self.group.session:
                return
            self.session.ended = True
            self.kill(self.client)
            self.group.client = self.world.client()
            self.group.session = Session(id=self.group.client.call("Broker.Hello")["session"])
        raise Lost

    @staticmethod
    def kill(client):
        """Its descriptor lives on until the end: other threads may be about to use it."""
        try:
            client.sock.shutdown(2)
        except OSError:
            pass
        client.reader.join(seconds(20))
        client.ended = True

    def op_session_close(self):
        """All that the session has is gone; the connections stay."""
        if not self.group.durable:
            return
        with self.group.lock:
            if self.session is not self.group.session:
                return
            self.session.ended = True
            old = self.session
            self.same(self.ask("Session.Close", labelled=False, keep=True), (OK, {"status": 0}), "Session.Close")
            code, body = self.ask("Session.Open", labelled=False, keep=True, lease_ms=3600000)
            self.same((code, body["session"]), (OK, old.id), "the session opened again")
            if body["token"] == old.token:
                raise Wrong("a session that was closed has its old token again")
            self.group.session = Session(old.place, body["token"], old.id)
        raise Lost


WEIGHTS = (("op_connect", 12), ("op_connect_with_deadline", 2), ("op_connect_and_cancel", 3),
           ("op_connect_to_nobody", 1), ("op_listener", 4), ("op_next_step", 8), ("op_accept", 8),
           ("op_accept_and_cancel", 2), ("op_send", 30), ("op_receive", 30), ("op_receive_too_much", 4),
           ("op_receive_and", 8), ("op_block", 5), ("op_partial_close", 3), ("op_far_end_ends", 3),
           ("op_at_the_end", 2), ("op_far_end_resets", 2), ("op_failed", 5), ("op_close", 9), ("op_closed_by_an_administrator", 3),
           ("op_start_tls", 4), ("op_start_tls_again", 1), ("op_transfer", 10), ("op_intrude", 8),
           ("op_stale", 4), ("op_ask_about", 3), ("op_offer", 10), ("op_claim", 14), ("op_list", 3),
           ("op_look_up", 3), ("op_session_set", 1), ("op_wrong_token", 1), ("op_kill", 0.5),
           ("op_session_close", 0.3))


class Leases(threading.Thread):
    """Sessions that are left, and joined again in time or too late."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world = world
        self.chance = random.Random(f"{SEED}/leases")
        self.expired = 0

    def run(self):
        try:
            while not self.world.stop.is_set():
                self.turn()
        except BaseException as error:
            self.world.fail("leases", error)

    def turn(self):
        long = self.chance.random() < 0.5
        with Client(self.world.daemon, timeout=ANSWER) as client:
            token = client.call("Session.Open", [60000 if long else 30])["token"]
            numbers = [client.connect(self.world.far.port("plain"), thread=at) for at in range(self.chance.randrange(4))]
        with Client(self.world.daemon, timeout=ANSWER) as client:
            if long:
                rows = client.call("Session.Join", [token])["sockets"]
                if [(row["socket"], row.get("owner")) for row in rows] != list(zip(numbers, range(4))):
                    raise Wrong(f"joined {rows}, left {numbers}")
                client.call("Session.Close")
            else:
                def expired():
                    # no Join: that would prolong it
                    return all(client.answer(client.send("TCPGetMyPort", [number]))["error"]["code"] == ENOTSOCK
                               for number in numbers)
                wait_until(expired, what="the end of a lease")
                if numbers and client.error("Session.Join", [token]).code != BAD_TOKEN:
                    raise Wrong("a session could be joined after its lease")
                self.expired += 1


class Model(TestCase):
    DAEMON_OPTIONS = {"config": {"threads.io": 3, "limits.sockets_per_session": LIMIT, "io.close_timeout": "30s",
                                 "limits.connects_per_second": 0,
                                 "limits.requests": 1024}, "resolver": True}

    @classmethod
    def setUpClass(cls):
        cls.DAEMON_ARGS = ("--cacerts", certificates().cacerts)
        super().setUpClass()

    def test_model(self):
        print(f"\n  seed {SEED}", flush=True)
        self.client.call("Broker.Hello")
        before = self.daemon.n_sockets()
        with Far() as far:
            world = World(self.daemon, far)
            threads = [actor for group in world.groups for actor in group.actors] + [Leases(world)]
            for thread in threads:
                thread.start()
            world.stop.wait(SECONDS)
            world.stop.set()
            for thread in threads:
                thread.join(seconds(150))
                if thread.is_alive():
                    world.fail(f"thread {thread.name}", "it hangs", getattr(thread, "trace", ()))
            if world.failures:
                self.fail(f"seed {SEED} (TCPBROKER_SEED): {len(world.failures)} failed\n" + "\n".join(world.failures[:3]))
            self.end(world, threads[-1])
            wait_until(lambda: self.daemon.n_sockets() <= before, 20, f"{before} descriptors of sockets as before")
        print(f"  {sum(world.counts.values())} operations of {len(threads)} threads in {SECONDS:.0f} s", end="")
        if os.environ.get("TCPBROKER_MODEL_COUNTS"):
            print("\n  " + "\n  ".join(f"{count:7} {name}" for name, count in world.counts.most_common()))

    def end(self, world, leases):
        """What is on offer can be claimed; then nothing is left."""
        actor = world.groups[-1].actors[0]
        while world.pool:
            try:
                # in turn: a session that is full of its own offers can only take those
                actor.claim(world.pool.pop(0))
                while actor.socks:
                    actor.close_now(actor.socks[-1])
            except Lost:
                actor.enter()
            except Wrong as error:
                self.fail(f"seed {SEED}: {error}\n    " + "\n    ".join(actor.trace))
        for group in world.groups[:N_GROUPS // 2]:
            group.actors[0].client.call("Session.Close")
        for client in world.clients:
            client.close()
            self.assertEqual(client.strays, [])
        for name in ("sockets", "sessions_durable"):
            wait_until(lambda: self.client.call("Broker.Stats")[name] == 0, 20, f"no {name}")
        # an offer whose answer never arrived is closed by its deadline
        wait_until(lambda: self.client.call("Broker.Stats")["offers"] == 0, OFFER_MS / 1000 + 5, "no offers")
        stats = self.client.call("Broker.Stats")
        self.assertEqual(self.client.call("Broker.List")["sockets"], [])
        self.assertEqual((stats["clients"], stats["requests_running"], stats["lookups_running"]), (1, 1, 0))
        self.assertEqual(stats["lines_refused"], 0)
        self.assertGreaterEqual(stats["leases_expired"], leases.expired)
        for offer in re.findall(r"\bo[0-9a-f]{52}\b", self.daemon.log()):
            self.fail(f"a token stands in the log: {offer}")


if __name__ == "__main__":
    main()
