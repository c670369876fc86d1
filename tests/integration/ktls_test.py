#!/usr/bin/env python3
"""The kernel encrypts what is handed out (tls.ktls): when it does, what the client then reads and sends, and that everything
else is relayed as ever. What the kernel is needed for is skipped where it cannot, with the reason."""
import hashlib
import json
import os
import queue
import socket
import ssl
import struct
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers  # noqa: E402
from ca import certificates  # noqa: E402
from harness import DEFAULT_TIMEOUT, Daemon, OwnDaemonTestCase, main, path_of, seconds  # noqa: E402
from tls_wire import ALERT, CLOSE_NOTIFY, DATA, HANDSHAKE, HELLO_REQUEST, Wire, message, records  # noqa: E402

TCP_ULP, SOL_TLS, TLS_SET_RECORD_TYPE, TLS_GET_RECORD_TYPE, TLS_TX, TLS_RX = 31, 282, 1, 2, 1, 2
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
GCM128, GCM256 = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"
NO_KERNEL = ("the kernel does not speak TLS here ({}); it needs the module tls, and for AES-GCM the modules gcm, ctr and ghash "
             "(Debian's own kernel has them: modprobe tls)")


def kernel_fault():
    """Why the kernel cannot encrypt, or None: it is asked to, with a key of zeros (linux/tls.h)."""
    keys = struct.pack("=HH", 0x0303, 51) + bytes(8 + 16 + 4 + 8)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
            sock.setsockopt(SOL_TLS, TLS_TX, keys)
            sock.setsockopt(SOL_TLS, TLS_RX, keys)
        except OSError as error:
            return error.strerror
    return None


FAULT = kernel_fault()
needs_kernel = unittest.skipIf(FAULT, NO_KERNEL.format(FAULT))


def context(version=V12, ciphers=GCM128, tickets=True):
    made = servers.tls_context(minimum=version, maximum=version, ciphers=ciphers if version == V12 else "DEFAULT")
    if not tickets:
        made.options |= ssl.OP_NO_TICKET
    return made


class Tap(servers.Listener):
    """Between the broker and a server: keeps what goes by, up (to the server) and down."""

    def __init__(self, port):
        super().__init__()
        self.target = port
        self.up, self.down = bytearray(), bytearray()

    def on_connection(self, connection):
        far = socket.create_connection(("127.0.0.1", self.target))
        with self.lock:
            self.connections.add(far)
        for ends in ((connection, far, self.up), (far, connection, self.down)):
            threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source, sink, kept):
        try:
            while data := source.recv(65536):
                with self.lock:
                    kept += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Far(servers.Listener):
    """Gives accepted connections to the test, after the handshake that `shake` does with them."""

    def __init__(self, shake):
        super().__init__()
        self.shake = shake
        self.queue = queue.Queue()

    def on_connection(self, connection):
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.settimeout(seconds(DEFAULT_TIMEOUT))
        try:
            self.queue.put(self.shake(connection))
        except Exception as error:  # told to the test
            self.queue.put(error)

    def take(self):
        found = self.queue.get(timeout=seconds(DEFAULT_TIMEOUT))
        if isinstance(found, Exception):
            raise found
        return found


