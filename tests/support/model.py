"""What model_test knows about the broker: sockets, sessions and offers as they must be, and the far ends of connections.

Sock     one socket; whoever owns it knows all about it.
Session  the sockets of a session, counted from above: what a limit may be refused by.
Offer    a socket on offer: when a claim must succeed, when it must not.
Far      servers that echo, and do as they are told in band (STARTTLS, BYE, RST).
"""
import collections
import socket
import ssl
import threading
import time

import servers
from harness import seconds

LIMIT = 12  # sockets per session
SETTLE = seconds(3)  # after so long all that was asked for has reached every thread of the broker
LABELS = ("t0", 1, "t2", 3)


class Wrong(AssertionError):
    """An answer outside the model."""


class Sock:
    """kind: plain, tls12, tls13, unbound, bound, listening."""

    def __init__(self, number, kind, remote=None, hostname=True):
        self.number, self.kind, self.remote, self.hostname = number, kind, remote, hostname
        self.pending = bytearray()  # what the far end has echoed or will, not yet received
        self.non_blocking = False
        self.shut = False           # sending was ended
        self.told_bye = False       # the far end was told to end, or will because we did
        self.ended = False          # its end was received
        self.failed = 0             # the error that everything gives
        self.port = None
        self.waiting = collections.deque()  # listening: local ports of connections that wait
        self.sure = True            # False: in an operation whose end may stay unknown

    @property
    def stream(self):
        return self.kind in ("plain", "tls12", "tls13")

    @property
    def secure(self):
        return self.kind in ("tls12", "tls13")

    def states(self):
        """What Broker.List may say."""
        if self.failed:
            return ("failed",)
        if not self.stream:
            return (self.kind,)
        ended, opened = ("ended", "half_closed") if self.shut else ("peer_closed", "connected")
        return (ended,) if self.ended else (ended, opened) if self.told_bye else (opened,)


class Place:
    """A session of the broker: what of its sockets is on offer counts there, even after Session.Close."""

    def __init__(self):
        self.offered = 0
        self.born = time.monotonic()


class Session:
    """A session, or what of it lives between two Session.Close."""

    def __init__(self, place=None, token=None, id=None):
        self.place = place or Place()
        self.fresh = time.monotonic()
        self.token, self.id = token, id
        self.lock = threading.Lock()
        self.high = self.low = 0
        self.removed = collections.deque(maxlen=4000)
        self.ended = False

    def wants(self):
        with self.lock:
            self.high += 1
        return time.monotonic()

    def wanted_not(self):
        with self.lock:
            self.high -= 1

    def has(self):
        with self.lock:
            self.low += 1
            if self.low > LIMIT:
                raise Wrong(f"{self.low} sockets in a session of {LIMIT}")

    def gives(self):
        """Before it is asked to go."""
        with self.lock:
            self.low -= 1

    def gone(self):
        with self.lock:
            self.high -= 1
            self.removed.append(time.monotonic())

    def offers(self):
        with self.lock:
            self.high -= 1
            self.place.offered += 1

    def offer_ended(self):
        with self.lock:
            self.place.offered -= 1
            self.removed.append(time.monotonic())

    def may_be_full(self, since):
        """Could there have been LIMIT sockets? The one asked for at `since` is wanted no more."""
        with self.lock:
            if since - self.fresh < SETTLE or since - self.place.born < SETTLE:
                return True
            recent = sum(1 for when in self.removed if when >= since - SETTLE)
            return self.high + self.place.offered + recent >= LIMIT


class Offer:
    def __init__(self, token, sock, session, asked, answered, timeout, contested):
        self.token, self.sock, self.session = token, sock, session
        self.earliest, self.latest = asked + timeout, answered + timeout
        self.lock = threading.Lock()
        self.contested = contested
        self.tries = 2 if contested else 1
        self.winners = 0
        self.lost = False  # a claim's end is not known: it may have succeeded

    def won(self, asked):
        with self.lock:
            self.winners += 1
            if self.winners > 1:
                raise Wrong("two claims of one token succeeded")
            if self.lost:
                return
            if asked > self.latest + SETTLE:
                raise Wrong("a token was good long after its deadline")
        self.session.offer_ended()

    def refused(self, asked, answered):
        """BAD_TOKEN. Returns True when it is worth asking once more."""
        with self.lock:
            if self.winners or self.lost:
                return False
            if asked <= self.latest + SETTLE:
                if answered >= self.earliest:
                    return True
                if not self.contested:
                    raise Wrong("a good token was refused")
                self.tries -= 1
                if self.tries == 0:
                    raise Wrong("two claims of one token, and neither succeeded")
                return False
            self.lost = True  # expired for sure
        self.session.offer_ended()
        return False


class Far:
    """The far ends: ports of echo servers, and serve() for connections made by the test."""

    def __init__(self):
        self.contexts = {"tls12": servers.tls12(), "tls13": servers.tls13()}
        self.start_tls = self.contexts["tls13"]
        self.listeners = {"plain": servers.Server(self.echo),
                          "tls12": servers.Server(self.echo, tls=self.contexts["tls12"]),
                          "tls13": servers.Server(self.echo, tls=self.contexts["tls13"])}
        self.nothing = socket.socket()
        self.nothing.bind(("127.0.0.1", 0))
        self.dialled = []

    def port(self, kind):
        return self.nothing.getsockname()[1] if kind == "nothing" else self.listeners[kind].port

    def echo(self, connection):
        try:
            connection.settimeout(None)
            connection = self.talk(connection)
            if connection:
                self.part(connection)
        finally:
            if connection:
                connection.close()

    def talk(self, connection):
        """Until it is time to part: the connection, which may have become a secure one; None: it was reset."""
        line = b""
        while data := connection.recv(65536):
            line += data
            if line == b"STARTTLS\n":
                connection.sendall(b"GO\n")
                connection.settimeout(seconds(60))
                connection = self.start_tls.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
                connection.settimeout(None)
                line = b""
            elif line == b"BYE\n":
                break
            elif line == b"RST\n":
                servers.reset(connection)
                return None
            elif not any(word.startswith(line) for word in (b"STARTTLS\n", b"BYE\n", b"RST\n")):
                connection.sendall(line)
                line = b""
        return connection

    @staticmethod
    def part(connection):
        if isinstance(connection, ssl.SSLSocket):
            connection.settimeout(seconds(10))
            connection.unwrap().close()
        else:
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(seconds(60))
            while connection.recv(65536):
                pass

    def dial(self, port):
        """Connect to a listening socket of the broker; the far end echoes. Returns the local port."""
        connection = socket.create_connection(("127.0.0.1", port), seconds(20))
        local = connection.getsockname()[1]
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        return local

    def _serve(self, connection):
        try:
            self.echo(connection)
        except (OSError, ValueError):
            pass
        finally:
            connection.close()

    def __enter__(self):
        for listener in self.listeners.values():
            listener.__enter__()
        return self

    def __exit__(self, *unused):
        for listener in self.listeners.values():
            listener.__exit__()
        self.nothing.close()
        return False
