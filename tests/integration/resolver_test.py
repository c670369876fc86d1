"""The resolver: one look-up for all who ask the same, answers that are kept, names that hang beside names that do not."""
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from harness import SLOW, Client, Daemon, Elapsed, OwnDaemonTestCase, TestCase, main, seconds, wait_until

N_HANG = 100


class Resolver(OwnDaemonTestCase):
    """Each test has its own daemon, whose stub writes down what it is asked for."""

    def start(self, *options):
        folder = self.use(tempfile.TemporaryDirectory(prefix="tcpbroker-test-"))
        self.asked_path = os.path.join(folder if isinstance(folder, str) else folder.name, "asked")
        self.daemon = self.use(Daemon(*[word for option in options for word in ("--set", option)], resolver=True,
                                      env={"SLOW_RESOLVER_LOG": self.asked_path}))
        self.client = self.open_client()
        return self.client

    def asked(self):
        try:
            with open(self.asked_path, encoding="utf-8") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []

    def stats(self, *names):
        found = self.client.call("Broker.Stats")
        return [found[name] for name in names]

    def let_go(self):
        with open(self.daemon.release_path, "w", encoding="ascii"):
            pass

    # -- sharing

    def test_one_look_up_for_all_who_ask(self):
        client = self.start()
        clients = [client, self.open_client(), self.open_client()]
        ids = [(clients[i % 3], clients[i % 3].send("TCPName2Addr", [("slow-x.test", "SLOW-X.test")[i % 2]]))
               for i in range(60)]
        for one, id in ids:
            self.assertEqual(one.wait(id), {"address": "127.0.0.1", "addresses": ["127.0.0.1"]})
        self.assertEqual(self.asked(), ["4 slow-x.test"])
        self.assertEqual(self.stats("lookups", "lookups_shared", "lookups_cached", "lookups_running"), [60, 59, 0, 0])

    def test_connects_share_too_and_keep_their_ports(self):
        client = self.start()
        peers = [self.use(servers.Peer()) for _ in range(8)]
        ids = [client.send("TCPConnect", ["slow-c.test", peer.port]) for peer in peers]
        for id, peer in zip(ids, peers):
            self.assertEqual(client.wait(id)["remote_port"], peer.port)
        self.assertEqual(self.asked(), ["0 slow-c.test"])
        timing = client.call("TCPConnect", ["slow-c.test", peers[0].port])["timing_us"]
        self.assertLess(timing["resolve"], 200000 * SLOW)  # it takes 300 ms to ask
        self.assertEqual(self.asked(), ["0 slow-c.test"])

    def test_families_are_asked_for_separately(self):
        client = self.start()
        for _ in range(3):
            client.call("TCPName2Addr", ["dual.test"])
            client.call("TCPName2Addr", ["dual.test", True])
        self.assertEqual(self.asked(), ["4 dual.test", "6 dual.test"])

    # -- what is kept

    def test_kept_for_the_configured_time(self):
        client = self.start("connect.cache_time=300ms", "connect.negative_cache_time=150ms")
        for name, shortest in (("four.test", 0.3), ("missing.test", 0.15)):
            started = time.monotonic()
            client.answer(client.send("TCPName2Addr", [name]))

            def again():
                client.answer(client.send("TCPName2Addr", [name]))
                return self.asked().count(f"4 {name}") == 2
            self.assertFalse(again() and time.monotonic() - started < shortest)
            wait_until(again)
            self.assertGreaterEqual(time.monotonic() - started, shortest)
        cached, negative = self.stats("lookups_cached", "lookups_cached_negative")
        self.assertGreater(negative, 0)
        self.assertGreater(cached, negative)

    def test_only_what_is_certain_is_kept(self):
        client = self.start("connect.negative_cache_time=60s")
        for name, times in (("missing.test", 1), ("nodata.test", 1), ("fail-again.test", 3), ("fail-hard.test", 3)):
            answers = [client.error("TCPName2Addr", [name]).error for _ in range(3)]
            self.assertEqual(answers[1:], answers[:1] * 2)
            self.assertEqual(self.asked().count(f"4 {name}"), times, name)

    def test_nothing_is_kept_when_told_so(self):
        for option in ("connect.cache_time=0", "connect.cache_entries=0"):
            client = self.start(option)
            for _ in range(3):
                client.call("TCPName2Addr", ["four.test"])
            self.assertEqual(self.asked(), ["4 four.test"] * 3, option)

    def test_bounded(self):
        client = self.start("connect.cache_entries=2")
        for _ in range(3):
            for name in ("four.test", "many.test", "dual.test"):
                client.call("TCPName2Addr", [name])
        self.assertEqual(len(self.asked()), 9)  # the oldest was always gone
        client.call("TCPName2Addr", ["dual.test"])
        self.assertEqual(len(self.asked()), 9)

    # -- giving up

    def test_a_deadline_leaves_the_look_up_alone(self):
        client = self.start()
        self.check_error(client.error("TCPConnect", hostname="hang-a.test", port=1, timeout_ms=50), -10060, "ETIMEDOUT", "resolve")
        wait_until(lambda: self.stats("lookups_running") == [0], what="no look-up that somebody waits for")
        id = client.send("TCPName2Addr", ["hang-b.test"])
        wait_until(lambda: len(self.asked()) == 2)
        client.call("Broker.Cancel", [id])
        self.check_error(client.answer(id)["error"], -10004, "EINTR")
        wait_until(lambda: self.stats("lookups_running") == [0], what="no look-up that somebody waits for")

    def test_what_is_given_up_takes_no_memory(self):
        client = self.start("connect.lookup_timeout=60s")
        for round in range(2):
            for _ in range(100):
                ids = [client.send("TCPName2Addr", ["hang-m.test"]) for _ in range(100)]
                for id in ids:
                    client.send("Broker.Cancel", [id])
                for id in ids:
                    self.check_error(client.answer(id)["error"], -10004, "EINTR")
            if round == 0:
                before = self.daemon.rss_kib()
        self.assertEqual(self.asked(), ["4 hang-m.test"])
        wait_until(lambda: self.stats("lookups_running") == [0], what="no look-up that somebody waits for")
        if not self.daemon.sanitized():
            self.assertLess(self.daemon.rss_kib() - before, 4096)  # 10000 of them would be 20 MB

    # -- names that hang

    def test_names_that_hang_do_not_delay_others(self):
        """Three times: while nothing is known of them, while they hang, and when they are asked for again and again."""
        client = self.start()
        server = self.use(servers.Server())
        hung = self.open_client()

        def storm(first):
            return [hung.send("TCPConnect", hostname=f"hang-{i}.test", port=1, timeout_ms=60000)
                    for i in range(first, first + N_HANG)]

        def times(host):
            with Elapsed() as elapsed:
                number = client.call("TCPConnect", [host, server.port])["socket"]
            client.call("TCPClose", [number, 2])
            return elapsed.ms
        times("four.test")
        figures = {}
        threads = self.daemon.threads()
        ids = storm(0)
        figures["a literal right behind them"] = times("127.0.0.1")
        figures["a name right behind them"] = times("a.tls.test")
        wait_until(lambda: len(self.asked()) == N_HANG + 2)
        figures["names beside them, the slowest of 50"] = max(times(f"b{i}.tls.test") for i in range(50))
        figures["literals beside them, the slowest of 50"] = max(times("127.0.0.1") for _ in range(50))
        most = self.daemon.threads()
        ids += storm(0)
        figures["the same names again, and then a name"] = times("c.tls.test")
        self.assertEqual(sum("hang-" in line for line in self.asked()), N_HANG)
        self.let_go()
        for id in ids:
            self.check_error(hung.answer(id)["error"], -11002, "TRY_AGAIN", "resolve")
        wait_until(lambda: self.daemon.threads() == threads, what="the threads as before")
        print(f"\n  beside {N_HANG} names that hang: " + ", ".join(f"{what} {ms:.0f} ms" for what, ms in figures.items()) +
              f"; threads {threads} -> {most} -> {threads}", flush=True)
        for what, ms in figures.items():
            self.assertLess(ms, (100 if "literal" in what else 500) * SLOW, what)

    def test_other_families_of_a_name_that_hangs_come_last(self):
        client = self.start("threads.resolver=1", "threads.resolver_max=6")
        ids = [client.send("TCPConnect", hostname="hang-f.test", port=1)]
        wait_until(lambda: len(self.asked()) == 1)
        with Elapsed() as elapsed:
            client.call("TCPName2Addr", ["many.test"])  # the first is slow when this one is taken
        self.assertLess(elapsed.ms, 500 * SLOW)
        for family in ("ipv4", "ipv6"):
            ids.append(client.send("TCPConnect", hostname="hang-f.test", port=1, family=family))
        for name in ("four.test", "dual.test"):
            client.call("TCPName2Addr", [name])
        # not all of the threads that a user gets may hang because of one name
        self.assertEqual(sum("hang-f" in line for line in self.asked()), 2)
        self.let_go()
        for id in ids:
            self.check_error(client.answer(id)["error"], -11002, "TRY_AGAIN", "resolve")

    def test_all_threads_hang(self):
        """All that one user gets: the other half is for others (account_test.py)."""
        client = self.start("threads.resolver=2", "threads.resolver_max=6", "connect.lookup_timeout=60s")
        ids = [client.send("TCPName2Addr", [f"hang-{i}.test"]) for i in range(6)]
        wait_until(lambda: len(self.asked()) == 3)
        late = client.send("TCPName2Addr", ["four.test"])
        self.daemon.wait_log(r"warning resolver: \d of \d threads wait for answers.*the rest of threads\.resolver_max")
        self.assertFalse(client.answered(late))
        self.assertEqual(client.call("TCPName2Addr", ["127.0.0.9"])["address"], "127.0.0.9")
        self.let_go()
        self.assertEqual(client.wait(late)["address"], "127.0.0.1")
        for id in ids:
            client.answer(id)

    # -- other scripts

    def test_the_resolver_is_asked_for_a_labels(self):
        client = self.start()
        peer = self.use(servers.Peer(address="127.0.0.5"))
        for name in ("bücher.test", "BÜCHER.Test", "bu\u0308cher.test", "xn--bcher-kva.test"):
            self.assertEqual(client.call("TCPName2Addr", [name])["address"], "127.0.0.5")
        self.assertEqual(client.call("TCPConnect", ["bücher.test", peer.port])["remote_address"], "127.0.0.5")
        self.assertEqual(self.asked(), ["4 xn--bcher-kva.test", "0 xn--bcher-kva.test"])
        self.check_error(client.error("TCPName2Addr", ["\u200d\u202e.test"]), -11001, "HOST_NOT_FOUND", "resolve")


class Stop(TestCase):
    def test_many_hang_when_the_daemon_stops(self):
        with Daemon("--set", "stop.drain_timeout=300ms", resolver=True,
                    env={"TSAN_OPTIONS": "report_thread_leaks=0"}) as daemon, Client(daemon) as client:
            ids = [client.send("TCPName2Addr", [f"hang-{i}.test"]) for i in range(60)]
            wait_until(lambda: daemon.threads() >= 60, what="a thread for each")
            daemon.terminate()
            for id in ids:
                self.check_error(client.answer(id)["error"], -33005, "SHUTTING_DOWN")
            self.assertEqual(daemon.process.wait(seconds(5)), 0)


if __name__ == "__main__":
    main()
