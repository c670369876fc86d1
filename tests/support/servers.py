"""Loopback servers for the tests: what a peer can do to a connection.

Server   runs a behaviour (a function of the connection) in a thread for each connection.
Peer     hands accepted connections to the test, which then plays the peer itself: peer.take().
BlackHole  a port that swallows SYNs: connects to it hang.
"""
import os
import queue
import socket
import ssl
import struct
import threading
import time

from ca import certificates
from harness import seconds


def tls_context(certificate="good", minimum=None, maximum=None, alpn=None, ciphers="DEFAULT:@SECLEVEL=0"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(ciphers)
    context.load_cert_chain(*certificates().pem(certificate))
    if minimum:
        context.minimum_version = minimum
    if maximum:
        context.maximum_version = maximum
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def tls12(certificate="good"):
    return tls_context(certificate, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)


def tls13(certificate="good"):
    return tls_context(certificate, ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)


def reset(connection):
    """Close with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(connection, ssl.SSLSocket):
        os.close(connection.detach())
    else:
        connection.close()


# ---- behaviours: what is done with one (plain or TLS) connection ------------------------------------------------

def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


def discard(connection):
    while connection.recv(1 << 20):
        pass


def silent(connection):
    """Says nothing, reads nothing, until the connection is taken away from it."""
    threading.Event().wait(seconds(120))


def slow_reader(connection):
    """Takes 64 KiB each 2 ms."""
    while connection.recv(65536):
        time.sleep(0.002)


def chatter(connection):
    """Sends without end."""
    block = bytes(range(32, 127)) * 100
    while True:
        connection.sendall(block)


def closer(connection):
    """Closes at once."""


def resetter(connection):
    reset(connection)


def banner(text):
    def say(connection):
        connection.sendall(text)
        while connection.recv(65536):
            pass
    return say


# ---- behaviours instead of a TLS handshake (on the plain connection) ---------------------------------------------

def stall_handshake(connection):
    silent(connection)


def plain_answer(connection):
    connection.recv(4096)
    connection.sendall(b"220 mail.example ESMTP speaks no TLS here\r\n")
    connection.recv(4096)


def cut_handshake(connection):
    """The peer's end after the ClientHello."""
    connection.recv(4096)
    connection.shutdown(socket.SHUT_WR)
    connection.recv(4096)


def reset_handshake(connection):
    connection.recv(4096)
    reset(connection)


def alert_handshake(connection):
    """A fatal handshake_failure (40) alert (RFC 5246 section 7.2)."""
    connection.recv(4096)
    connection.sendall(bytes([21, 3, 3, 0, 2, 2, 40]))
    connection.recv(4096)


class Listener:
    """Binds a loopback address; subclasses say what happens to a connection."""

    def __init__(self, address="127.0.0.1", backlog=1024, port=0):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.sock.bind((address, port))
        self.sock.listen(backlog)
        self.address = address
        self.port = self.sock.getsockname()[1]
        self.lock = threading.Lock()
        self.connections = set()
        self.accepted = 0
        self.stopped = False
        self.thread = None

    def __enter__(self):
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()
        return self

    def _accept(self):
        while True:
            try:
                connection, _ = self.sock.accept()
            except OSError:
                return
            with self.lock:
                if self.stopped:
                    connection.close()
                    return
                self.accepted += 1
                self.connections.add(connection)
            self.on_connection(connection)

    def on_connection(self, connection):
        raise NotImplementedError

    def forget(self, connection):
        with self.lock:
            self.connections.discard(connection)

    def __exit__(self, *unused):
        with self.lock:
            self.stopped = True
            connections = list(self.connections)
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            try:
                connection.close()
            except OSError:
                pass
        if self.thread:
            self.thread.join(seconds(5))
        return False


class Server(Listener):
    """tls: an SSLContext. Counts: accepted, handshakes, handshake_errors; names: what came as SNI."""

    def __init__(self, behaviour=echo, tls=None, **kw):
        super().__init__(**kw)
        self.behaviour = behaviour
        self.tls = tls
        self.handshakes = 0
        self.handshake_errors = []
        self.names = []
        if tls:
            tls.sni_callback = self._sni

    def _sni(self, connection, name, context):
        self.names.append(name)

    def on_connection(self, connection):
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, raw):
        connection = raw
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                raw.settimeout(seconds(60))
                try:
                    connection = self.tls.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False)
                except (OSError, ssl.SSLError) as error:
                    self.handshake_errors.append(error)
                    raise
                with self.lock:
                    self.handshakes += 1
                    self.connections.add(connection)
                connection.settimeout(None)
            self.behaviour(connection)
            if self.tls and connection.fileno() >= 0:
                connection.settimeout(seconds(5))
                connection.unwrap()
        except (OSError, ValueError):
            pass
        finally:
            self.forget(raw)
            self.forget(connection)
            for one in (connection, raw):
                try:
                    one.close()
                except OSError:
                    pass


class Peer(Listener):
    """take() gives the next connection; with tls, after its handshake."""

    def __init__(self, tls=None, **kw):
        super().__init__(**kw)
        self.tls = tls
        self.queue = queue.SimpleQueue()

    def on_connection(self, connection):
        if not self.tls:
            self.queue.put(connection)
        else:
            threading.Thread(target=self._handshake, args=(connection,), daemon=True).start()

    def _handshake(self, raw):
        try:
            raw.settimeout(seconds(10))
            connection = self.tls.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False)
            with self.lock:
                self.connections.add(connection)
            self.queue.put(connection)
        except (OSError, ValueError) as error:
            self.queue.put(error)

    def take(self, timeout=10):
        connection = self.queue.get(timeout=seconds(timeout))
        if isinstance(connection, Exception):
            raise connection
        connection.settimeout(seconds(timeout))
        return connection

    def nobody(self):
        """Whether none came before the last that was taken but those that were."""
        return self.queue.empty()


class BlackHole:
    """A listening port whose accept queue is full: further SYNs are dropped, connects hang."""

    def __init__(self, address="127.0.0.1"):
        self.address = address
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.family = family
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.bind((address, 0))
        self.sock.listen(0)
        self.port = self.sock.getsockname()[1]
        self.fillers = []

    def __enter__(self):
        hung = 0
        while hung < 2:
            filler = socket.socket(self.family, socket.SOCK_STREAM)
            filler.settimeout(0.1)
            self.fillers.append(filler)
            try:
                filler.connect(self.sock.getsockname()[:2])
                hung = 0
            except TimeoutError:
                hung += 1
            if len(self.fillers) > 64:
                raise RuntimeError("the accept queue never gets full")
        return self

    def __exit__(self, *unused):
        for filler in self.fillers:
            filler.close()
        self.sock.close()
        return False


def closed_port(address="127.0.0.1"):
    """A port where nothing listens (just now)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def read_to_end(connection, limit=None):
    """All bytes until the orderly end."""
    data = bytearray()
    while block := connection.recv(65536):
        data += block
        if limit and len(data) >= limit:
            break
    return bytes(data)


def read_exactly(connection, n):
    data = bytearray()
    while len(data) < n:
        block = connection.recv(min(1 << 20, n - len(data)))
        if not block:
            raise AssertionError(f"the stream ended after {len(data)} of {n} bytes")
        data += block
    return bytes(data)