class Ktls(OwnDaemonTestCase):
    def start(self, ktls="yes", text=""):
        first = f"[tls]\nktls = {ktls}\n" if ktls else ""
        self.daemon = self.use(Daemon("--cacerts", certificates().cacerts, config=first + text))
        self.sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.sock.close)
        self.sock.settimeout(seconds(DEFAULT_TIMEOUT))
        self.sock.connect(path_of(self.daemon))

    def ask(self, method, **params):
        """The result and the descriptor's stream (None: there is none)."""
        self.sock.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
        line, fds = b"", []
        while not line.endswith(b"\n"):
            data, came, flags, _ = socket.recv_fds(self.sock, 65536, 4)
            self.assertTrue(data, "the broker has closed the connection")
            self.assertFalse(flags & socket.MSG_CTRUNC)
            line += data
            fds += came
        streams = [socket.socket(fileno=fd) for fd in fds]
        for stream in streams:
            self.addCleanup(stream.close)
            self.assertTrue(stream.getblocking())
            stream.settimeout(seconds(DEFAULT_TIMEOUT))
        answer = json.loads(line)
        self.assertNotIn("error", answer)
        self.assertEqual(len(streams), answer["result"].get("fds", 0))
        return answer["result"], streams[0] if streams else None

    def attach(self, port, **kw):
        return self.ask("TCPConnect", hostname="localhost", port=port, secure=True, attach=True, **kw)

    def kernel(self, result):
        self.assertEqual((result["direct"], result["encrypted_by"]), (True, "kernel"), result)
        self.assertNotIn("socket", result)

    def relayed(self, result):
        self.assertEqual((result["direct"], result["encrypted_by"]), (False, "broker"), result)
        self.assertIn("socket", result)

    def exchange(self, stream, n=3_000_000):
        """An echo server gives back what it was sent; the hash of it."""
        block = os.urandom(n)
        sending = threading.Thread(target=stream.sendall, args=(block,))
        sending.start()
        back = servers.read_exactly(stream, n)
        sending.join()
        self.assertEqual(hashlib.sha256(back).hexdigest(), hashlib.sha256(block).hexdigest())

    # ---- with or without such a kernel

    def test_off_by_default(self):
        self.start(None)
        server = self.use(servers.Server(tls=context()))
        result, stream = self.attach(server.port)
        self.relayed(result)
        self.exchange(stream)

    def test_tls13_is_relayed(self):
        self.start()
        server = self.use(servers.Server(tls=context(V13)))
        result, stream = self.attach(server.port)
        self.relayed(result)
        self.assertEqual(result["tls"]["version"], "TLSv1.3")
        self.exchange(stream)
        stream.close()
        self.daemon.wait_log("ended client_closed attached relay")

    def test_other_ciphers_are_relayed(self):
        self.start()
        for cipher in ("ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384"):
            with self.subTest(cipher):
                server = self.use(servers.Server(tls=context(ciphers=cipher)))
                result, stream = self.attach(server.port)
                self.assertEqual(result["tls"]["cipher"], cipher)
                self.relayed(result)
                self.exchange(stream, 200_000)

    def test_chacha20(self):
        """As the kernel likes, which may lack the module chacha20poly1305; never wrong."""
        self.start()
        server = self.use(servers.Server(tls=context(ciphers="ECDHE-ECDSA-CHACHA20-POLY1305")))
        result, stream = self.attach(server.port)
        self.assertEqual(result["direct"], result["encrypted_by"] == "kernel")
        self.exchange(stream, 200_000)

    def test_what_does_not_ask(self):
        """A connection without attach is not touched: it can be used, and attached later, through the broker."""
        self.start()
        server = self.use(servers.Server(tls=context()))
        number = self.ask("TCPConnect", hostname="localhost", port=server.port, secure=True)[0]["socket"]
        self.ask("TCPSend", socket=number, data="hello")
        self.assertEqual(self.ask("TCPReceive", socket=number)[0]["data"], "hello")
        result, stream = self.ask("TCPAttach", socket=number)
        self.assertEqual(result, {"fds": 1, "direct": False})
        self.exchange(stream, 200_000)

    def test_plain_has_no_encryption(self):
        self.start()
        server = self.use(servers.Server())
        result, stream = self.ask("TCPConnect", hostname="127.0.0.1", port=server.port, attach=True)
        self.assertEqual(result["direct"], True)
        self.assertNotIn("encrypted_by", result)
        self.exchange(stream, 200_000)

    def test_without_the_kernel_it_is_relayed(self):
        if not FAULT:
            self.skipTest("the kernel speaks TLS here")
        self.start()
        server = self.use(servers.Server(tls=context()))
        result, stream = self.attach(server.port)
        self.relayed(result)
        self.assertEqual(result["tls"]["cipher"], GCM128)
        self.exchange(stream)

    # ---- with one

    @needs_kernel
    def test_both_ways(self):
        self.start()
        for cipher in (GCM128, GCM256):
            with self.subTest(cipher):
                server = self.use(servers.Server(tls=context(ciphers=cipher)))
                tap = self.use(Tap(server.port))
                result, stream = self.attach(tap.port)
                self.kernel(result)
                self.assertEqual((result["tls"]["cipher"], result["tls"]["version"], result["tls"]["verified"]),
                                 (cipher, "TLSv1.2", True))
                self.assertIn("peer", result["tls"])
                self.assertEqual(stream.getpeername(), ("127.0.0.1", tap.port))
                secret = b"nobody may read this on the way"
                stream.sendall(secret)
                self.assertEqual(servers.read_exactly(stream, len(secret)), secret)
                self.exchange(stream)
                for wire in (bytes(tap.up), bytes(tap.down)):
                    self.assertNotIn(secret, wire)
                    found, rest = records(wire)
                    self.assertFalse(rest, "what is no record was on the way")
                    self.assertGreater(sum(len(body) for kind, body in found if kind == DATA), 3_000_000)
                    self.assertLessEqual({kind for kind, _ in found}, {20, 22, DATA})
        self.daemon.wait_log("tls TLSv1.2 .*ended handed_out attached direct")

    @needs_kernel
    def test_the_broker_keeps_nothing(self):
        self.start()
        server = self.use(servers.Server(tls=context()))
        self.ask("Broker.List")  # so that it has this client
        before = len(self.daemon.fds())
        streams = [self.attach(server.port)[1] for _ in range(5)]
        self.assertEqual(len(self.daemon.fds()), before)
        self.assertEqual(self.ask("Broker.List")[0]["sockets"], [])
        self.daemon.terminate()
        self.daemon.wait_exit()
        for stream in streams:  # they outlive it
            self.exchange(stream, 100_000)

    @needs_kernel
    def test_a_server_that_speaks_first(self):
        """What it sends together with the end of its handshake waits in the kernel, whole records and parts of one."""
        self.start()
        hello = os.urandom(40_000)
        for cut in (0, 3, 100, 9000):
            with self.subTest(cut=cut):
                def shake(connection):
                    wire = Wire(connection, "1.2")

                    def edit(number, data):
                        if number == 0:
                            return data
                        wire._take_keys()
                        data += b"".join(wire.seal(DATA, hello[at:at + 8000]) for at in range(0, len(hello), 8000))
                        held.append(data[len(data) - cut:])
                        return data[:len(data) - cut]
                    return wire.handshake(edit)
                held = []
                far = self.use(Far(shake))
                result, stream = self.attach(far.port)
                self.kernel(result)
                far.take().send(*held)
                self.assertEqual(servers.read_exactly(stream, len(hello)), hello)

    @needs_kernel
    def test_resumed(self):
        self.start()
        server = self.use(servers.Server(tls=context()))
        for resumed in (False, True, True):
            result, stream = self.attach(server.port)
            self.kernel(result)
            self.assertEqual(result["tls"]["resumed"], resumed)
            self.exchange(stream, 200_000)

    @needs_kernel
    def test_a_profile_decides(self):
        trusted = f"cacerts = {certificates().cacerts}\n"
        self.start("no", f'[tls "fast"]\nktls = yes\n{trusted}[tls "slow"]\n{trusted}')
        server = self.use(servers.Server(tls=context()))
        self.relayed(self.attach(server.port)[0])
        self.relayed(self.attach(server.port, profile="slow")[0])
        result, stream = self.attach(server.port, profile="fast")
        self.kernel(result)
        self.exchange(stream, 200_000)

    def wire_pair(self):
        def shake(connection):
            wire = Wire(connection, "1.2")
            wire.handshake()
            return wire
        far = self.use(Far(shake))
        result, stream = self.attach(far.port)
        self.kernel(result)
        return stream, far.take()

    @needs_kernel
    def test_the_ends(self):
        """What PROTOCOL.md tells of a descriptor for which the kernel encrypts."""
        self.start()
        with self.subTest("close_notify, seen by read(2)"):
            stream, wire = self.wire_pair()
            wire.send(wire.seal(DATA, b"the last"), wire.seal(ALERT, CLOSE_NOTIFY))
            wire.finish()
            self.assertEqual(servers.read_exactly(stream, 8), b"the last")
            for _ in range(3):
                with self.assertRaisesRegex(OSError, "Input/output"):
                    stream.recv(100)
        with self.subTest("close_notify, seen by recvmsg(2)"):
            stream, wire = self.wire_pair()
            wire.send(wire.seal(DATA, b"the last"), wire.seal(ALERT, CLOSE_NOTIFY))
            wire.finish()
            said = [stream.recvmsg(100, socket.CMSG_SPACE(1))[:2] for _ in range(3)]
            self.assertEqual(said, [(b"the last", [(SOL_TLS, TLS_GET_RECORD_TYPE, bytes([DATA]))]),
                                    (CLOSE_NOTIFY, [(SOL_TLS, TLS_GET_RECORD_TYPE, bytes([ALERT]))]), (b"", [])])
        with self.subTest("an end without close_notify"):
            stream, wire = self.wire_pair()
            wire.send(wire.seal(DATA, b"the last"))
            wire.finish()
            self.assertEqual(servers.read_exactly(stream, 8), b"the last")
            self.assertEqual(stream.recv(100), b"")
        with self.subTest("a record that was tampered with"):
            stream, wire = self.wire_pair()
            bad = bytearray(wire.seal(DATA, b"not this"))
            bad[-1] ^= 1
            wire.send(bytes(bad))
            with self.assertRaisesRegex(OSError, "Bad message"):
                stream.recv(100)
        with self.subTest("a wish to renegotiate"):
            stream, wire = self.wire_pair()
            wire.send(wire.seal(HANDSHAKE, message(HELLO_REQUEST, b"")))
            with self.assertRaisesRegex(OSError, "Input/output"):
                stream.recv(100)

    @needs_kernel
    def test_our_end(self):
        self.start()
        with self.subTest("shutdown(2) is FIN alone"):
            stream, wire = self.wire_pair()
            stream.sendall(b"all")
            stream.shutdown(socket.SHUT_WR)
            self.assertEqual(wire.read_record(), (DATA, b"all"))
            self.assertIsNone(wire.read_record())
        with self.subTest("close_notify is for the client to send"):
            stream, wire = self.wire_pair()
            stream.sendmsg([CLOSE_NOTIFY], [(SOL_TLS, TLS_SET_RECORD_TYPE, bytes([ALERT]))])
            stream.shutdown(socket.SHUT_WR)
            self.assertEqual(wire.read_record(), (ALERT, CLOSE_NOTIFY))
            self.assertIsNone(wire.read_record())


if __name__ == "__main__":
    main()
