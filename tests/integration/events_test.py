#!/usr/bin/env python3
"""What is written down of a connection: whatever way it ends there is exactly one event and one line in the log, which say who,
where, how much and why; and who listens to events can lose some, but holds nobody up."""
import array
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from doors import DoorTestCase
from harness import Closed, Daemon, RpcError, OwnDaemonTestCase, Raw, config_text, daemon_path, main, seconds, wait_until

NOBODY = 65534
CLOSE, FAIL = "close", "fail"


class Watcher:
    """A connection that listens to events."""

    def __init__(self, daemon, **wish):
        self.raw = Raw(daemon)
        self.events = []
        answer = self.raw.ask({"jsonrpc": "2.0", "id": 1, "method": "Broker.Events", "params": wish})
        if "error" in answer:
            raise AssertionError(answer["error"])
        self.classes = answer["result"]["classes"]

    def read(self, timeout=10):
        message = self.raw.read(timeout)
        if message is None:
            raise Closed("the daemon closed the watcher's connection")
        if message.get("method") != "Broker.Event" or set(message) != {"jsonrpc", "method", "params"}:
            raise AssertionError(f"no event: {message}")
        self.events.append(message["params"])
        return message["params"]

    def until(self, condition, timeout=10):
        """Read until an event is of that kind; it is returned."""
        for event in self.events:
            if condition(event):
                return event
        end = time.monotonic() + seconds(timeout)
        while time.monotonic() < end:
            event = self.read(timeout)
            if condition(event):
                return event
        raise AssertionError(f"no such event among {self.events}")

    def barrier(self, client, mark):
        """All that the io thread of that client has told before is here."""
        client.error("TCPConnect", hostname="127.0.0.1", port=servers.closed_port(), trace=mark)
        self.until(lambda event: event.get("trace") == mark)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.raw.close()


