"""TCPConnect with TLS: who is believed, who is not and how that is told; broken handshakes; broken streams."""
import hashlib
import os
import re
import ssl
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import SLOW, Client, Daemon, Elapsed, TestCase, main, wait_until

OK, EXPIRED, NOT_YET = 0, 10, 9
NAME, ADDRESS, NO_ISSUER, SELF_SIGNED = 62, 64, 20, 18


class TlsCase(TestCase):
    DAEMON_OPTIONS = {"resolver": True}

    @classmethod
    def setUpClass(cls):
        cls.DAEMON_ARGS = ("--cacerts", certificates().cacerts)
        super().setUpClass()

    def secure(self, server, hostname="localhost", **kw):
        return self.client.call("TCPConnect", hostname=hostname, port=server.port, secure=True, **kw)

    def numbers(self):
        return {row["socket"] for row in self.client.call("Broker.List")["sockets"]}

    def refused(self, certificate, verify_code, hostname="127.0.0.1", **kw):
        """Not verified: -33010, no connection, no socket; the same server with verify: false is fine."""
        server = self.use(servers.Server(tls=servers.tls_context(certificate)))
        with self.subTest(certificate=certificate, hostname=hostname):
            before = self.numbers()
            data = self.fails(-33010, "TLS_VERIFY", "TCPConnect", hostname=hostname, port=server.port, secure=True,
                              stage="tls", retryable=False, **kw)
            tls = data["tls"]
            codes = verify_code if isinstance(verify_code, tuple) else (verify_code,)
            self.assertIn(tls["verify_code"], codes, data)
            self.assertGreater(len(tls["verify_text"]), 4)
            self.assertIsInstance(tls["depth"], int)
            self.assertIn("CN", tls["subject"])
            self.assertIn("CN", tls["issuer"])
            self.assertEqual(self.numbers(), before, "no socket comes of it")
            result = self.client.call("TCPConnect", hostname=hostname, port=server.port, secure=True, verify=False)
            self.assertIs(result["tls"]["verified"], False)
            self.client.call("TCPClose", [result["socket"], 2])
            return data


