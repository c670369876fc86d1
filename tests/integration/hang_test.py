"""200 connects that hang do not slow down a client that works; each ends at its own deadline."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import SLOW, TestCase, main, seconds, wait_until

N_ROUNDS = 1500


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Hang(TestCase):
    DAEMON_OPTIONS = {"resolver": True}

    @classmethod
    def setUpClass(cls):
        cls.DAEMON_ARGS = ("--cacerts", certificates().cacerts)
        super().setUpClass()

    def rounds(self, raw, number, until=None):
        """Echo round trips, send and receive pipelined; microseconds of each."""
        lines = (json.dumps({"jsonrpc": "2.0", "id": 1, "method": "TCPSend", "params": [number, "e" * 64]}) + "\n" +
                 json.dumps({"jsonrpc": "2.0", "id": 2, "method": "TCPReceive",
                             "params": {"socket": number, "exact": 64}}) + "\n").encode()
        times = []
        while len(times) < N_ROUNDS or until and time.monotonic() < until:
            start = time.perf_counter()
            raw.write(lines)
            answers = [raw.read(), raw.read()]
            times.append((time.perf_counter() - start) * 1e6)
            self.assertTrue(all("result" in answer for answer in answers), answers)
        return times

    def test_200_hung_connects(self):
        server = self.use(servers.Server())
        staller = self.use(servers.Server(servers.stall_handshake))
        hole = self.use(servers.BlackHole())
        raw = self.open_raw()
        number = raw.ask({"jsonrpc": "2.0", "id": 0, "method": "TCPConnect", "params": ["127.0.0.1", server.port]}
                         )["result"]["socket"]
        self.rounds(raw, number)
        quiet = self.rounds(raw, number)

        ends = {}
        deliver = self.client._deliver

        def stamp(message):
            ends[message["id"]] = time.monotonic()
            deliver(message)
        self.client._deliver = stamp
        asked = {}
        for i in range(200):
            kind = ("connect", "tls", "resolve")[i % 3]
            deadline = int((1500 + 10 * i) * SLOW)
            where = {"connect": ("127.0.0.1", hole.port), "tls": ("127.0.0.1", staller.port),
                     "resolve": (f"hang-{i}.test", 80)}[kind]
            started = time.monotonic()
            id = self.client.send("TCPConnect", hostname=where[0], port=where[1], secure=kind == "tls", timeout_ms=deadline)
            asked[id] = (kind, deadline, started)
        wait_until(lambda: staller.accepted >= 60, what="the handshakes hanging")
        self.assertFalse(any(self.client.answered(id) for id in asked))
        beside = self.rounds(raw, number, until=time.monotonic() + seconds(0.8))

        late = []
        stages = set()
        for id, (kind, deadline, started) in asked.items():
            message = self.client.answer(id, 30)
            data = self.check_error(message["error"], -10060, "ETIMEDOUT", retryable=True)
            self.assertEqual(data["stage"], kind)
            stages.add(data["stage"])
            off = (ends[id] - started) * 1000 - deadline
            late.append(off)
            self.assertGreater(off, -20, f"{kind} too early")
            self.assertLess(off, 400 * SLOW, f"{kind} too late")
        self.assertEqual(stages, {"connect", "tls", "resolve"})

        figures = [percentile(values, share) for values in (quiet, beside) for share in (0.5, 0.99)]
        print(f"\n  echo by JSON, µs: quiet p50 {figures[0]:.0f} p99 {figures[1]:.0f}; beside 200 hung connects "
              f"p50 {figures[2]:.0f} p99 {figures[3]:.0f}; deadlines met within {max(late):.0f} ms")
        self.assertLess(figures[2], figures[0] * 2 + 200 * SLOW)
        self.assertLess(figures[3], figures[1] * 3 + 3000 * SLOW)
        self.check_stats("sockets", 1)

    def test_hung_look_ups_do_not_stop_literals(self):
        server = self.use(servers.Server())
        ids = [self.client.send("TCPConnect", hostname=f"hang-{i}.test", port=1, timeout_ms=int(2000 * SLOW))
               for i in range(50)]
        for _ in range(50):
            started = time.monotonic()
            number = self.client.connect(server.port)
            self.assertLess(time.monotonic() - started, 0.5 * SLOW)
            self.client.call("TCPClose", [number, 2])
        for id in ids:
            self.check_error(self.client.answer(id)["error"], -10060, "ETIMEDOUT", "resolve")


if __name__ == "__main__":
    main()