def take_fd(daemon, line):
    """Ask for something that comes with a descriptor: (answer, socket)."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(seconds(10))
        sock.connect(daemon.socket_path)
        sock.sendall(json.dumps(line).encode() + b"\n")
        data, fds = b"", array.array("i")
        while not data.endswith(b"\n"):
            block, ancillary, _, _ = sock.recvmsg(65536, socket.CMSG_SPACE(4))
            assert block, data
            data += block
            for _, _, content in ancillary:
                fds.frombytes(content)
        stream = socket.socket(fileno=fds[0]) if fds else None
        if stream:
            stream.settimeout(seconds(10))
        return json.loads(data), stream


class Base(OwnDaemonTestCase):
    def start(self, *args, **config):
        config = {"threads.io": 1, "io.close_timeout": "300ms", **{k.replace("__", "."): v for k, v in config.items()}}
        self.daemon = self.use(Daemon("--cacerts", certificates().cacerts, *args, config=config, resolver=True))
        return self.daemon

    def client(self, name="tester"):
        client = self.open_client()
        client.call("Broker.Hello", client=name)
        return client

    def echo(self, client, number, data="hello\n"):
        client.call("TCPSend", socket=number, data=data)
        self.assertEqual(client.call("TCPReceive", socket=number, exact=len(data))["data"], data)

    def log_lines(self, pattern):
        return [line for line in self.daemon.log().splitlines() if re.search(pattern, line)]


class Ends(Base):
    """Each way a connection ends."""

    def run_case(self, act, expected, log_pattern=None):
        """act(client, trace) makes something happen; expected: for each event in turn what it must have."""
        with Watcher(self.daemon) as watcher:
            client = self.client()
            act(client)
            watcher.barrier(self.client("marker"), "the end of the case")
            events = [event for event in watcher.events if event.get("client") != "marker"]
        self.assertEqual([event["event"] for event in events], [wanted["event"] for wanted in expected], events)
        for event, wanted in zip(events, expected):
            self.assertEqual({key: event.get(key) for key in wanted}, wanted, event)
            self.assertRegex(event["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            self.assertEqual((event["uid"], event["pid"]), (os.getuid(), os.getpid()), event)
            if event["event"] == CLOSE:
                lines = self.log_lines(rf"socket {event['socket']} closed: ")
                self.assertEqual(len(lines), 1, lines)
                self.assertIn(f" ended {event['reason']}", lines[0])
                self.assertIn(f" session {event['session']} uid {os.getuid()} pid {os.getpid()}", lines[0])
                self.assertEqual("bytes_in" in event, " in " in lines[0])
                if "bytes_in" in event:
                    self.assertIn(f" in {event['bytes_in']} out {event['bytes_out']} ms ", lines[0])
        return events

    def closed(self, reason, n_in=6, n_out=6, kind="connect", **more):
        """Opened, and closed for that reason."""
        return [{"event": "open", "kind": kind},
                {"event": CLOSE, "kind": kind, "reason": reason, "bytes_in": n_in, "bytes_out": n_out, **more}]

    def test_of_connections(self):
        self.start(limits__sockets=100)
        server = self.use(servers.Server())
        peer = self.use(servers.Peer())

        def close(option):
            def act(client):
                number = client.connect(server.port, host="localhost", trace="a trace")
                self.echo(client, number)
                if option == 1:
                    client.call("TCPClose", [number, 1])
                    self.check_end(client.call("TCPReceive", [number]))
                client.call("TCPClose", [number, 0 if option == 1 else option])
            return act

        def peer_end(client):
            number = client.connect(peer.port)
            far = peer.take()
            client.call("TCPSend", [number, "hello\n"])
            servers.read_exactly(far, 6)
            far.sendall(b"bye")
            far.close()
            self.assertEqual(client.call("TCPReceive", [number])["data"], "bye")
            self.check_end(client.call("TCPReceive", [number]))
            client.call("TCPClose", [number])

        def peer_reset(client):
            number = client.connect(peer.port)
            far = peer.take()
            servers.reset(far)
            self.assertEqual(client.error("TCPReceive", [number]).symbol, "ECONNRESET")
            client.call("TCPClose", [number])

        def reset_and_gone(client):
            number = client.connect(peer.port)
            servers.reset(peer.take())
            self.assertEqual(client.error("TCPReceive", [number]).symbol, "ECONNRESET")
            client.close()
            wait_until(lambda: self.log_lines(f"socket {number} closed"), what="its end")

        def gone(client):
            number = client.connect(server.port)
            self.echo(client, number)
            client.close()
            wait_until(lambda: self.log_lines(f"socket {number} closed"), what="its end")

        def session_close(client):
            self.echo(client, client.connect(server.port))
            client.call("Session.Close")

        def lease(client):
            client.call("Session.Open", lease_ms=50)
            number = client.connect(server.port)
            self.echo(client, number)
            client.close()
            wait_until(lambda: self.log_lines(f"socket {number} closed"), what="its end")

        def offer(client):
            number = client.connect(server.port)
            self.echo(client, number)
            client.call("TCPOffer", socket=number, timeout_ms=50)
            wait_until(lambda: self.log_lines(f"socket {number} closed"), what="its end")

        def stuck(client):
            number = client.connect(peer.port)
            peer.take()
            client.call("TCPClose", [number])

        def given_up(client):
            number = client.connect(peer.port)
            peer.take()
            self.assertEqual(client.error("TCPClose", socket=number, timeout_ms=20).symbol, "ETIMEDOUT")

        def overtaken(client):
            number = client.connect(peer.port)
            peer.take()
            first = client.send("TCPClose", [number])
            client.call("TCPClose", [number, 2])
            self.assertIn("error", client.answer(first))

        for name, act, expected in [
                ("complete", close(0), self.closed("client_closed", trace="a trace", client="tester", hostname="localhost",
                                                   remote_address="127.0.0.1", remote_port=server.port)),
                ("partial", close(1), self.closed("client_closed")),
                ("abort", close(2), self.closed("client_aborted")),
                ("peer's end", peer_end, self.closed("peer_closed", 3, 6)),
                ("peer's reset", peer_reset, self.closed("peer_reset", 0, 0, message="Connection reset by peer")),
                ("reset, then the client is gone", reset_and_gone, self.closed("peer_reset", 0, 0)),
                ("the client is gone", gone, self.closed("session_ended")),
                ("Session.Close", session_close, self.closed("session_ended")),
                ("lease", lease, self.closed("lease_expired")),
                ("offer", offer, self.closed("offer_expired")),
                ("stuck", stuck, self.closed("timed_out", 0, 0)),
                ("given up", given_up, self.closed("client_aborted", 0, 0)),
                ("overtaken", overtaken, self.closed("client_aborted", 0, 0)),
        ]:
            with self.subTest(name):
                self.run_case(act, expected)

    def test_of_those_that_fail(self):
        self.start(connect__timeout="300ms")
        hole = self.use(servers.BlackHole())
        closed = servers.closed_port()
        unknown = self.use(servers.Server(tls=servers.tls_context("unknown-ca")))
        cut = self.use(servers.Server(servers.cut_handshake))

        def asks(**kw):
            return lambda client: client.error("TCPConnect", trace="x", **kw)

        def cancelled(client):
            id = client.send("TCPConnect", hostname="127.0.0.1", port=hole.port)
            self.assertTrue(client.call("Broker.Cancel", [id])["cancelled"])
            client.answer(id)

        def gone(client):
            client.send("TCPConnect", hostname="127.0.0.1", port=hole.port)
            client.call("Broker.Stats")
            client.close()
            wait_until(lambda: self.log_lines("the client has gone meanwhile"), what="its end")

        def failed(symbol, stage, **more):
            return [{"event": FAIL, "kind": "connect", "symbol": symbol, "stage": stage, "socket": None, **more}]

        for name, act, expected in [
                ("refused", asks(hostname="127.0.0.1", port=closed),
                 failed("ECONNREFUSED", "connect", code=-10061, trace="x", hostname="127.0.0.1", port=str(closed))),
                ("no such host", asks(hostname="no-such-host.invalid", port="https"),
                 failed("HOST_NOT_FOUND", "resolve", code=-11001, port="https")),
                ("look-up hangs", asks(hostname="hang-a.test", port=80), failed("ETIMEDOUT", "resolve", code=-10060)),
                ("nobody answers", asks(hostname="127.0.0.1", port=hole.port), failed("ETIMEDOUT", "connect", code=-10060)),
                ("certificate", asks(hostname="127.0.0.1", port=unknown.port, secure=True),
                 failed("TLS_VERIFY", "tls", code=-33010)),
                ("handshake", asks(hostname="127.0.0.1", port=cut.port, secure=True), failed("TLS_HANDSHAKE", "tls", code=-1031)),
                ("cancelled", cancelled, failed("EINTR", "broker", code=-10004)),
                ("the client is gone", gone, failed("EINTR", "broker")),
        ]:
            with self.subTest(name):
                before = len(self.log_lines(" failed: "))
                self.run_case(act, expected)
                lines = self.log_lines(" failed: ")[before:]
                self.assertEqual(len(lines), 2, lines)  # and that of the barrier
                self.assertRegex(lines[0], rf"connect failed: session \d+ uid {os.getuid()} pid {os.getpid()}: .* "
                                           rf'\[{expected[0]["symbol"]}\] stage {expected[0]["stage"]} ms \d+ client "tester"')
        self.assertEqual(self.log_lines(r"socket \d+ closed"), [])

    def test_of_what_is_denied(self):
        chain, key = certificates().pem("mutual")
        sets = {'rule "out".verdict': "deny", 'rule "out".ports': "5-6", 'rule "in".verdict': "deny",
                'rule "in".methods': "TCPListen TCPPing", 'identity "own".certificate': chain, 'identity "own".key': key,
                'identity "own".users': 4711}
        self.start(*(word for name, value in sets.items() for word in ("--set", f"{name}={value}")))
        server = self.use(servers.Server())
        numbers = {}

        def asks(method, **kw):
            return lambda client: client.error(method, {"port": server.port, "hostname": "localhost", **kw}
                                               if method == "TCPConnect" else kw)

        def listens(client):
            numbers["listen"] = client.call("TCPSocket")["socket"]
            client.call("TCPBind", [numbers["listen"], 0])
            client.error("TCPListen", [numbers["listen"]])

        def starts_tls(client):
            client.error("TCPStartTLS", socket=client.connect(server.port), identity="own", server_name="localhost")

        def denied(kind, **more):
            return {"event": "deny", "kind": kind, "symbol": "EACCES", "code": -10013, "stage": "policy", "socket": None, **more}

        opened = {"event": "open", "kind": "connect"}
        for name, act, what, expected in [
                ("by name", asks("TCPConnect", port=5, trace="x"), "connect", [denied("connect", hostname="localhost", port="5", trace="x")]),
                ("by address", asks("TCPConnect", hostname="127.0.0.1", port=6), "connect", [denied("connect", port="6")]),
                ("identity", asks("TCPConnect", secure=True, identity="own"), "connect", [denied("connect")]),
                ("listening", listens, "listen", [denied("listen")]),
                ("another method", asks("TCPPing", hostname="127.0.0.1"), "TCPPing", [denied(None)]),
                ("StartTLS", starts_tls, "TCPStartTLS", [opened, denied(None)]),
        ]:
            with self.subTest(name):
                before = len(self.log_lines(" denied: "))
                self.run_case(act, expected)
                lines = self.log_lines(" denied: ")[before:]
                if what in ("TCPPing", "TCPStartTLS"):  # what is no connect has one line in a second
                    self.assertEqual(lines, [])
                    continue
                self.assertEqual(len(lines), 1, lines)
                self.assertRegex(lines[0], rf" {what} denied: session \d+ uid {os.getuid()} pid {os.getpid()}: .* \[EACCES\] stage policy ms ")

    def test_a_flood_of_what_is_denied(self):
        """Each is an event; the log has a line a second, which counts the others."""
        self.start("--set", 'rule "p".verdict=deny', "--set", 'rule "p".methods=TCPPing TCPListen')
        n = 400
        with Watcher(self.daemon) as watcher:
            client = self.client()
            began = time.monotonic()
            for id in [client.send("TCPPing", hostname="127.0.0.1") for _ in range(n)]:
                client.answer(id)
            while sum(event["event"] == "deny" for event in watcher.events) < n:
                watcher.read()
        self.assertLessEqual(len(self.log_lines(" TCPPing denied: ")), 2 + int(time.monotonic() - began))

        def told():
            client.error("TCPPing", hostname="127.0.0.1")
            return self.log_lines(r" TCPPing denied: .* \(\d+ more since the last such line\)")
        wait_until(told, what="a line that counts", step=0.2)

    def test_a_flood_of_connects_that_are_denied(self):
        """By name, by address or for an identity: each has its line, as they are paced."""
        chain, key = certificates().pem("mutual")
        sets = {'rule "d".verdict': "deny", 'rule "d".ports': 5, 'identity "own".certificate': chain, 'identity "own".key': key,
                'identity "own".users': 4711}
        self.start(*(word for name, value in sets.items() for word in ("--set", f"{name}={value}")),
                   limits__connects_per_second=1, limits__connects_burst=6)
        client = self.client()
        for how in ({"hostname": "localhost", "port": 5}, {"hostname": "127.0.0.1", "port": 5},
                    {"hostname": "localhost", "port": 6, "secure": True, "identity": "own"}):
            with self.subTest(how):
                symbols = [client.error("TCPConnect", **how).data["symbol"] for _ in range(2)]
                self.assertEqual(symbols, ["EACCES"] * 2)
        began = time.monotonic()
        symbols = [client.error("TCPConnect", hostname="localhost", port=5).data["symbol"] for _ in range(200)]
        self.assertLessEqual(symbols.count("EACCES"), 2 + int(time.monotonic() - began))
        self.assertEqual(len(self.log_lines(" denied: ")), 6 + symbols.count("EACCES"))

    def test_tls(self):
        self.start()
        server = self.use(servers.Server(tls=servers.tls13()))
        peer = self.use(servers.Peer(tls=servers.tls13()))
        plain = self.use(servers.Server(servers.plain_answer))

        def close(client):
            number = client.connect(server.port, secure=True, host="localhost")
            self.echo(client, number)
            client.call("TCPClose", [number])

        def truncated(client):
            number = client.connect(peer.port, secure=True, host="localhost")
            os.close(peer.take().detach())
            self.assertEqual(client.error("TCPReceive", [number]).symbol, "TLS_IO")
            client.call("TCPClose", [number])

        def start_fails(client):
            number = client.connect(plain.port)
            client.error("TCPStartTLS", socket=number, server_name="localhost")
            client.call("TCPClose", [number])

        def unverified(client):
            number = client.connect(server.port, secure=True, verify=False)
            client.call("TCPClose", [number, 2])

        facts = {"tls": "TLSv1.3", "verified": True}
        events = self.run_case(close, self.closed("client_closed", **facts))
        self.assertGreater(events[0]["timing_us"]["handshake"], 0)
        events = self.run_case(truncated, self.closed("failed", 0, 0, **facts))
        self.assertIn("unexpected eof", events[1]["message"])
        events = self.run_case(start_fails, self.closed("failed", 0, 0))
        self.assertTrue(events[1]["message"])
        self.run_case(unverified, self.closed("client_aborted", 0, 0, verified=False))
        self.assertTrue(self.log_lines("tls TLSv1.3.* unverified in 0"))

    def test_serving(self):
        self.start()

        def listen(client):
            number = client.call("TCPSocket")["socket"]
            port = client.call("TCPBind", socket=number, port=0, address="127.0.0.1")["port"]
            client.call("TCPListen", [number])
            return number, port

        def accept(client):
            number, port = listen(client)
            with socket.create_connection(("127.0.0.1", port), seconds(5)) as far:
                taken = client.call("TCPAccept", [number])["socket"]
                far.sendall(b"hello\n")
                client.call("TCPReceive", socket=taken, exact=6)
                client.call("TCPSend", [taken, "bye"])
                servers.read_exactly(far, 3)
            self.check_end(client.call("TCPReceive", [taken]))
            client.call("TCPClose", [taken])
            client.call("TCPClose", [number])

        def unbound(client):
            number = client.call("TCPSocket")["socket"]
            client.call("TCPBind", [number, 0])
            client.call("TCPClose", [number])
            client.call("TCPClose", [client.call("TCPSocket")["socket"]])

        listening = [{"event": "listen", "kind": "listen", "local_address": "127.0.0.1"}]
        end = [{"event": CLOSE, "kind": "listen", "reason": "client_closed", "bytes_in": None}]
        self.run_case(accept, listening + self.closed("peer_closed", 6, 3, kind="accept", local_address="127.0.0.1") + end)
        self.run_case(unbound, [])

    def test_serving_tls(self):
        certificate, key = certificates().pem("good")
        self.daemon = self.use(Daemon("--cacerts", certificates().cacerts, config=config_text({"threads.io": 1}) +
                                      f'[identity "me"]\ncertificate = {certificate}\nkey = {key}\nusers = {os.getuid()}\n'))

        def listen(client):
            number = client.call("TCPSocket")["socket"]
            return number, client.call("TCPBind", [number, 0])["port"], client.call("TCPListen", [number])

        def garbage(client):
            number, port, _ = listen(client)
            with socket.create_connection(("127.0.0.1", port), seconds(5)) as far:
                far.sendall(b"this is no ClientHello at all\r\n")
                self.assertEqual(client.error("TCPAccept", socket=number, secure=True, identity="me").stage, "tls")

        def cancelled(client):
            number, port, _ = listen(client)
            with socket.create_connection(("127.0.0.1", port), seconds(5)):
                id = client.send("TCPAccept", socket=number, secure=True, identity="me")
                wait_until(lambda: "securing" in [row["state"] for row in client.call("Broker.List")["sockets"]], what="the handshake")
                client.call("Broker.Cancel", [id])
                client.answer(id)

        def good(client):
            number, port, _ = listen(client)
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            id = client.send("TCPAccept", socket=number, secure=True, identity="me")
            with socket.create_connection(("127.0.0.1", port), seconds(5)) as raw, context.wrap_socket(raw) as far:
                taken = client.wait(id)["socket"]
                far.sendall(b"hello\n")
                client.call("TCPReceive", socket=taken, exact=6)
                client.call("TCPClose", [taken, 2])

        listening = [{"event": "listen"}]
        self.run_case(garbage, listening + [{"event": FAIL, "kind": "accept", "stage": "tls", "symbol": "TLS_HANDSHAKE"}])
        self.run_case(cancelled, listening + [{"event": FAIL, "kind": "accept", "symbol": "EINTR"}])
        self.run_case(good, listening + self.closed("client_aborted", 6, 0, kind="accept", identity="me", tls="TLSv1.3"))
        self.assertEqual(len(self.log_lines("accept failed: ")), 2)

    def test_attached(self):
        self.start()
        server, peer = self.use(servers.Server()), self.use(servers.Peer(tls=servers.tls13()))

        def direct(client):
            answer, stream = take_fd(self.daemon, {"jsonrpc": "2.0", "id": 1, "method": "TCPConnect", "params": {
                "hostname": "127.0.0.1", "port": server.port, "attach": True}})
            with stream:
                self.assertTrue(answer["result"]["direct"])
                stream.sendall(b"hello")

        def relayed(how):
            def act(client):
                _, stream = take_fd(self.daemon, {"jsonrpc": "2.0", "id": 1, "method": "TCPConnect", "params": {
                    "hostname": "localhost", "port": peer.port, "attach": True, "secure": True}})
                far = peer.take()
                with stream:
                    stream.sendall(b"hello\n")
                    servers.read_exactly(far, 6)
                    far.sendall(b"bye")
                    servers.read_exactly(stream, 3)
                    how(stream, far)
                wait_until(lambda: not self.client().call("Broker.List")["sockets"], what="its end")
            return act

        def local_first(stream, far):
            stream.shutdown(socket.SHUT_WR)
            self.assertEqual(far.recv(1), b"")
            far.unwrap().close()

        def peer_first(stream, far):
            # close_notify, and then the end
            far.settimeout(seconds(5))
            threading.Thread(target=lambda: far.unwrap(), daemon=True).start()
            self.assertEqual(stream.recv(1), b"")
            stream.shutdown(socket.SHUT_WR)

        def local_gone(stream, far):
            stream.close()
            self.assertEqual(far.recv(1), b"")
            far.unwrap().close()

        def reset(stream, far):
            servers.reset(far)
            stream.recv(1)

        self.run_case(direct, [{"event": "open"}, {"event": CLOSE, "reason": "handed_out", "attached": "direct",
                                                   "bytes_in": None, "bytes_out": None}])
        for how, reason in [(local_first, "client_closed"), (peer_first, "peer_closed"), (local_gone, "client_closed"),
                            (reset, "peer_reset")]:
            with self.subTest(how.__name__):
                self.run_case(relayed(how), self.closed(reason, 3, 6, attached="relay"))

    def test_handed_over(self):
        """From one session and io thread to others: one open, one close, with the bytes of all."""
        self.start(threads__io=4)
        server = self.use(servers.Server())
        with Watcher(self.daemon) as watcher:
            clients = [self.client(f"client {i}") for i in range(5)]
            number = clients[0].connect(server.port)
            for i, client in enumerate(clients):
                self.echo(client, number)
                if i < 4:
                    token = client.call("TCPOffer", [number])["token"]
                    self.assertEqual(clients[i + 1].call("TCPClaim", [token])["socket"], number)
            clients[-1].call("TCPClose", [number])
            for i, client in enumerate(clients):
                watcher.barrier(client, f"mark {i}")
            found = [event for event in watcher.events if event.get("socket") == number]
        self.assertEqual([(event["event"], event["client"]) for event in found], [("open", "client 0"), (CLOSE, "client 4")])
        self.assertEqual((found[1]["bytes_in"], found[1]["bytes_out"], found[1]["reason"]), (30, 30, "client_closed"))
        self.assertEqual(len(self.log_lines(f"socket {number} closed")), 1)

    def test_pooled(self):
        server = self.use(servers.Server())
        config = config_text({"threads.io": 1}) + f'[pool "p"]\nconnect = localhost:{server.port}\nmin_idle = 1\n'
        self.daemon = self.use(Daemon(config=config))
        wait_until(lambda: self.client().call("Broker.Stats")["pool_idle"] == 1, what="a warm connection")

        def act(client):
            number = client.connect(server.port, host="localhost")
            self.echo(client, number)
            self.assertTrue(client.call("TCPClose", socket=number, reuse=True)["reused"])

        self.run_case(act, self.closed("pooled", pooled=True))

    def test_the_broker_stops(self):
        self.start(stop__drain_timeout="200ms")
        server, peer = self.use(servers.Server()), self.use(servers.Peer(tls=servers.tls13()))
        client = self.client()
        numbers = [client.connect(server.port) for _ in range(3)]
        listening = client.call("TCPSocket")["socket"]
        client.call("TCPBind", [listening, 0])
        client.call("TCPListen", [listening])
        offered = client.connect(server.port)
        client.call("TCPOffer", [offered])
        attached, stream = take_fd(self.daemon, {"jsonrpc": "2.0", "id": 1, "method": "TCPConnect", "params": {
            "hostname": "localhost", "port": peer.port, "attach": True, "secure": True}})
        with stream:
            client.send("TCPReceive", [numbers[0]])  # so that it drains
            self.daemon.terminate()
            self.assertEqual(self.daemon.wait_exit(), 0)
        for number in (*numbers, listening, offered, attached["result"]["socket"]):
            lines = self.log_lines(rf"socket {number} closed: ")
            self.assertEqual(len(lines), 1, (number, lines))
            self.assertIn(" ended stopped", lines[0])


class Doors(DoorTestCase):
    def test_of_tunnels_and_socks(self):
        server, secure = self.use(servers.Server()), self.use(servers.Server(tls=servers.tls13()))
        closed = servers.closed_port()
        door = servers.closed_port()
        self.start(self.tunnel(secure.port) + self.tunnel(closed, "b") + f"[socks]\nlisten = 127.0.0.1:{door}\n" +
                   "[threads]\nio = 1\n")
        with Watcher(self.daemon, all=True) as watcher, self.daemon.client() as client:  # who comes by TCP may be unknown
            for name in ("a", "s"):
                sock = self.enter(name if name == "a" else door)
                if name == "s":
                    sock.sendall(b"\5\1\0" + b"\5\1\0\3\x09localhost" + server.port.to_bytes(2, "big"))
                    servers.read_exactly(sock, 2 + 10)
                self.exchange(sock)
                sock.close()
                watcher.until(lambda event, n=name: event["event"] == CLOSE and
                              event["kind"] == {"a": "tunnel", "s": "socks"}[n])
            self.gone(self.enter("b"))
            watcher.barrier(client, "the end")
            found = [(event["event"], event["kind"], event.get("door"), event.get("reason"), event.get("bytes_in"),
                      event.get("bytes_out"), event.get("symbol")) for event in watcher.events[:-1]]
        self.assertEqual(found, [
            ("open", "tunnel", "tunnel a", None, None, None, None),
            (CLOSE, "tunnel", "tunnel a", "client_closed", 6, 6, None),
            ("open", "socks", "socks", None, None, None, None),
            (CLOSE, "socks", "socks", "client_closed", 6, 6, None),
            (FAIL, "tunnel", "tunnel b", None, None, None, "ECONNREFUSED"),
        ])


class Listening(Base):
    """Who may hear what, and how much of it."""

    def test_classes(self):
        self.start()
        server = self.use(servers.Server())
        client = self.client()
        with Watcher(self.daemon, classes=["close", "fail"]) as some, Watcher(self.daemon) as all_of_them:
            self.assertEqual(some.classes, ["close", "fail"])
            self.assertEqual(all_of_them.classes, ["open", "close", "fail", "deny", "listen", "limit"])
            client.call("TCPClose", [client.connect(server.port)])
            some.barrier(client, "mark")
            all_of_them.barrier(client, "other mark")
            self.assertEqual([event["event"] for event in some.events], ["close", "fail"])
            self.assertEqual([event["event"] for event in all_of_them.events], ["open", "close", "fail", "fail"])

    def test_never_unasked_and_off_again(self):
        self.start()
        server = self.use(servers.Server())
        client, raw = self.client(), self.open_raw()
        self.assertIn("result", raw.ask({"jsonrpc": "2.0", "id": 1, "method": "Broker.Hello"}))
        client.call("TCPClose", [client.connect(server.port)])
        self.assertTrue(raw.quiet())
        raw.ask({"jsonrpc": "2.0", "id": 2, "method": "Broker.Events"})
        off = raw.ask({"jsonrpc": "2.0", "id": 3, "method": "Broker.Events", "params": {"off": True}})
        self.assertEqual(off["result"], {"classes": []})
        client.call("TCPClose", [client.connect(server.port)])
        self.assertTrue(raw.quiet())

    def test_joining_a_session_ends_it(self):
        self.start()
        server = self.use(servers.Server())
        client = self.client()
        token = client.call("Session.Open", lease_ms=1000)["token"]
        with Watcher(self.daemon) as watcher:
            answer = watcher.raw.ask({"jsonrpc": "2.0", "id": 2, "method": "Session.Join", "params": [token]})
            self.assertIn("result", answer)
            client.call("TCPClose", [client.connect(server.port)])
            self.assertTrue(watcher.raw.quiet())

    def test_wrong_wishes(self):
        self.start()
        self.client = self.open_client()
        for params, member in [({"classes": ["open", "shut"]}, "classes"), ({"classes": []}, "classes"), ({"classes": "open"}, "classes"),
                               ({"off": True, "all": True}, "off"), ({"uid": 1, "all": True}, "uid"), ({"uid": -1}, "uid")]:
            with self.subTest(params):
                self.assertEqual(self.fails(-32602, "INVALID_PARAMS", "Broker.Events", params)["param"], member)
        for trace in ("", "x" * 65, "a\x07b", "\u00e4", "a\nb"):
            with self.subTest(trace=trace):
                self.assertEqual(self.fails(-32602, "INVALID_PARAMS", "TCPConnect", hostname="127.0.0.1", port=9,
                                            trace=trace)["param"], "trace")

    @unittest.skipIf(os.getuid() != 0, "needs root, to be somebody else too")
    def test_users(self):
        self.start(listen__mode="0666")
        os.chmod(self.daemon.folder, 0o755)
        server = self.use(servers.Server())
        mine = self.client("mine")
        os.seteuid(NOBODY)
        try:
            others = self.client("others")
            watcher = self.use(Watcher(self.daemon))
        finally:
            os.seteuid(0)
        self.assertEqual(others.call("Broker.Hello")["uid"], NOBODY)
        for wish in ({"all": True}, {"uid": 0}):
            self.check_error(others.error("Broker.Events", wish), -10013, "EACCES")
        with Watcher(self.daemon) as root, Watcher(self.daemon, all=True) as both, Watcher(self.daemon, uid=NOBODY) as one:
            for client in (mine, others):
                client.call("TCPClose", [client.connect(server.port)])
            for each, client in ((watcher, others), (root, mine), (both, mine), (one, others)):
                each.barrier(client, f"mark {id(each)}")
            seen = [sorted({event["client"] for event in each.events}) for each in (watcher, root, both, one)]
        self.assertEqual(seen, [["others"], ["mine"], ["mine", "others"], ["others"]])

    def test_limits_are_told_sparingly(self):
        self.start(limits__sockets_per_session=2)
        client = self.client()
        with Watcher(self.daemon, classes=["limit"]) as watcher:
            for _ in range(2):
                client.call("TCPSocket")
            for _ in range(500):
                client.error("TCPSocket")
            event = watcher.read()
            self.assertEqual((event["limit"], event["limit_value"], event["code"], event["symbol"], event["client"]),
                             ("limits.sockets_per_session", 2, -10024, "EMFILE", "tester"))

            def told():
                """Each second has one that counts those left out before it."""
                client.error("TCPSocket")
                while not watcher.raw.quiet(0.01):
                    watcher.read()
                return len(watcher.events) + sum(event.get("more", 0) for event in watcher.events) >= 500
            wait_until(told, 10, "the number of those left out", 0.1)
            self.assertLess(len(watcher.events), 250)

    def test_who_does_not_read(self):
        """Loses events, is told how many, and neither the daemon's memory nor anybody else feels it."""
        self.start(threads__io=2, limits__connects_per_second=0)
        reader, lazy = self.use(Watcher(self.daemon)), self.use(Watcher(self.daemon))
        port, n = servers.closed_port(), 6000
        before = self.daemon.rss_kib()
        counted = [0]

        def read():
            while counted[0] < n:
                counted[0] += reader.read(30)["event"] == FAIL
        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        clients = [self.client(f"client {i}") for i in range(4)]
        trace = "t" * 64
        for _ in range(n // 40):
            ids = [(client, client.send("TCPConnect", hostname="127.0.0.1", port=port, trace=trace))
                   for client in clients for _ in range(10)]
            for client, id in ids:
                self.assertIn("error", client.answer(id))
        thread.join(seconds(30))
        self.assertEqual(counted[0], n, [event for event in reader.events if event["event"] == "lost"])
        if not self.daemon.sanitized():
            self.assertLess(self.daemon.rss_kib() - before, 16384)
        told = lost = 0
        while told + lost < n:
            event = lazy.read()
            told += event["event"] == FAIL
            lost += event.get("lost", 0)
        self.assertEqual(told + lost, n)
        self.assertGreater(lost, n // 4)
        self.assertEqual(clients[0].call("Broker.Stats")["events_lost"], lost)
        self.assertGreater(told, 100)
        lazy.barrier(clients[0], "as before")

    def test_who_vanishes(self):
        self.start(threads__io=4)
        server = self.use(servers.Server())
        stop = threading.Event()

        def traffic(client):
            try:
                while not stop.is_set():
                    client.call("TCPClose", [client.connect(server.port)])
            except (Closed, OSError, RpcError):
                pass  # it was stopped
        threads_of = [self.client(f"client {i}") for i in range(4)]
        threads = [threading.Thread(target=traffic, args=(client,), daemon=True) for client in threads_of]
        for thread in threads:
            thread.start()
        for i in range(60):
            watcher = Watcher(self.daemon)
            self.assertGreaterEqual(threads_of[0].call("Broker.Stats")["event_listeners"], 1)
            if i % 3:
                watcher.read()
            if i % 2:
                watcher.raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            watcher.raw.close()
        wait_until(lambda: threads_of[0].call("Broker.Stats")["event_listeners"] == 0, what="nobody listening")
        with Watcher(self.daemon) as watcher:
            watcher.read()
            self.daemon.terminate()  # in the middle of it
            stop.set()
            self.assertEqual(self.daemon.wait_exit(), 0)
        for thread in threads:
            thread.join(seconds(10))

    # the threads of the test above end with the daemon's connections
    def _close_client(self, client):
        client.close()


class Log(Base):
    def test_which_connections(self):
        server, peer = self.use(servers.Server()), self.use(servers.Peer())
        for which, closed, failed, reset in [("all", 1, 1, 1), ("failed", 0, 1, 1), ("none", 0, 0, 0)]:
            with self.subTest(which):
                self.start(log__connections=which)
                client = self.client()
                client.call("TCPClose", [client.connect(server.port)])
                client.error("TCPConnect", ["127.0.0.1", servers.closed_port()])
                number = client.connect(peer.port)
                servers.reset(peer.take())
                client.error("TCPReceive", [number])
                client.call("TCPClose", [number])
                found = [len(self.log_lines(pattern)) for pattern in
                         ("ended client_closed", "connect failed: ", "ended peer_reset")]
                self.assertEqual(found, [closed, failed, reset])

    def test_no_line_can_be_forged_and_no_payload_is_in_it(self):
        self.start(log__level="debug")
        server = self.use(servers.Server())
        client = self.open_client()
        client.call("Broker.Hello", client='evil" ended x\ninfo socket 1 closed\u00e4' + "\u00fc" * 40)
        with Watcher(self.daemon) as watcher:
            number = client.connect(server.port, trace='a" ended administrator')
            self.echo(client, number, "the payload")
            client.call("TCPClose", [number])
            event = watcher.until(lambda event: event["event"] == CLOSE)
        self.assertEqual(event["trace"], 'a" ended administrator')
        self.assertTrue(event["client"].startswith('evil" ended x?info socket 1 closed\u00e4\u00fc'))
        self.assertLessEqual(len(event["client"].encode()), 64)
        line, = self.log_lines(rf" info socket {number} closed: ")
        self.assertIn("trace \"a' ended administrator\" ", line)
        self.assertNotIn("the payload", self.daemon.log() + json.dumps(watcher.events))

    def test_nothing_but_its_end(self):
        """One line of level info for a connection, and one for the client's."""
        self.start()
        server = self.use(servers.Server())
        client = self.client()
        before = len(self.daemon.log().splitlines())
        number = client.connect(server.port)
        token = client.call("TCPOffer", [number])["token"]
        client.call("TCPClaim", [token])
        client.call("TCPClose", [number])
        client.close()
        self.daemon.wait_log(r"session \d+ closed: .*tester")
        lines = self.daemon.log().splitlines()[before:]
        self.assertEqual([re.search(r"info (\S+) \d+ closed", line)[1] for line in lines], ["socket", "session"], lines)


class Command(Base):
    def command(self, *args, **kw):
        tool = os.path.join(os.path.dirname(daemon_path()), "..", "cli", "tcpbroker")
        return subprocess.Popen([tool, "--socket", self.daemon.socket_path, *args], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, **kw)

    def listening(self, n):
        """n commands have subscribed."""
        client = self.client()
        wait_until(lambda: client.call("Broker.Stats")["event_listeners"] >= n, what="the commands")

    def test_lines_and_objects(self):
        self.start()
        server = self.use(servers.Server())
        client = self.client()
        text, objects = self.command("events", "-f", "--count", "2"), self.command("--json", "events", "--class", "close,fail",
                                                                                  "--count", "2")
        found = {}

        def collect(name, process):
            found[name] = process.communicate(timeout=seconds(20))
        threads = [threading.Thread(target=collect, args=pair, daemon=True) for pair in (("text", text), ("objects", objects))]
        for thread in threads:
            thread.start()

        def both_ended():
            number = client.connect(server.port, trace="of the command")
            client.call("TCPClose", [number])
            return text.poll() is not None and objects.poll() is not None
        wait_until(both_ended, 20, "the end of both", 0.05)
        for thread in threads:
            thread.join(seconds(5))
        self.assertEqual((text.returncode, objects.returncode), (0, 0), found)
        lines = found["text"][0].splitlines()
        self.assertEqual(len(lines), 2)
        self.assertRegex(lines[0] + lines[1], rf'open   connect \d+ uid {os.getuid()} pid {os.getpid()} "tester" '
                                              rf'127\.0\.0\.1 port {server.port} \d+ ms trace "of the command"')
        events = [json.loads(line) for line in found["objects"][0].splitlines()]
        self.assertEqual([(event["event"], event["reason"]) for event in events], [(CLOSE, "client_closed")] * 2)

    def test_wrong_usage_and_no_daemon(self):
        self.start()
        for args, status, words in [(["--count", "0"], 2, "from 1 up"), (["--user", "no such user"], 2, "no user"),
                                    (["--class", "x"], 2, "open, close")]:
            with self.subTest(args):
                process = self.command("events", *args)
                _, error = process.communicate(timeout=seconds(20))
                self.assertEqual(process.returncode, status, error)
                self.assertIn(words, error)
        process = self.command("events")
        self.listening(1)
        self.daemon.terminate()
        _, error = process.communicate(timeout=seconds(20))
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("closed the connection", error)
        self.daemon.wait_exit()


if __name__ == "__main__":
    main()
