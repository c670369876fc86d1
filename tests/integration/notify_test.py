#!/usr/bin/env python3
"""What the service manager is told: readiness, reloads, a status with figures, and signs of life only when all threads live.

The manager is a socket of ours (tests/support/notify.py); systemd_test.py has a real one.
"""
import concurrent.futures
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from harness import Client, Daemon, OwnDaemonTestCase, RpcError, config_text, main, seconds, wait_until
from notify import Manager, held, threads
from servers import Server, echo

PAUSE = 2.0  # between two lines of status, at least
WATCHDOG_MS = 1600


def is_sign(message):
    return message.get("WATCHDOG") == "1"


def fed(manager, for_s):
    """Signs of life in that time."""
    return sum(map(is_sign, manager.read(for_s)))


class NotifyTest(OwnDaemonTestCase):
    def begin(self, watchdog_ms=None, config=None, **kw):
        self.manager = self.use(Manager())
        self.daemon = self.use(Daemon(env=self.manager.environment(watchdog_ms), config=config, **kw))
        self.manager.wait(lambda message: message.get("READY") == "1", seconds(10), "READY=1")

    def configure(self, config):
        with open(os.path.join(self.daemon.folder, "tcpbroker.conf"), "w", encoding="utf-8") as file:
            file.write(config_text(config))

    def switches(self):
        """How often the control thread has waited for something."""
        with open(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/status", encoding="ascii") as file:
            return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", file.read(), re.M)[1])

    # ---- status

    def test_status_has_live_figures(self):
        self.begin()
        # the harness looked by a connection if the daemon is ready: it is gone
        self.manager.wait_status(lambda line: line == "Listening: 0 clients, 0 sockets", seconds(10))
        with Server(echo) as server, Client(self.daemon) as client:
            self.manager.wait_status(lambda line: line.startswith("Listening: 1 client, 0 sockets"), seconds(10))
            number = client.connect(server.port)
            self.manager.wait_status(lambda line: line.startswith("Listening: 1 client, 1 socket"), seconds(10))
            client.call("TCPClose", [number])
            # and what was a moment ago is told to be over
            self.manager.wait_status(lambda line: line == "Listening: 1 client, 0 sockets", seconds(10))
        self.manager.wait_status(lambda line: line == "Listening: 0 clients, 0 sockets", seconds(10))

    def test_status_under_load_comes_now_and_then(self):
        self.begin(config={"limits.connects_per_second": 0})
        with Server(echo) as server, Client(self.daemon) as client:
            end = time.monotonic() + 3 * PAUSE
            made = 0
            while time.monotonic() < end:
                client.call("TCPClose", [client.connect(server.port)])
                made += 1
                self.manager.read()
        self.manager.read(0.1)
        rates = [int(rate) for _, message in self.manager.told
                 for rate in re.findall(r"(\d+) connects?/s", message.get("STATUS", ""))]
        self.assertTrue(rates, self.manager.told)
        self.assertLess(max(rates), 2 * made / PAUSE)
        if not self.daemon.sanitized():
            self.assertGreater(max(rates), made / (3 * PAUSE) / 3)
        times = [when for when, message in self.manager.told if "STATUS" in message]
        # the time is taken by the reader, so a line may seem to be early by what the one before was late
        self.assertLessEqual(len(times), 3 + (times[-1] - times[0]) / PAUSE)

    def test_status_tells_of_lookups(self):
        self.begin(resolver=True)
        with Client(self.daemon) as client:
            client.send("TCPConnect", {"hostname": "hang-a.test", "port": 1})
            self.manager.wait_status(lambda line: "1 look-up waiting" in line, seconds(10))
            with open(self.daemon.release_path, "w", encoding="ascii"):
                pass
            self.manager.wait_status(lambda line: "look-up" not in line, seconds(10))

    def test_nobody_wakes_up_for_it(self):
        self.begin()
        with Client(self.daemon) as client:
            client.call("Broker.Hello", {})
            self.manager.wait_status(lambda line: line == "Listening: 1 client, 0 sockets", seconds(10))
            self.manager.read(2 * PAUSE)  # what was going on is over
            before, n_told = self.switches(), len(self.manager.told)
            self.manager.read(3 * PAUSE)  # the time itself is the matter
            self.assertEqual((self.switches() - before, len(self.manager.told) - n_told), (0, 0))

    def test_status_while_it_stops(self):
        self.begin(resolver=True)
        with Client(self.daemon) as client:
            client.send("TCPConnect", {"hostname": "hang-a.test", "port": 1})
            self.manager.wait_status(lambda line: "look-up" in line, seconds(10))
            self.daemon.terminate()
            self.manager.wait(lambda message: message.get("STOPPING") == "1", seconds(10), "STOPPING=1")
            self.manager.wait_status(lambda line: line.startswith("Finishing: 1 client, ") and
                                     "1 request running" in line, seconds(10))

    # ---- reload

    def check_reload(self, ask, succeeds):
        n_told = len(self.manager.told)
        before_us = time.monotonic_ns() // 1000
        ask()
        wait_until(lambda: self.manager.read(0.05) and any("READY" in message for _, message in self.manager.told[n_told:]),
                   what="READY=1 after the reload")
        told = [message for _, message in self.manager.told[n_told:] if "READY" in message or "RELOADING" in message]
        self.assertEqual([set(message) for message in told], [{"RELOADING", "MONOTONIC_USEC"}, {"READY"}], told)
        self.assertTrue(before_us <= int(told[0]["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000)
        self.manager.wait_status(lambda line: ("the last reload failed" in line) != succeeds, seconds(10))

    def test_reload_is_told_and_a_failed_one_is_remembered(self):
        self.begin(config={"log.level": "info"})
        with Client(self.daemon) as client:
            self.check_reload(lambda: client.call("Broker.Reload"), True)
            self.configure("[nonsense]\n")

            def fails():
                with self.assertRaises(RpcError) as caught:
                    client.call("Broker.Reload")
                self.assertIn("nonsense", caught.exception.message + str(caught.exception.data))

            for ask in (fails, lambda: self.daemon.process.send_signal(signal.SIGHUP)):
                self.check_reload(ask, False)
                self.assertRegex(self.manager.status(), r"the last reload failed: .*tcpbroker.conf:1: .*nonsense")
            self.configure({"log.level": "info"})
            for ask in (lambda: self.daemon.process.send_signal(signal.SIGHUP), lambda: client.call("Broker.Reload")):
                self.check_reload(ask, True)

    def test_what_needs_a_restart_is_remembered_until_it_is_taken_back(self):
        self.begin(config={"limits.sockets": "1000"})
        with Client(self.daemon) as client:
            for n_sockets, wanted in (("1000", False), ("2000", True), ("2000", True), ("1000", False)):
                self.configure({"limits.sockets": n_sockets})
                client.call("Broker.Reload")
                self.manager.wait_status(lambda line: ("a restart is needed" in line) == wanted, seconds(10))

    # ---- watchdog

    def hold(self, name, manager, daemon, interval):
        """Signs of life end while that thread of it does not run, and go on afterwards."""
        # a thread has its name a moment after it has begun
        tid = wait_until(lambda: threads(daemon.pid).get(name), what=f"a thread {name}")
        manager.wait(is_sign, 2 * interval, "a sign of life")
        log_before = len(daemon.log())
        with held(tid):
            manager.read(interval / 8)  # one may have been on its way
            self.assertEqual(fed(manager, interval * 1.25), 0)
            said = daemon.log()[log_before:]
            triggers = [message for _, message in manager.told if message.get("WATCHDOG") == "trigger"]
            if name == "main":  # it is who would tell; systemd notices by itself
                self.assertEqual((said, triggers), ("", []))
            else:
                self.assertEqual(re.findall(r"the thread (\S+) has not answered", said), [name], said)
                self.assertEqual(len(triggers), 1)
        # a service manager would have ended it; this one lets it go on
        self.assertGreater(fed(manager, interval * 1.25), 0)

    def test_signs_of_life_only_while_every_thread_lives(self):
        watchdog_ms = seconds(WATCHDOG_MS)
        names = ("io-0", "io-1", "dial-0", "dial-1", "resolver", "main")
        with concurrent.futures.ThreadPoolExecutor(len(names)) as side_by_side:
            running = {}
            for name in names:
                self.begin(watchdog_ms, config={"threads.io": "2", "threads.dial": "2"})
                running[name] = side_by_side.submit(self.hold, name, self.manager, self.daemon, watchdog_ms / 1000)
            for name, future in running.items():
                with self.subTest(name):
                    future.result()

    def test_a_process_that_was_stopped_blames_nobody(self):
        watchdog_ms = seconds(WATCHDOG_MS)
        self.begin(watchdog_ms)
        interval = watchdog_ms / 1000
        self.manager.wait(is_sign, 2 * interval, "a sign of life")
        os.kill(self.daemon.pid, signal.SIGSTOP)
        self.manager.read(0.1)
        self.assertEqual(fed(self.manager, 2 * interval), 0)
        os.kill(self.daemon.pid, signal.SIGCONT)
        self.assertGreater(fed(self.manager, 2 * interval), 0)
        self.assertNotIn("has not answered", self.daemon.log())
        self.assertFalse(any(message.get("WATCHDOG") == "trigger" for _, message in self.manager.told))


if __name__ == "__main__":
    main()
