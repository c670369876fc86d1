"""What the tests of attached streams need.

Fds      one connection to the broker that receives descriptors and keeps them in the order of the answers.
TlsPeer  a TLS server's side of a connection that can half close, which Python's SSLSocket cannot.
"""
import collections
import json
import os
import select
import socket
import ssl
import time

from harness import DEFAULT_TIMEOUT, RpcError, path_of, seconds


class Fds:
    """ask() for one request at a time; send() and read() for many. Each answer with `fds` owns the next descriptors."""

    def __init__(self, target):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(seconds(DEFAULT_TIMEOUT))
        self.sock.connect(path_of(target))
        self.buffer = bytearray()
        self.fds = collections.deque()
        self.next_id = 1

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def send(self, method, params=None, id=None, **kw):
        if id is None:
            id = self.next_id
            self.next_id += 1
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params if params is not None else kw}
        self.sock.sendall(json.dumps(message).encode() + b"\n")
        return id

    def read(self):
        """The next answer and the sockets that came with it; a batch's are those of its members."""
        while b"\n" not in self.buffer:
            data, fds, flags, _ = socket.recv_fds(self.sock, 1 << 16, 16)
            assert not flags & socket.MSG_CTRUNC, "a descriptor was lost on the way"
            if not data:
                raise EOFError("the broker has closed the connection")
            self.fds.extend(fds)
            self.buffer += data
        line, _, rest = bytes(self.buffer).partition(b"\n")
        self.buffer = bytearray(rest)
        message = json.loads(line)
        count = sum(one.get("result", {}).get("fds", 0) for one in (message if isinstance(message, list) else [message]))
        return message, [stream_of(self.fds.popleft()) for _ in range(count)]

    def ask(self, method, params=None, **kw):
        """The result and the stream (None: there is none)."""
        id = self.send(method, params, **kw)
        message, streams = self.read()
        assert message["id"] == id, message
        if "error" in message:
            assert not streams
            raise RpcError(message["error"], method)
        return message["result"], streams[0] if streams else None

    def call(self, method, params=None, **kw):
        result, stream = self.ask(method, params, **kw)
        assert stream is None
        return result

    def error(self, method, params=None, **kw):
        try:
            result, stream = self.ask(method, params, **kw)
        except RpcError as error:
            return error
        if stream:
            stream.close()
        raise AssertionError(f"{method} {params or kw} succeeded: {result}")

    def attach(self, port, secure=False, host="127.0.0.1", **kw):
        """TCPConnect with attach."""
        return self.ask("TCPConnect", hostname="localhost" if secure else host, port=port, secure=secure, attach=True, **kw)

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()
        self.sock.close()


def stream_of(fd):
    stream = socket.socket(fileno=fd)
    assert stream.getblocking()
    stream.settimeout(seconds(DEFAULT_TIMEOUT))
    return stream


class TlsPeer:
    """After the handshake of a raw connection. One thread; with a deadline."""

    def __init__(self, connection, context):
        self.raw = connection
        self.raw.settimeout(seconds(DEFAULT_TIMEOUT))
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self._run(self.tls.do_handshake)

    def _flush(self):
        if self.outgoing.pending:
            self.raw.sendall(self.outgoing.read())

    def _run(self, function, *args):
        while True:
            try:
                result = function(*args)
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
                data = self.raw.recv(65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()

    def sendall(self, data):
        for at in range(0, len(data), 65536):
            self._run(self.tls.write, data[at:at + 65536])

    def recv(self, n):
        """b"" at close_notify; ssl.SSLEOFError at an end without it."""
        try:
            return self._run(self.tls.read, n)
        except ssl.SSLZeroReturnError:
            return b""

    def half_close(self):
        """close_notify, without FIN and without waiting for the other one."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self._flush()

    def silent(self, time_s=0.2):
        """Nothing, no end either, comes for a while?"""
        return not self.incoming.pending and not select.select([self.raw], [], [], time_s)[0]

    def raw_end(self):
        """Has the TCP connection ended, too?"""
        end = time.monotonic() + seconds(DEFAULT_TIMEOUT)
        while time.monotonic() < end:
            if not self.raw.recv(65536):
                return True
        return False

    def close(self):
        self.raw.close()