class Verification(TlsCase):
    def test_a_verified_connection(self):
        server = self.use(servers.Server(tls=servers.tls13()))
        result = self.secure(server, family="ipv4")
        tls = result["tls"]
        self.assertEqual(tls["version"], "TLSv1.3")
        self.assertTrue(tls["cipher"].startswith("TLS_"))
        self.assertIs(tls["verified"], True)
        self.assertIs(tls["resumed"], False)
        self.assertEqual(tls["server_name"], "localhost")
        self.assertNotIn("alpn", tls)
        self.assertIn("localhost", tls["peer"]["subject"])
        self.assertIn("tcpbroker test CA", tls["peer"]["issuer"])
        self.assertRegex(tls["peer"]["not_after"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        with open(certificates().pem("good")[0], encoding="ascii") as file:
            der = ssl.PEM_cert_to_DER_cert(file.read())
        self.assertEqual(tls["peer"]["sha256"].replace(":", "").lower(), hashlib.sha256(der).hexdigest())
        self.assertGreater(result["timing_us"]["handshake"], 0)
        self.assertGreaterEqual(result["timing_us"]["total"],
                                result["timing_us"]["connect"] + result["timing_us"]["handshake"])
        self.client.call("TCPSend", [result["socket"], "héllo\n"])
        self.assertEqual(self.client.call("TCPReceive", socket=result["socket"], until="\n", timeout_ms=5000),
                         {"received": 7, "data": "héllo\n"})
        self.assertEqual((server.handshakes, server.names), (1, ["localhost"]))

    def test_tls_1_2(self):
        server = self.use(servers.Server(tls=servers.tls12()))
        tls = self.secure(server, "127.0.0.1")["tls"]
        self.assertEqual((tls["version"], tls["verified"]), ("TLSv1.2", True))

    def test_an_intermediate(self):
        server = self.use(servers.Server(tls=servers.tls_context("below")))
        self.assertIs(self.secure(server, "127.0.0.1")["tls"]["verified"], True)

    def test_addresses_are_checked_against_addresses(self):
        for address in ("127.0.0.1", "::1", "[::1]"):
            server = self.use(servers.Server(tls=servers.tls_context(), address=address.strip("[]")))
            tls = self.secure(server, address)["tls"]
            self.assertIs(tls["verified"], True)
            self.assertNotIn("server_name", tls)
            self.assertEqual(server.names, [None], "no SNI for an address")

    def test_dates(self):
        data = self.refused("expired", EXPIRED)
        self.assertEqual(data["tls"]["depth"], 0)
        self.refused("not-yet", NOT_YET)
        data = self.refused("below-expired-ca", EXPIRED)
        self.assertEqual(data["tls"]["depth"], 1)
        self.assertIn("intermediate", data["tls"]["subject"])

    def test_names(self):
        self.refused("wrong-name", NAME, "localhost", family="ipv4")
        self.refused("good", NAME, "four.test")
        self.refused("cn-only", NAME, "localhost", family="ipv4")

    def test_the_name_is_told(self):
        server = self.use(servers.Server(tls=servers.tls_context("wrong-name")))
        error = self.client.error("TCPConnect", hostname="localhost", port=server.port, secure=True)
        self.assertIn("localhost", error.message)

    def test_wrong_address(self):
        self.refused("wrong-ip", ADDRESS, "127.0.0.1")
        self.refused("ip-as-dns", ADDRESS, "127.0.0.1")
        self.refused("cn-only", ADDRESS, "127.0.0.1")
        self.refused("wildcard", ADDRESS, "127.0.0.1")

    def test_wildcards(self):
        server = self.use(servers.Server(tls=servers.tls_context("wildcard")))
        self.assertIs(self.secure(server, "www.tls.test")["tls"]["verified"], True)
        self.assertIs(self.secure(server, "WWW.TLS.test")["tls"]["verified"], True)
        self.refused("wildcard", NAME, "a.www.tls.test")
        self.refused("partial-wildcard", NAME, "www.tls.test")

    def test_chains(self):
        self.refused("self-signed", SELF_SIGNED)
        self.refused("unknown-ca", (NO_ISSUER, 19, 21))
        self.refused("below-no-ca", (79, 24, 32))

    def test_purpose(self):
        self.refused("client-only", 26)

    def test_strength(self):
        self.refused("weak-key", 66)
        self.refused("sha1", 68)

    def test_without_the_ca_nothing_is_trusted(self):
        server = self.use(servers.Server(tls=servers.tls_context()))
        with Daemon() as daemon, Client(daemon) as client:
            error = client.error("TCPConnect", ["127.0.0.1", server.port, True])
            if error.code != -1027:  # no store on this machine at all
                self.check_error(error, -33010, "TLS_VERIFY", "tls")

    def test_unverified_is_said_and_logged(self):
        server = self.use(servers.Server(tls=servers.tls_context("unknown-ca")))
        result = self.secure(server, "127.0.0.1", verify=False)
        self.assertIs(result["tls"]["verified"], False)
        self.assertIn("unknown test CA", result["tls"]["peer"]["issuer"])
        self.daemon.wait_log(r"(?i)(un|not )verified|without verif|verify")
        lines = [line for line in self.daemon.log().splitlines() if re.search(r"(?i)verif", line)]
        self.assertTrue(any(str(server.port) in line for line in lines), lines[-5:])
        row, = self.client.call("Broker.List")["sockets"]
        self.assertEqual((row["secure"], row["verified"]), (True, False))

    def test_verify_false_on_a_good_server(self):
        server = self.use(servers.Server(tls=servers.tls_context()))
        self.assertIs(self.secure(server, "127.0.0.1", verify=False)["tls"]["verified"], False)

    def test_server_name(self):
        server = self.use(servers.Server(tls=servers.tls_context("wildcard")))
        tls = self.secure(server, "127.0.0.1", server_name="api.tls.test")["tls"]
        self.assertEqual((tls["server_name"], tls["verified"]), ("api.tls.test", True))
        self.assertEqual(server.names, ["api.tls.test"])
        data = self.fails(-33010, "TLS_VERIFY", "TCPConnect", hostname="www.tls.test", port=server.port, secure=True,
                          server_name="www.other.test")
        self.assertEqual(data["tls"]["verify_code"], NAME)
        good = self.use(servers.Server(tls=servers.tls_context("wrong-ip")))
        self.assertIs(self.secure(good, "127.0.0.1", server_name="127.0.0.9")["tls"]["verified"], True)
        self.assertEqual(good.names, [None])

    def test_a_trailing_dot(self):
        server = self.use(servers.Server(tls=servers.tls_context()))
        result = self.client.call("TCPConnect", hostname="127.0.0.1", port=server.port, secure=True,
                                  server_name="localhost.", verify=False)
        self.assertIn(server.names[-1], ("localhost", None, "localhost."))
        self.client.call("TCPClose", [result["socket"], 2])

    def test_alpn(self):
        server = self.use(servers.Server(tls=servers.tls_context(alpn=["h2", "http/1.1"])))
        self.assertEqual(self.secure(server, "127.0.0.1", alpn=["http/1.1"])["tls"]["alpn"], "http/1.1")
        self.assertEqual(self.secure(server, "127.0.0.1", alpn=["spdy", "h2"])["tls"]["alpn"], "h2")
        self.assertNotIn("alpn", self.secure(server, "127.0.0.1")["tls"])
        self.assertNotIn("alpn", self.secure(server, "127.0.0.1", alpn=["nobody"])["tls"])

    def test_min_tls(self):
        old, new = self.use(servers.Server(tls=servers.tls12())), self.use(servers.Server(tls=servers.tls13()))
        self.assertEqual(self.secure(old, "127.0.0.1", min_tls="1.2")["tls"]["version"], "TLSv1.2")
        self.assertEqual(self.secure(new, "127.0.0.1", min_tls="1.3")["tls"]["version"], "TLSv1.3")
        data = self.fails(-1031, "TLS_HANDSHAKE", "TCPConnect", hostname="127.0.0.1", port=old.port, secure=True,
                          min_tls="1.3", stage="tls")
        self.assertIn("tls", data)

    def test_a_server_that_speaks_only_tls_1_1(self):
        try:
            import warnings
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                context = servers.tls_context("good", ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1)
            server = self.use(servers.Server(tls=context))
        except (ssl.SSLError, ValueError) as error:
            self.skipTest(f"this OpenSSL cannot serve TLS 1.1: {error}")
        data = self.fails(-1031, "TLS_HANDSHAKE", "TCPConnect", hostname="127.0.0.1", port=server.port, secure=True,
                          stage="tls", retryable=False)
        self.assertTrue(data["tls"].get("library") or data["tls"].get("alert"), data)

    def test_many_at_once(self):
        server = self.use(servers.Server(tls=servers.tls_context()))
        ids = [self.client.send("TCPConnect", ["127.0.0.1", server.port, True]) for _ in range(40)]
        numbers = {self.client.wait(id, 20)["socket"] for id in ids}
        self.assertEqual(len(numbers), 40)
        wait_until(lambda: server.handshakes == 40)

    def test_cacerts_of_any_name(self):
        self.assertTrue(any(not name.endswith(".pem") for name in os.listdir(certificates().cacerts)))


class Handshakes(TlsCase):
    def broken(self, behaviour, codes, **kw):
        server = self.use(servers.Server(behaviour))
        for verify in (True, False):
            error = self.client.error("TCPConnect", hostname="127.0.0.1", port=server.port, secure=True, verify=verify,
                                      timeout_ms=int(8000 * SLOW), **kw)
            self.assertIn((error.code, error.symbol), codes)
            data = self.check_error(error, error.code, error.symbol)
        self.assertEqual(self.client.call("Broker.List")["sockets"], [])
        return error, data

    def test_a_peer_that_says_nothing(self):
        server = self.use(servers.Server(servers.stall_handshake))
        with Elapsed() as elapsed:
            data = self.fails(-10060, "ETIMEDOUT", "TCPConnect", hostname="127.0.0.1", port=server.port, secure=True,
                              timeout_ms=500, stage="tls", retryable=True)
        self.assertGreater(elapsed.ms, 480)
        self.assertLess(elapsed.ms, 500 + 300 * SLOW)
        self.assertIsInstance(data, dict)

    def test_plain_text(self):
        error, _ = self.broken(servers.plain_answer, [(-1031, "TLS_HANDSHAKE")])
        self.assertEqual(error.stage, "tls")
        self.assertIs(error.retryable, False)

    def test_cut_off(self):
        error, _ = self.broken(servers.cut_handshake, [(-1031, "TLS_HANDSHAKE")])
        self.assertEqual(error.stage, "tls")

    def test_closed_at_once(self):
        error, _ = self.broken(servers.closer, [(-1031, "TLS_HANDSHAKE"), (-10054, "ECONNRESET")])
        self.assertEqual(error.stage, "tls")

    def test_reset(self):
        error, _ = self.broken(servers.reset_handshake, [(-10054, "ECONNRESET"), (-1031, "TLS_HANDSHAKE")])
        self.assertEqual(error.stage, "tls")

    def test_alert(self):
        error, data = self.broken(servers.alert_handshake, [(-1031, "TLS_HANDSHAKE")])
        self.assertIn("handshake", data["tls"]["alert"].lower())

    def test_cancelled_in_the_handshake(self):
        server = self.use(servers.Server(servers.stall_handshake))
        id = self.client.send("TCPConnect", ["127.0.0.1", server.port, True])
        wait_until(lambda: server.accepted == 1)
        self.assertIs(self.client.call("Broker.Cancel", [id])["cancelled"], True)
        self.check_error(self.client.answer(id)["error"], -10004, "EINTR")

    def test_plain_text_to_a_tls_server_is_just_bytes(self):
        server = self.use(servers.Server(tls=servers.tls_context()))
        number = self.client.connect(server.port)
        self.client.call("TCPSend", [number, "not TLS\n"])
        message = self.client.answer(self.client.send("TCPReceive", socket=number, encoding="base64", timeout_ms=5000))
        if "error" in message:  # the server may have closed with our bytes unread
            self.check_error(message["error"], -10054, "ECONNRESET", "io")
        self.assertIs(self.secure(server, "127.0.0.1")["tls"]["verified"], True)


class Streams(TlsCase):
    def both(self):
        for context in (servers.tls12(), servers.tls13()):
            with self.subTest(version=context.minimum_version.name):
                peer = self.use(servers.Peer(tls=context))
                number = self.secure(peer, "127.0.0.1")["socket"]
                yield number, peer.take()

    def test_truncation_is_not_an_end(self):
        for number, connection in self.both():
            connection.sendall(b"part")
            self.assertEqual(self.client.call("TCPReceive", socket=number, exact=4)["data"], "part")
            connection.close()  # FIN without close_notify
            data = self.fails(-33011, "TLS_IO", "TCPReceive", [number], stage="io", retryable=False)
            self.assertIsInstance(data, dict)
            self.client.call("TCPClose", [number, 2])

    def test_data_before_a_truncation_is_delivered(self):
        for number, connection in self.both():
            connection.sendall(b"kept")
            connection.close()
            self.assertEqual(self.client.call("TCPReceive", socket=number, exact=4)["data"], "kept")
            self.fails(-33011, "TLS_IO", "TCPReceive", [number])
            self.fails(-33011, "TLS_IO", "TCPReceive", [number])

    def test_orderly_end(self):
        for number, connection in self.both():
            connection.sendall(b"bye")
            connection.settimeout(0.2)
            try:
                connection.unwrap()
            except (TimeoutError, OSError):
                pass
            self.assertEqual(self.client.call("TCPReceive", socket=number, exact=3)["data"], "bye")
            self.check_end(self.client.call("TCPReceive", [number]))

    def test_reset_by_peer(self):
        for number, connection in self.both():
            servers.reset(connection)
            self.fails(-10054, "ECONNRESET", "TCPReceive", [number], stage="io")

    def test_garbage_in_the_stream(self):
        for number, connection in self.both():
            os.write(connection.fileno(), b"\x17\x03\x03\x00\x20" + b"\xa5" * 32)
            self.fails(-33011, "TLS_IO", "TCPReceive", [number], stage="io")

    def test_large_transfers(self):
        block = bytes(range(256)) * 256
        import base64
        for number, connection in self.both():
            connection.settimeout(30 * SLOW)
            for _ in range(8):
                id = self.client.send("TCPSend", socket=number, data_base64=base64.b64encode(block * 6).decode())
                self.assertEqual(servers.read_exactly(connection, len(block) * 6), block * 6)
                self.assertEqual(self.client.wait(id)["sent"], len(block) * 6)
            import threading
            writer = threading.Thread(target=connection.sendall, args=(block * 40,))
            writer.start()
            got = bytearray()
            while len(got) < len(block) * 40:
                result = self.client.call("TCPReceive", socket=number, encoding="base64", max_bytes=300000)
                got += base64.b64decode(result["data_base64"])
            writer.join()
            self.assertEqual(bytes(got), block * 40)


if __name__ == "__main__":
    main()
