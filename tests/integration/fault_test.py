#!/usr/bin/env python3
"""Every allocation and every system call of a scenario fails once, with each plausible error: the client is told, or notices
nothing; another client is served right after it; no descriptor, no socket is left; the daemon lives.

A sample is taken, by TCPBROKER_SEED; TCPBROKER_FULL=1 runs all (about an hour). TCPBROKER_FAULT repeats a single one, as it is
named when it fails: 'tls allocate ENOMEM 17 own'."""
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import faults
from fault_scenarios import ELSEWHERE, ENDINGS, SCENARIOS
from harness import ROOT, main

# How many, and seconds at most.
ALLOCATIONS, SHORTAGES, LIBRARY, CALLS, UNNOTICED, LIVES = (300, 7), (80, 3), (150, 4), (400, 7), (200, 3), (60, 5)
IN_A_ROW = (150, 4)


def methods():
    with open(os.path.join(ROOT, "proto", "methods.def"), encoding="utf-8") as file:
        return re.findall(r'^METHOD_BEGIN\(\w+, \w+, "([\w.]+)"', file.read(), re.M)

NO_MALLOC = not faults.unusable() and faults.sanitizer()


@unittest.skipIf(faults.unusable(), faults.unusable())
class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rig = faults.Rig()
        cls.rig.__enter__()
        cls.rig.start()

    @classmethod
    def tearDownClass(cls):
        cls.rig.__exit__()

    def setUp(self):
        one = os.environ.get("TCPBROKER_FAULT", "")
        wanted = "test_5_start_and_end" if one.split(" ")[0] in ("start", *ENDINGS) else "test_3_system_calls"
        if one and self._testMethodName != wanted:
            self.skipTest("TCPBROKER_FAULT asks for another one")

    def inject(self, kinds, callers, n):
        if self.rig.daemon is None:
            self.rig.start()
        counted = faults.count_calls(self.rig, SCENARIOS, kinds, callers)
        tally, n_cases = faults.Tally(), 0
        for case in faults.sample(faults.all_cases(counted), *n):
            n_cases += 1
            with self.subTest(str(case)):
                problem = faults.run_case(self.rig, SCENARIOS, case, tally)
                if problem:
                    print(problem, flush=True)
                self.assertIsNone(problem)
        print(f"\n  seed {faults.SEED}: {tally.figures()}", flush=True)
        if kinds == ("allocate",):
            told = set().union(*tally.symbols.values())
            self.assertLessEqual(told, {"ENOBUFS", "closed"}, dict(tally.symbols))
        for case, took in tally.slow:
            print(f"  slow: {case}: {took:.1f} s")
        if os.environ.get("TCPBROKER_FULL"):
            print(tally.table())
            for (kind, error), symbols in sorted(tally.symbols.items()):
                print(f"  {kind} {error}: {dict(symbols)}")
        if not os.environ.get("TCPBROKER_FAULT"):
            self.assertGreater(sum(tally.injected.values()), n_cases // 2)
            self.assertGreater(sum(tally.told.values()), n_cases // 20)
        return counted

    def test_1_every_method_has_a_scenario(self):
        faults.count_calls(self.rig, SCENARIOS, (), ())
        missing = sorted(set(methods()) - faults.Victim.called - set(ELSEWHERE) - {ending.method for ending in ENDINGS.values()})
        self.assertEqual(missing, [], "no scenario of tests/support/fault_scenarios.py calls these methods; add one "
                                      "that does, and its allocations and system calls will fail one by one")

    @unittest.skipIf(NO_MALLOC, "a sanitizer has its own malloc; run it with the release build")
    def test_2_allocations(self):
        self.inject(("allocate",), ("own",), ALLOCATIONS)

    @unittest.skipIf(NO_MALLOC, "a sanitizer has its own malloc; run it with the release build")
    def test_2_no_memory_for_long(self):
        """From one allocation on all of them fail, until the client has gone."""
        if self.rig.daemon is None:
            self.rig.start()
        counted = faults.count_calls(self.rig, SCENARIOS, ("allocate",), ("own",))
        tally = faults.Tally()
        for case in faults.sample(faults.all_cases(counted), *SHORTAGES):
            with self.subTest(str(case)):
                self.assertIsNone(faults.run_case(self.rig, SCENARIOS, case, tally, 1 << 30))
        self.assertLessEqual(set().union(*tally.symbols.values()), {"ENOBUFS", "closed"}, dict(tally.symbols))
        print(f"\n  seed {faults.SEED}: {tally.figures()}")

    @unittest.skipIf(NO_MALLOC, "a sanitizer has its own malloc; run it with the release build")
    def test_2_allocations_of_the_library(self):
        """OpenSSL does not always say that it was memory; but what it has read without is not used from then on."""
        if self.rig.daemon is None:
            self.rig.start()
        scenarios = {name: SCENARIOS[name] for name in ("reload", "tls_explained", "serve_tls")}
        counted = faults.count_calls(self.rig, scenarios, ("allocate",), ("ssl",))
        tally = faults.Tally()
        for case in faults.sample(faults.all_cases(counted), *LIBRARY):
            with self.subTest(str(case)):
                self.assertIsNone(faults.run_case(self.rig, SCENARIOS, case, tally))
        print(f"\n  seed {faults.SEED}: {tally.figures()}")

    def test_3_system_calls(self):
        kinds = [kind for kind in faults.ERRORS if kind != "allocate"]
        counted = self.inject(kinds, ("own", "ssl", "other"), CALLS)
        self.assertGreaterEqual({kind for _, kind, _ in counted}, {"socket", "connect", "accept4", "send", "recv", "close"})

    def test_4_what_nobody_notices(self):
        """The system has no room or no time just now: that is no reason to end anything."""
        if self.rig.daemon is None:
            self.rig.start()
        counted = faults.count_calls(self.rig, {name: SCENARIOS[name] for name in ("greet", "plain")},
                                     ("send", "recv", "accept4", "log_write"), ("own",))
        unnoticed = {"send": ("EINTR", "EAGAIN", faults.SHORT), "recv": ("EINTR", "EAGAIN", faults.SHORT),
                     "accept4": ("EINTR", "EAGAIN", "ECONNABORTED", "EMFILE", "ENOBUFS"),
                     "log_write": faults.ERRORS["log_write"]}
        cases = [faults.Case(name, kind, error, at, caller) for (name, kind, caller), n in counted.items()
                 for error in (*unnoticed[kind], *(("ENOBUFS", "ENOMEM") if (name, kind) == ("greet", "send") else ()))
                 for at in range(1, n + 1)]
        tally = faults.Tally()
        for case in faults.sample(cases, *UNNOTICED):
            with self.subTest(str(case)):
                self.assertIsNone(faults.run_case(self.rig, SCENARIOS, case, tally))
        self.assertEqual({kind: n for kind, n in tally.told.items() if n}, {}, dict(tally.symbols))
        print(f"\n  {tally.figures()}")

    def test_4_some_in_a_row(self):
        """No room, and still none at the next attempts: every send at which a TLS stream may end, and a sample of the rest."""
        if self.rig.daemon is None:
            self.rig.start()
        counted = faults.count_calls(self.rig, SCENARIOS, ("send", "recv", "read", "write", "sendmsg", "recvmsg"), ("own", "ssl"))
        cases = [case for case in faults.all_cases(counted) if case.error in ("EAGAIN", "EINTR", "ENOBUFS", faults.SHORT)]
        ends = [case for case in cases if case.scenario in ("tunnel_tls", "attach_tls") and (case.kind, case.error) == ("send", "EAGAIN")]
        self.assertGreater(len(ends), 4)
        tally = faults.Tally()
        for case in [*ends, *faults.sample(cases, *IN_A_ROW)]:
            with self.subTest(str(case)):
                self.assertIsNone(faults.run_case(self.rig, SCENARIOS, case, tally, 3))
        print(f"\n  seed {faults.SEED}: {tally.figures()}")

    def test_5_start_and_end(self):
        if self.rig.daemon:
            self.rig.stop()  # it has the doors' sockets
        life = faults.Life(self.rig, ENDINGS)
        counted = {}
        for scenario in ("start", *ENDINGS):
            started, status, log, calls = life.run(None, None if scenario == "start" else scenario)
            self.assertEqual((started, status), (True, 0), log)
            counted |= {(scenario, *key): n for key, n in calls.items() if key[1] in ("own", "ssl", "other") and key[0] not in ("mmap", "log_write")}
        counted = {key: n for key, n in counted.items() if key[1] != "allocate" or key[2] == "own"}
        tally = faults.Tally()
        for case in faults.sample(faults.all_cases(counted), *LIVES):
            with self.subTest(str(case)):
                problem = faults.run_life(life, case, tally)
                if problem:
                    print(problem, flush=True)
                self.assertIsNone(problem)
        print(f"\n  seed {faults.SEED}: {tally.figures()}")
        if os.environ.get("TCPBROKER_FULL"):
            print(tally.table())


if __name__ == "__main__":
    main()
