#!/usr/bin/env python3
"""TCPAttach and TCPConnect with attach: who gets the descriptor, what becomes of the number, and how a stream ends."""
import array
import json
import os
import resource
import select
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import servers  # noqa: E402
from attached import Fds, TlsPeer  # noqa: E402
from ca import certificates  # noqa: E402
from harness import (Daemon, OwnDaemonTestCase, RpcError, TestCase, main, seconds, wait_until)  # noqa: E402

TRUST = ("--cacerts", certificates().cacerts)


class Attach(TestCase):
    DAEMON_ARGS = TRUST
    DAEMON_OPTIONS = {"config": {"io.close_timeout": "600ms"}}

    def setUp(self):
        super().setUp()
        self.fds = Fds(self.daemon)
        self.addCleanup(self.fds.close)

    def streams(self, *streams):
        for stream in streams:
            self.addCleanup(stream.close)
        return streams[0] if len(streams) == 1 else streams

    def tls_pair(self, version="1.3", fds=None, **kw):
        """An attached TLS stream, its number, its peer."""
        context = servers.tls13() if version == "1.3" else servers.tls12()
        server = self.use(servers.Peer())
        fds = fds or self.fds
        found = []
        accepting = threading.Thread(target=lambda: found.append(TlsPeer(server.take(), context)))
        accepting.start()
        result, stream = fds.attach(server.port, secure=True, **kw)
        accepting.join()
        self.assertEqual((result["fds"], result["direct"]), (1, False), result)
        self.assertEqual(result["tls"]["version"], "TLSv" + version)
        return self.streams(stream), result["socket"], self.streams(found[0])

    def plain_pair(self):
        """A plain stream of which something was read ahead, so that it is relayed."""
        server = self.use(servers.Peer())
        number = self.fds.call("TCPConnect", ["127.0.0.1", server.port])["socket"]
        peer = self.streams(server.take())
        peer.sendall(b"ahead")
        wait_until(lambda: self.row(number)["bytes_in"] == 5, what="reading ahead")
        result, stream = self.fds.ask("TCPAttach", [number])
        self.assertEqual(result, {"fds": 1, "direct": False})
        self.assertEqual(servers.read_exactly(stream, 5), b"ahead")
        return self.streams(stream), number, peer

    def rows(self):
        return {row["socket"]: row for row in self.client.call("Broker.List")["sockets"]}

    def row(self, number):
        return self.rows().get(number)

    def gone(self, number):
        wait_until(lambda: self.row(number) is None, what=f"the end of {number}")
        self.fails_on(self.fds, -10038, "ENOTSOCK", "TCPReceive", [number])

    def fails_on(self, fds, code, symbol, method, params=None, **kw):
        return self.check_error(fds.error(method, params, **kw), code, symbol)

    def settled(self):
        """The broker's sockets once all other tests' clients are gone."""
        wait_until(lambda: self.client.call("Broker.Stats")["clients"] == 2, what="two clients")
        wait_until(lambda: len(self.rows()) <= 1, what="one socket")
        return self.daemon.n_sockets()

    def fill(self, stream):
        """Send until nobody takes any more; returns what was taken."""
        sent = bytearray()
        block = os.urandom(1 << 20)
        while select.select([], [stream], [], 0.3)[1]:
            sent += block[:stream.send(block, socket.MSG_DONTWAIT)]
        return sent

    # ---- what is handed out ----

    def test_plain_is_the_connection_itself(self):
        server = self.use(servers.Peer())
        number = self.fds.call("TCPConnect", ["127.0.0.1", server.port])["socket"]
        peer = server.take()
        n_sockets = self.settled()
        result, stream = self.fds.ask("TCPAttach", [number])
        self.assertEqual(result, {"fds": 1, "direct": True})
        self.assertEqual(stream.family, socket.AF_INET)
        self.assertEqual(stream.getpeername(), ("127.0.0.1", server.port))
        wait_until(lambda: self.daemon.n_sockets() == n_sockets - 1, what="the broker keeping nothing of it")
        self.fails_on(self.fds, -10038, "ENOTSOCK", "TCPClose", [number])
        self.assertIsNone(self.row(number))
        stream.sendall(b"there")
        self.assertEqual(servers.read_exactly(peer, 5), b"there")
        peer.sendall(b"back")
        self.assertEqual(servers.read_exactly(stream, 4), b"back")
        self.fds.close()
        stream.sendall(b"the session is gone")
        self.assertEqual(servers.read_exactly(peer, 19), b"the session is gone")
        stream.close()
        self.assertEqual(peer.recv(1), b"")

    def test_connect_with_attach(self):
        server = self.use(servers.Server())
        result, stream = self.fds.attach(server.port)
        self.streams(stream)
        self.assertEqual((result["fds"], result["direct"]), (1, True))
        self.assertNotIn("socket", result)
        self.assertEqual((result["remote_address"], result["remote_port"]), ("127.0.0.1", server.port))
        self.assertEqual(stream.getsockname()[1], result["local_port"])
        stream.sendall(b"hello")
        self.assertEqual(servers.read_exactly(stream, 5), b"hello")
        self.assertEqual(self.fds.call("TCPConnect", ["127.0.0.1", server.port]).keys() & {"fds", "direct"}, set())

    def test_connect_with_attach_that_fails(self):
        port = servers.closed_port()
        self.fails_on(self.fds, -10061, "ECONNREFUSED", "TCPConnect", hostname="127.0.0.1", port=port, attach=True)
        self.assertEqual(self.fds.call("Broker.List")["sockets"], [])

    def test_secure_is_relayed(self):
        stream, number, peer = self.tls_pair()
        self.assertEqual(stream.family, socket.AF_UNIX)
        self.assertEqual(self.row(number)["state"], "attached")
        stream.sendall(b"there")
        self.assertEqual(peer.recv(100), b"there")
        peer.sendall(b"back")
        self.assertEqual(stream.recv(100), b"back")
        row = self.row(number)
        self.assertEqual((row["bytes_out"], row["bytes_in"], row["secure"]), (5, 4, True))
        stream.close()
        self.assertEqual(peer.recv(1), b"")
        peer.half_close()
        peer.close()
        self.gone(number)

    def test_attached_is_told(self):
        stream, number, peer = self.tls_pair()

        def refused():
            for method, params in (("TCPSend", [number, "x"]), ("TCPReceive", [number]), ("TCPClose", [number]),
                                   ("TCPClose", [number, 1]), ("TCPClose", [number, 2]), ("TCPAttach", [number]),
                                   ("TCPStartTLS", [number]), ("TCPTransfer", [number, "t"]), ("TCPOffer", [number])):
                with self.subTest(method=method, params=params):
                    self.fails_on(self.fds, -33003, "ATTACHED", method, params)
        refused()
        stream.sendall(b"still there")
        self.assertEqual(peer.recv(100), b"still there")
        self.assertTrue(self.fds.call("TCPGetRemoteAddr", [number])["port"])
        # with the descriptor closed it is closing, and no request may interfere
        stream.close()
        self.assertEqual(peer.recv(1), b"")
        wait_until(lambda: self.row(number)["state"] == "closing", what="closing")
        refused()
        self.gone(number)  # by close_timeout

    def test_what_was_read_ahead_comes_first(self):
        for secure in (False, True):
            with self.subTest(secure=secure):
                server = self.use(servers.Server(servers.banner(b"220 hello\r\n" * 20000),
                                                 tls=servers.tls_context() if secure else None))
                number = self.fds.call("TCPConnect", ["localhost", server.port, secure])["socket"]
                wait_until(lambda: self.row(number)["bytes_in"] > 0, what="reading ahead")
                self.assertEqual(self.fds.call("TCPReceive", socket=number, exact=5)["data"], "220 h")
                result, stream = self.fds.ask("TCPAttach", [number])
                self.streams(stream)
                self.assertFalse(result["direct"])
                self.assertEqual(servers.read_exactly(stream, 220000 - 5), (b"220 hello\r\n" * 20000)[5:])
                stream.close()
                self.gone(number)

    def test_after_its_end_was_read(self):
        for rest in (b"", b"all there is"):
            with self.subTest(rest=rest):
                server = self.use(servers.Peer())
                number = self.fds.call("TCPConnect", ["127.0.0.1", server.port])["socket"]
                peer = self.streams(server.take())
                peer.sendall(rest)
                peer.shutdown(socket.SHUT_WR)
                wait_until(lambda: self.row(number)["state"] == "peer_closed", what="the end")
                result, stream = self.fds.ask("TCPAttach", [number])
                self.streams(stream)
                self.assertFalse(result["direct"])
                self.assertEqual(servers.read_to_end(stream), rest)
                stream.sendall(b"but we go on")
                self.assertEqual(servers.read_exactly(peer, 12), b"but we go on")
                self.assertEqual(self.row(number)["state"], "attached")
                stream.shutdown(socket.SHUT_WR)
                self.assertEqual(peer.recv(1), b"")
                self.gone(number)

    def test_after_a_half_close(self):
        server = self.use(servers.Peer())
        for relayed in (False, True):
            with self.subTest(relayed=relayed):
                number = self.fds.call("TCPConnect", ["127.0.0.1", server.port])["socket"]
                peer = self.streams(server.take())
                if relayed:
                    peer.sendall(b"x")
                    wait_until(lambda: self.row(number)["bytes_in"] == 1, what="reading ahead")
                self.fds.call("TCPClose", [number, 1])
                result, stream = self.fds.ask("TCPAttach", [number])
                self.streams(stream)
                self.assertEqual(result["direct"], not relayed)
                with self.assertRaises(BrokenPipeError):
                    stream.sendall(b"no more")
                peer.sendall(b"more")
                self.assertEqual(servers.read_exactly(stream, 5 if relayed else 4), b"xmore" if relayed else b"more")
                peer.close()
                self.assertEqual(stream.recv(1), b"")
                if relayed:
                    self.gone(number)

    # ---- refused ----

    def test_not_a_connection(self):
        number = self.fds.call("TCPSocket")["socket"]
        self.fails_on(self.fds, -10057, "ENOTCONN", "TCPAttach", [number])
        self.fds.call("TCPBind", socket=number, port=0, address="127.0.0.1")
        self.fds.call("TCPListen", [number])
        self.fails_on(self.fds, -10057, "ENOTCONN", "TCPAttach", [number])
        self.fds.call("TCPClose", [number])
        self.fails_on(self.fds, -10038, "ENOTSOCK", "TCPAttach", [number])

    def test_owner(self):
        server = self.use(servers.Server())
        number = self.fds.call("TCPConnect", hostname="127.0.0.1", port=server.port, thread="a")["socket"]
        self.assertEqual(self.fails_on(self.fds, -33001, "NOT_OWNER", "TCPAttach", [number])["owner"], "a")
        self.fails_on(self.fds, -33001, "NOT_OWNER", "TCPAttach", socket=number, thread="b")
        with Fds(self.daemon) as other:
            self.fails_on(other, -33001, "NOT_OWNER", "TCPAttach", socket=number, thread="a")
        result, stream = self.fds.ask("TCPAttach", socket=number, thread="a")
        self.streams(stream)
        stream, number, _ = self.tls_pair(thread="a")
        self.fails_on(self.fds, -33001, "NOT_OWNER", "TCPReceive", [number])
        self.fails_on(self.fds, -33003, "ATTACHED", "TCPReceive", socket=number, thread="a")

    def test_busy(self):
        server = self.use(servers.Peer())
        for secure in (False, True):
            server = self.use(servers.Server(servers.silent, tls=servers.tls_context() if secure else None))
            number = self.client.connect(server.port, host="localhost", secure=secure)
            receiving = self.client.send("TCPReceive", [number])
            self.check_error(self.client.error("TCPAttach", [number]), -33002, "BUSY")
            self.client.call("Broker.Cancel", [receiving])
            self.assertEqual(self.client.answer(receiving)["error"]["code"], -10004)
            sends = [self.client.send("TCPSend", [number, "x" * 900000]) for _ in range(16)]
            self.check_error(self.client.error("TCPAttach", [number]), -33002, "BUSY")
            self.client.call("TCPClose", [number, 2])
            for id in sends:
                self.client.answer(id)

    def test_failed(self):
        server = self.use(servers.Peer())
        number = self.fds.call("TCPConnect", ["127.0.0.1", server.port])["socket"]
        servers.reset(server.take())
        wait_until(lambda: self.row(number)["state"] == "failed", what="the reset")
        self.fails_on(self.fds, -10054, "ECONNRESET", "TCPAttach", [number])

    def test_batches_and_notifications(self):
        server = self.use(servers.Server())
        stray = {"jsonrpc": "2.0", "method": "TCPAttach"}
        number = self.fds.call("TCPConnect", ["127.0.0.1", server.port])["socket"]
        attach = stray | {"id": 77, "params": [number]}

        def batch(*members):
            self.fds.sock.sendall(json.dumps(members).encode() + b"\n")
            return self.fds.read()
        answers, streams = batch(attach, {"jsonrpc": "2.0", "id": 78, "method": "Broker.Hello"})
        self.assertEqual(streams, [])
        self.check_error([one for one in answers if one["id"] == 77][0]["error"], -32600, "INVALID_REQUEST")
        answers, streams = batch({"jsonrpc": "2.0", "id": 1, "method": "Broker.Hello"}, {
            "jsonrpc": "2.0", "id": 2, "method": "TCPConnect",
            "params": {"hostname": "127.0.0.1", "port": server.port, "attach": True}})
        self.assertEqual(streams, [])
        self.check_error([one for one in answers if one["id"] == 2][0]["error"], -32600, "INVALID_REQUEST")
        # a notification does nothing
        self.fds.sock.sendall(json.dumps(stray | {"params": [number]}).encode() + b"\n")
        self.fds.sock.sendall(json.dumps(stray | {"method": "TCPConnect", "params": {
            "hostname": "127.0.0.1", "port": server.port, "attach": True}}).encode() + b"\n")
        self.assertEqual(self.fds.call("TCPSend", [number, "x"])["sent"], 1)
        # alone it works, and there is just one line
        self.assertEqual(self.fds.call("TCPReceive", [number])["data"], "x")
        answers, streams = batch(attach)
        self.assertEqual(answers, [{"jsonrpc": "2.0", "id": 77, "result": {"fds": 1, "direct": True}}])
        self.streams(*streams).sendall(b"echo")
        self.assertEqual(servers.read_exactly(streams[0], 4), b"echo")

    # ---- the end ----

    def test_local_half_close_tls13(self):
        stream, number, peer = self.tls_pair()
        stream.sendall(b"request")
        stream.shutdown(socket.SHUT_WR)
        self.assertEqual(peer.recv(100), b"request")
        self.assertEqual(peer.recv(100), b"")
        self.assertTrue(peer.silent(), "close_notify, but no FIN: what the peer says is still to come")
        peer.sendall(b"answer" * 50000)
        peer.half_close()
        self.assertEqual(servers.read_to_end(stream), b"answer" * 50000)
        self.assertTrue(peer.raw_end())
        self.gone(number)

    def test_local_half_close_tls12(self):
        stream, number, peer = self.tls_pair("1.2")
        stream.sendall(b"request")
        stream.shutdown(socket.SHUT_WR)
        self.assertEqual(peer.recv(100), b"request")
        self.assertEqual(peer.recv(100), b"")
        self.assertTrue(peer.raw_end(), "close_notify, then FIN")
        peer.sendall(b"answer" * 50000)
        peer.half_close()
        self.assertEqual(servers.read_to_end(stream), b"answer" * 50000)
        self.gone(number)

    def test_local_half_close_plain(self):
        stream, number, peer = self.plain_pair()
        stream.sendall(b"request")
        stream.shutdown(socket.SHUT_WR)
        self.assertEqual(servers.read_to_end(peer), b"request")
        peer.sendall(b"answer" * 50000)
        peer.shutdown(socket.SHUT_WR)
        self.assertEqual(servers.read_to_end(stream), b"answer" * 50000)
        self.gone(number)

    def test_peer_half_close(self):
        for version in ("1.3", "1.2", "plain"):
            with self.subTest(version=version):
                stream, number, peer = self.plain_pair() if version == "plain" else self.tls_pair(version)
                peer.sendall(b"all there is")
                if version == "plain":
                    peer.shutdown(socket.SHUT_WR)
                else:
                    peer.half_close()
                self.assertEqual(servers.read_to_end(stream), b"all there is")
                self.assertEqual(self.row(number)["state"], "attached")
                stream.sendall(b"answer" * 50000)
                stream.shutdown(socket.SHUT_WR)
                self.assertEqual(servers.read_to_end(peer), b"answer" * 50000)
                self.gone(number)

    def test_both_half_close_at_once(self):
        for version in ("1.3", "1.2", "plain"):
            with self.subTest(version=version):
                stream, number, peer = self.plain_pair() if version == "plain" else self.tls_pair(version)
                stream.sendall(b"up")
                peer.sendall(b"down")
                stream.shutdown(socket.SHUT_WR)
                if version == "plain":
                    peer.shutdown(socket.SHUT_WR)
                else:
                    peer.half_close()
                self.assertEqual(servers.read_to_end(stream), b"down")
                self.assertEqual(servers.read_to_end(peer), b"up")
                self.gone(number)

    def test_local_close_with_unread_data(self):
        """Closed with bytes it has not read: what it had sent still goes out."""
        for version in ("1.3", "1.2", "plain"):
            with self.subTest(version=version):
                stream, number, peer = self.plain_pair() if version == "plain" else self.tls_pair(version)
                peer.sendall(b"nobody reads this")
                wait_until(lambda: stream.recv(17, socket.MSG_PEEK) == b"nobody reads this", what="its arrival")
                stream.sendall(b"last words")
                stream.close()
                self.assertEqual(servers.read_to_end(peer), b"last words")
                peer.close()
                self.gone(number)

    def test_local_close_while_the_peer_goes_on(self):
        """What the peer says to nobody is thrown away for close_timeout, then it is cut."""
        stream, number, peer = self.tls_pair()
        stream.sendall(b"enough")
        stream.close()
        self.assertEqual(peer.recv(100), b"enough")
        with self.assertRaises(OSError):
            end = time.monotonic() + seconds(20)
            while time.monotonic() < end:
                peer.sendall(b"more" * 10000)
        self.gone(number)

    def test_local_shut_rd(self):
        """SHUT_RD: what comes is thrown away, sending goes on."""
        stream, number, peer = self.tls_pair()
        stream.shutdown(socket.SHUT_RD)
        peer.sendall(b"to nobody" * 100000)
        stream.sendall(b"but we speak")
        self.assertEqual(peer.recv(100), b"but we speak")
        peer.sendall(b"to nobody" * 100000)
        stream.sendall(b"on and on")
        self.assertEqual(peer.recv(100), b"on and on")
        self.assertEqual(self.row(number)["state"], "attached")
        peer.half_close()
        stream.close()
        self.assertEqual(peer.recv(100), b"")
        self.gone(number)

    def test_local_close_after_the_peers_end_with_a_rest(self):
        """The peer has ended; what it said is still unread in the broker when the descriptor is closed."""
        stream, number, peer = self.tls_pair()
        sending = threading.Thread(target=lambda: (peer.sendall(bytes(300000)), peer.half_close()))
        sending.start()
        self.assertTrue(stream.recv(100))
        sending.join()
        stream.close()
        self.assertEqual(peer.recv(1), b"")
        peer.close()
        self.gone(number)

    def test_much_to_send_when_the_local_side_is_gone(self):
        for version in ("1.3", "1.2", "plain"):
            with self.subTest(version=version):
                stream, number, peer = self.plain_pair() if version == "plain" else self.tls_pair(version)
                sent = self.fill(stream)
                self.assertGreater(len(sent), 100000)
                stream.close()
                heard = bytearray()
                while block := peer.recv(65536):
                    heard += block
                    time.sleep(0.01)  # slower than close_timeout in all, but never standing still
                self.assertEqual(len(heard), len(sent))
                self.assertTrue(heard == sent)
                peer.close()
                self.gone(number)

    def test_a_peer_that_takes_nothing_when_the_local_side_is_gone(self):
        """It must not keep the number, memory and connection for ever."""
        for version in ("1.3", "plain"):
            with self.subTest(version=version):
                stream, number, peer = self.plain_pair() if version == "plain" else self.tls_pair(version)
                self.fill(stream)
                stream.close()
                self.gone(number)
                with self.assertRaises(OSError):  # a reset, or a truncated stream: never an orderly end
                    while peer.recv(1 << 20):
                        pass

    def test_reset(self):
        for version in ("1.3", "1.2", "plain"):
            with self.subTest(version=version):
                stream, number, peer = self.plain_pair() if version == "plain" else self.tls_pair(version)
                peer.sendall(b"before")
                self.assertEqual(servers.read_exactly(stream, 6), b"before")
                servers.reset(peer if version == "plain" else peer.raw)
                self.assertEqual(stream.recv(100), b"")
                self.fails_on(self.fds, -10054, "ECONNRESET", "TCPReceive", [number])
                self.fails_on(self.fds, -10054, "ECONNRESET", "TCPSend", [number, "x"])
                self.fails_on(self.fds, -10054, "ECONNRESET", "TCPAttach", [number])
                self.assertEqual(self.row(number)["state"], "failed")
                self.assertEqual(self.fds.call("TCPClose", [number])["status"], 0)
                self.gone(number)

    def test_reset_with_bytes_in_vain(self):
        stream, number, peer = self.tls_pair()
        servers.reset(peer.raw)
        wait_until(lambda: self.row(number)["state"] == "failed", what="the reset")
        with self.assertRaises(BrokenPipeError):
            stream.sendall(b"in vain")

    def test_truncation(self):
        """FIN without close_notify: what came is delivered, the number tells."""
        for version in ("1.3", "1.2"):
            with self.subTest(version=version):
                stream, number, peer = self.tls_pair(version)
                peer.sendall(b"half of i")
                peer.close()
                self.assertEqual(servers.read_to_end(stream), b"half of i")
                self.fails_on(self.fds, -33011, "TLS_IO", "TCPReceive", [number])
                self.fds.call("TCPClose", [number])

    def test_truncation_with_a_rest(self):
        """The local side reads late: all that came is there, then the end, then the reason."""
        stream, number, peer = self.tls_pair()
        sent = os.urandom(6 << 20)
        sending = threading.Thread(target=lambda: (peer.sendall(sent), peer.close()))
        sending.start()
        time.sleep(0.1)
        self.assertTrue(servers.read_to_end(stream) == sent)
        sending.join()
        self.fails_on(self.fds, -33011, "TLS_IO", "TCPReceive", [number])

    def test_peer_answers_and_resets(self):
        """What a peer said before its reset reaches who was still sending."""
        stream, number, peer = self.plain_pair()
        peer.sendall(b"413 too much\r\n")
        servers.reset(peer)
        data = bytearray()
        try:
            while block := stream.recv(100):
                data += block
        except ConnectionResetError:
            pass
        self.assertIn(bytes(data), (b"413 too much\r\n",))

    # ---- sessions ----

    def test_the_session_ends_meanwhile(self):
        fds = Fds(self.daemon)
        stream, number, peer = self.tls_pair(fds=fds)
        other, other_number, other_peer = self.tls_pair(fds=fds)
        kept = fds.call("TCPConnect", ["127.0.0.1", self.use(servers.Server()).port])["socket"]
        fds.close()
        wait_until(lambda: self.row(kept) is None, what="the end of the session's other socket")
        for round in range(50):
            stream.sendall(b"there %d" % round)
            self.assertEqual(peer.recv(100), b"there %d" % round)
            peer.sendall(b"back %d" % round)
            self.assertEqual(stream.recv(100), b"back %d" % round)
        self.assertEqual(self.row(number)["state"], "attached")
        self.fails_on(self.fds, -33001, "NOT_OWNER", "TCPSend", [number, "x"])
        stream.close()
        self.assertEqual(peer.recv(1), b"")
        peer.half_close()
        self.gone(number)
        self.assertEqual(self.row(other_number)["state"], "attached")
        # failed beyond its session: nobody could ask, it is gone at once
        servers.reset(other_peer.raw)
        self.assertEqual(other.recv(1), b"")
        self.gone(other_number)

    def test_the_session_ends_while_it_is_closing(self):
        fds = Fds(self.daemon)
        stream, number, peer = self.tls_pair(fds=fds)
        stream.close()
        wait_until(lambda: self.row(number)["state"] == "closing", what="closing")
        fds.close()
        self.assertEqual(peer.recv(1), b"")
        self.gone(number)

    def test_the_session_ends_with_a_failed_one(self):
        fds = Fds(self.daemon)
        stream, number, peer = self.tls_pair(fds=fds)
        servers.reset(peer.raw)
        wait_until(lambda: self.row(number)["state"] == "failed", what="the reset")
        fds.close()
        self.gone(number)

    def test_session_close(self):
        """Its sockets are closed, attached ones too."""
        stream, number, peer = self.tls_pair()
        closing, closing_number, closing_peer = self.tls_pair()
        closing.close()
        wait_until(lambda: self.row(closing_number)["state"] == "closing", what="closing")
        self.fds.call("Session.Close")
        self.assertEqual(stream.recv(1), b"")
        self.assertEqual(peer.recv(1), b"", "close_notify")
        self.gone(number)
        self.gone(closing_number)

    def test_session_join_leaves_attached_ones(self):
        stream, number, peer = self.tls_pair()
        with Fds(self.daemon) as other:
            token = other.call("Session.Open", [20000])["token"]
            self.fds.call("Session.Join", [token])
            for _ in range(20):
                stream.sendall(b"there")
                self.assertEqual(peer.recv(100), b"there")
            self.fails_on(self.fds, -33001, "NOT_OWNER", "TCPReceive", [number])
            stream.close()
            peer.half_close()
            self.gone(number)
            other.call("Session.Close")

    def test_durable_session(self):
        with Fds(self.daemon) as first:
            token = first.call("Session.Open", [20000])["token"]
            stream, number, peer = self.tls_pair(fds=first)
        stream.sendall(b"nobody is there")
        self.assertEqual(peer.recv(100), b"nobody is there")
        joined = self.fds.call("Session.Join", [token])
        self.assertEqual([row["state"] for row in joined["sockets"]], ["attached"])
        self.fails_on(self.fds, -33003, "ATTACHED", "TCPReceive", [number])
        servers.reset(peer.raw)
        self.assertEqual(stream.recv(1), b"")
        self.fails_on(self.fds, -10054, "ECONNRESET", "TCPReceive", [number])
        self.fds.call("Session.Close")
        self.gone(number)

    def test_the_lease_ends(self):
        with Fds(self.daemon) as first:
            first.call("Session.Open", [200])
            stream, number, peer = self.tls_pair(fds=first)
        self.check_stats("leases_expired", 1)
        stream.sendall(b"the session is gone")
        self.assertEqual(peer.recv(100), b"the session is gone")
        self.assertEqual(self.row(number)["state"], "attached")
        stream.close()
        peer.half_close()
        self.gone(number)

    def test_accepted(self):
        number = self.fds.call("TCPSocket")["socket"]
        port = self.fds.call("TCPBind", socket=number, port=0, address="127.0.0.1")["port"]
        self.fds.call("TCPListen", [number])
        with socket.create_connection(("127.0.0.1", port), seconds(10)) as peer:
            accepted = self.fds.call("TCPAccept", [number])["socket"]
            result, stream = self.fds.ask("TCPAttach", [accepted])
            self.streams(stream)
            self.assertTrue(result["direct"])
            self.assertEqual(stream.getpeername(), peer.getsockname())
            stream.sendall(b"hello")
            self.assertEqual(servers.read_exactly(peer, 5), b"hello")

    def test_non_blocking_mode_does_not_matter(self):
        server = self.use(servers.Server())
        number = self.fds.call("TCPConnect", ["127.0.0.1", server.port])["socket"]
        self.fds.call("TCPBlock", [number, 1])
        self.streams(self.fds.ask("TCPAttach", [number])[1])  # Fds checks that it blocks

    def test_counted(self):
        before = self.client.call("Broker.Stats")["attached"]
        stream, _, peer = self.tls_pair()
        self.streams(self.fds.attach(self.use(servers.Server()).port)[1])
        self.assertEqual(self.client.call("Broker.Stats")["attached"], before + 2)


if __name__ == "__main__":
    main()
