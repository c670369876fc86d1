"""Tunnels and SOCKS: a daemon with doors, and programs that come in by them.

DoorTestCase   a folder for sockets; start() runs a daemon that trusts the test CA; enter() connects to a door.
HttpServer     one page, with TLS when told so.
"""
import http.server
import os
import re
import shutil
import socket
import tempfile
import threading
import unittest

from ca import certificates
from harness import Daemon, seconds, wait_until

PAGE = b"all is well\n"


class HttpServer:
    """requests: the paths that were asked for."""

    def __init__(self, tls=None):
        requests = self.requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # noqa: N802
                requests.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", str(len(PAGE)))
                self.end_headers()
                self.wfile.write(PAGE)

            def log_message(self, *unused):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(seconds(5))
        return False


class DoorTestCase(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-doors-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        os.chmod(self.folder, 0o755)

    def path(self, name):
        return os.path.join(self.folder, name)

    def use(self, context):
        """Enter a context (a server) until the end of the test."""
        self.addCleanup(context.__exit__, None, None, None)
        return context.__enter__()

    @staticmethod
    def trusting(text="", drain="1s"):
        return (f"[tls]\ncacerts = {certificates().cacerts}\nsystem_store = no\n[stop]\ndrain_timeout = {drain}\n{text}")

    def tunnel(self, port, name="a", host="localhost", listen=None, **more):
        lines = "".join(f"{key} = {value}\n" for key, value in more.items())
        return f'[tunnel "{name}"]\nlisten = {listen or self.path(name)}\nconnect = {host}:{port}\n{lines}'

    def start(self, text="", *args, drain="1s", **kw):
        self.daemon = Daemon(*args, config=self.trusting(text, drain), **kw)
        self.daemon.__enter__()
        self.addCleanup(self.daemon.__exit__, None, None, None)
        return self.daemon

    def configure(self, text, drain="1s"):
        with open(os.path.join(self.daemon.folder, "tcpbroker.conf"), "w", encoding="utf-8") as file:
            file.write(self.trusting(text, drain))

    def reload(self, text):
        self.configure(text)
        with self.daemon.client() as client:
            return client.call("Broker.Reload")

    def reload_fails(self, text):
        self.configure(text)
        with self.daemon.client() as client:
            return client.error("Broker.Reload")

    def enter(self, where="a", timeout=10):
        """A connection to a door: the name of a Unix socket, or the port of 127.0.0.1, or (address, port)."""
        if isinstance(where, str):
            sock = socket.socket(socket.AF_UNIX)
            address = self.path(where)
        else:
            address = where if isinstance(where, tuple) else ("127.0.0.1", where)
            sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.addCleanup(sock.close)
        sock.settimeout(seconds(timeout))
        sock.connect(address)
        return sock

    def exchange(self, sock, data=b"hello\n"):
        """Send it, and have it back from an echo server."""
        sock.sendall(data)
        got = b""
        while len(got) < len(data):
            block = sock.recv(65536)
            self.assertTrue(block, "the connection has ended")
            got += block
        self.assertEqual(got, data)

    def gone(self, sock):
        """How a connection ends that has reached nobody: b"" or the name of the error."""
        try:
            return sock.recv(100)
        except ConnectionResetError:
            return "reset"

    def stats(self):
        with self.daemon.client() as client:
            return client.call("Broker.Stats")

    def rows(self):
        with self.daemon.client() as client:
            return client.call("Broker.List")["sockets"]

    def wait_stat(self, name, value):
        wait_until(lambda: self.stats()[name] == value, what=f"{name} being {value}, not {self.stats()[name]}")

    def count(self, pattern):
        return len(re.findall(pattern, self.daemon.log()))
