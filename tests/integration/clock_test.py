"""The time of day jumps, by years, both ways: deadlines, leases and pauses do not notice; certificates do, and so does what
could be resumed."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import faults
import servers
from ca import certificates
from harness import SLOW, OwnDaemonTestCase, Daemon, main, seconds

DAY = 86400
DEADLINE = int(400 * SLOW)


@unittest.skipIf(faults.unusable(), faults.unusable())
class Clock(OwnDaemonTestCase):
    def setUp(self):
        super().setUp()
        self.page = faults.Page()
        self.addCleanup(self.page.close)
        self.daemon = self.use(Daemon("--cacerts", certificates().cacerts, "--set", "tls.system_store=no",
                                      "--set", "connect.backoff_after=1", "--set", "connect.backoff_min=300ms",
                                      env=self.page.environment()))
        self.client = self.open_client()

    def jump(self, days):
        self.page.put("clock_s", int(days * DAY))

    def late(self, **call):
        began = time.monotonic()
        id = self.client.send(**call)
        for days in (4000, -4000, 0.01, 0):
            time.sleep(DEADLINE / 8000)
            self.jump(days)
        error = self.client.answer(id)["error"]
        took = (time.monotonic() - began) * 1000
        self.assertEqual(error["data"]["symbol"], "ETIMEDOUT")
        self.assertGreater(took, DEADLINE * 0.9)
        self.assertLess(took, DEADLINE + 500 * SLOW)

    def test_deadlines(self):
        peer = self.use(servers.Peer())
        staller = self.use(servers.Server(servers.stall_handshake))
        number = self.client.connect(peer.port)
        self.late(method="TCPReceive", socket=number, timeout_ms=DEADLINE)
        self.late(method="TCPConnect", hostname="127.0.0.1", port=staller.port, secure=True, timeout_ms=DEADLINE)
        with servers.BlackHole() as hole:
            self.late(method="TCPConnect", hostname="127.0.0.1", port=hole.port, timeout_ms=DEADLINE)

    def test_leases_and_offers(self):
        number = self.client.connect(self.use(servers.Server()).port)
        token = self.client.call("TCPOffer", socket=number, timeout_ms=20000)["token"]
        lease = self.client.call("Session.Open", [20000])["token"]
        for days in (4000, -4000, 0):
            self.jump(days)
            self.client.call("Broker.Stats")
        number = self.client.call("TCPClaim", [token])["socket"]
        self.client.close()
        self.jump(4000)
        other = self.open_client()
        self.assertEqual([row["socket"] for row in other.call("Session.Join", [lease])["sockets"]], [number])

    def test_back_off(self):
        port = servers.closed_port()
        for _ in range(2):
            error = self.client.error("TCPConnect", ["127.0.0.1", port])
            self.assertEqual(error.symbol, "ECONNREFUSED")
        self.jump(-4000)
        with servers.Server(port=port) as server:
            end = time.monotonic() + seconds(3)
            while time.monotonic() < end:
                answer = self.client.answer(self.client.send("TCPConnect", ["127.0.0.1", server.port]))
                if "result" in answer:
                    break
                time.sleep(0.05)
            self.assertIn("result", answer, "the pause never ends")

    def handshake(self, port):
        answer = self.client.answer(self.client.send("TCPConnect", hostname="localhost", port=port, secure=True))
        if "error" in answer:
            return answer["error"]["data"]["symbol"]
        number = answer["result"]["socket"]
        self.client.call("TCPSend", [number, "x"])
        self.client.call("TCPReceive", socket=number, exact=1)  # its ticket has come by then
        self.client.call("TCPClose", [number])
        return "resumed" if answer["result"]["tls"]["resumed"] else "full"

    def test_certificates(self):
        for context in (servers.tls12(), servers.tls13()):
            with self.subTest(context.maximum_version):
                port = self.use(servers.Server(tls=context)).port
                self.jump(0)
                self.assertEqual([self.handshake(port) for _ in range(2)], ["full", "resumed"])
                # they hold for 30 days, and began yesterday
                for days in (100, 4000, -100):
                    self.jump(days)
                    self.assertEqual(self.handshake(port), "TLS_VERIFY", f"{days} days")
                for days in (0, 0.5, -0.5, 0):
                    self.jump(days)
                    self.assertIn(self.handshake(port), ("full", "resumed"))


if __name__ == "__main__":
    main()
