#!/usr/bin/env python3
"""The units under a real systemd: activation, who may use the socket, sandbox, watchdog, journal, stop.

    python3 tests/integration/systemd_test.py [-v] [SystemdTest.test_...]

Every test installs the build ($TCPBROKER_BUILD, build/release unless told) into an empty folder, boots a systemd in a
container that has this folder laid over the root (tests/support/systemd-lab) and runs its body in there. Needs root and
systemd-nspawn; without them it is skipped.
"""
import functools
import grp
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from notify import held, threads
from partners import Asking, Partners, section

TREE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TCPBROKER_BUILD") or TREE / "build/release").resolve()
SOCKET = "/run/tcpbroker/tcpbroker.sock"
INSIDE = "TCPBROKER_TEST_INSIDE"  # set in the container
CANNOT_RUN = 77  # of systemd-lab
WAIT = 20  # seconds for something that should happen soon


def in_container(body):
    """Outside: boot a container and run the same test in it. Inside: the body."""

    @functools.wraps(body)
    def test(self):
        if os.environ.get(INSIDE):
            return body(self)
        file = os.path.basename(sys.modules[body.__module__].__file__)
        settings = [f"{name}={os.environ[name]}" for name in ("TCPBROKER_RESTARTS", "TCPBROKER_DEATHS") if name in os.environ]
        lab = [TREE / "tests/support/systemd-lab", "--timeout", "120", "--layer", self.installed,
               "--bind", f"{TREE}/tests:/run/tcpbroker-tests", "env", f"{INSIDE}=1", *settings,
               "python3", "-B", f"/run/tcpbroker-tests/integration/{file}", self.id().removeprefix("__main__.")]
        run = subprocess.run(list(map(str, lab)), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if run.returncode == CANNOT_RUN:
            self.skipTest(run.stderr.strip())
        self.assertEqual(run.returncode, 0, f"in the container:\n{run.stdout}{run.stderr}")
        self.assertIn("\nOK", run.stdout, "the test did not run in the container")
        for line in run.stdout.splitlines():
            if line.startswith("figures: "):
                print(line.removeprefix("figures: "), file=sys.stderr)

    return test


def systemctl(*arguments, check=True):
    run = subprocess.run(["systemctl", "--no-pager", *arguments], capture_output=True, text=True)
    if check and run.returncode != 0:
        raise AssertionError(f"systemctl {' '.join(arguments)}: {run.stdout}{run.stderr}\n{journal()}")
    return run.stdout.strip()


def show(name, unit="tcpbroker.service"):
    return systemctl("show", "--value", "-p", name, unit)


def journal():
    run = subprocess.run(["journalctl", "--no-pager", "-n", "40", "-o", "cat", "-u", "tcpbroker.*"],
                         capture_output=True, text=True)
    return run.stdout


def entries(event):
    """What the journal has of an event of ours, oldest first."""
    catalog = pathlib.Path(show("FragmentPath")).parents[1] / "catalog/tcpbroker.catalog"
    message_id = re.search(rf"^# {event}\n-- (\w+)$", catalog.read_text(encoding="utf-8"), re.M)[1]
    run = subprocess.run(["journalctl", "--no-pager", "-o", "json", f"MESSAGE_ID={message_id}"], capture_output=True, text=True,
                         check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def wait_for(what, condition):
    end = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {WAIT} s: {what}\n{journal()}")
        time.sleep(0.02)


class Listener:
    """Accepts one connection after another on 127.0.0.1 and echoes each until its end."""

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(65536):
                    connection.sendall(data)


def call(control, method, *params):
    """One request over an open control connection: its result."""
    return call_named(control, method, list(params))


def call_named(control, method, params=None, **named):
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": named if params is None else params}
    control.sendall(json.dumps(request).encode() + b"\n")
    line = b""
    while not line.endswith(b"\n"):
        data = control.recv(65536)
        if not data:
            raise AssertionError(f"the daemon closed the connection after {line!r}\n{journal()}")
        line += data
    answer = json.loads(line)
    if "result" not in answer:
        raise AssertionError(f"{method}: {answer}\n{journal()}")
    return answer["result"]


def connect():
    control = socket.socket(socket.AF_UNIX)
    control.settimeout(WAIT)
    control.connect(SOCKET)
    return control


def as_client(port):
    """What the ordinary user runs: connect, send, receive, close. Prints what came back."""
    with connect() as control:
        number = call(control, "TCPConnect", "127.0.0.1", port)["socket"]
        call(control, "TCPSend", number, "hello")
        print(call(control, "TCPReceive", number, 100)["data"])
        call(control, "TCPClose", number, 2)


def run_as(user, port):
    entry = pwd.getpwnam(user)
    return subprocess.run([sys.executable, "-B", __file__, "--client", str(port)], capture_output=True, text=True,
                          user=entry.pw_uid, group=entry.pw_gid, extra_groups=os.getgrouplist(user, entry.pw_gid),
                          cwd="/")


class SystemdTest(unittest.TestCase):
    installed = None

    @classmethod
    def setUpClass(cls):
        if os.environ.get(INSIDE):
            return
        if os.geteuid() != 0:
            raise unittest.SkipTest("needs root, to boot a container: run it with sudo")
        if not shutil.which("systemd-nspawn"):
            raise unittest.SkipTest("systemd-nspawn is missing: apt-get install systemd-container")
        if not (BUILD / "CMakeCache.txt").exists():
            raise AssertionError(f"no build in {BUILD}: cmake --preset release && cmake --build --preset release, "
                                 "or name another by TCPBROKER_BUILD")
        cls.installed = tempfile.mkdtemp(prefix="tcpbroker-installed-")
        cls.addClassCleanup(shutil.rmtree, cls.installed)
        os.chmod(cls.installed, 0o755)
        run = subprocess.run(["cmake", "--install", BUILD], env={**os.environ, "DESTDIR": cls.installed},
                             capture_output=True, text=True)
        if run.returncode != 0:
            raise AssertionError(f"cmake --install {BUILD}: {run.stdout}{run.stderr}")

    def setUp(self):
        if os.environ.get(INSIDE):
            subprocess.run(["systemd-sysusers"], check=True, capture_output=True)
            systemctl("daemon-reload")

    def start(self):
        systemctl("start", "tcpbroker.socket")
        systemctl("start", "tcpbroker.service")
        self.assertEqual(show("ActiveState"), "active")
        return int(show("MainPID"))

    @in_container
    def test_units_are_well_formed(self):
        run = subprocess.run(["systemd-analyze", "verify", "tcpbroker.service", "tcpbroker.socket"],
                             capture_output=True, text=True)
        ours = [line for line in run.stderr.splitlines() if "tcpbroker" in line]
        self.assertEqual((run.returncode, ours), (0, []))

    @in_container
    def test_exposure(self):
        self.start()
        run = subprocess.run(["systemd-analyze", "security", "--no-pager", "--threshold=15", "tcpbroker.service"],
                             capture_output=True, text=True, check=False)
        self.assertRegex(run.stdout, "Overall exposure level for tcpbroker.service: [0-9.]+")
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertEqual(show("PrivateUsers"), "no")

    @in_container
    def test_socket_belongs_to_the_group(self):
        systemctl("start", "tcpbroker.socket")
        entry = os.stat(SOCKET)
        group = pwd.getpwnam("tcpbroker").pw_gid
        self.assertEqual((stat.S_IMODE(entry.st_mode), entry.st_uid, entry.st_gid), (0o660, 0, group))
        folder = os.stat(os.path.dirname(SOCKET))
        self.assertEqual((stat.S_IMODE(folder.st_mode), folder.st_uid), (0o755, 0))
        systemctl("stop", "tcpbroker.socket")
        self.assertFalse(os.path.exists(SOCKET))

    @in_container
    def test_member_of_the_group_connects_and_others_are_refused(self):
        subprocess.run(["useradd", "--groups", "tcpbroker", "member"], check=True)
        subprocess.run(["useradd", "stranger"], check=True)
        systemctl("start", "tcpbroker.socket")
        self.assertEqual(show("ActiveState"), "inactive")
        with Listener() as listener:
            # the stranger first: to be refused must not even start the service
            run = run_as("stranger", listener.port)
            self.assertIn("PermissionError: [Errno 13]", run.stderr)
            self.assertNotEqual(run.returncode, 0)
            self.assertEqual(show("ActiveState"), "inactive")
            run = run_as("member", listener.port)
            self.assertEqual((run.returncode, run.stdout), (0, "hello\n"), run.stderr + journal())
        self.assertEqual(show("ActiveState"), "active")

    @in_container
    def test_daemon_has_no_privileges(self):
        pid = self.start()
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        user = pwd.getpwnam("tcpbroker")
        self.assertEqual(status["Uid"].split(), [str(user.pw_uid)] * 4)
        self.assertEqual(status["Gid"].split(), [str(user.pw_gid)] * 4)
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[capabilities], 16), 0, capabilities)
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))

    @in_container
    def test_sandbox_leaves_the_work_possible(self):
        self.start()
        with connect() as control:
            addresses = call(control, "TCPName2Addr", "localhost")["addresses"]
            self.assertIn("127.0.0.1", addresses)
            # what Debian's systemd sets at boot; a container has the kernel's default
            pathlib.Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647", encoding="ascii")
            for address in ("127.0.0.1", "::1"):
                self.assertEqual(call(control, "TCPPing", address)["address"], address)
            serving = call(control, "TCPSocket")["socket"]
            port = call(control, "TCPBind", serving, 0)["port"]
            call(control, "TCPListen", serving)
            with socket.create_connection(("127.0.0.1", port)):
                call(control, "TCPAccept", serving)
        pid = show("MainPID")
        nices = set()
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/stat", encoding="utf-8") as file:
                nices.add(int(file.read().rpartition(")")[2].split()[16]))
        self.assertEqual(nices, {0, 5}, "the dial threads, and only they, run at a lower priority")

    @in_container
    def test_doors(self):
        """Tunnels in the folder that the service has for them, each for its group."""
        subprocess.run(["groupadd", "database"], check=True)
        subprocess.run(["useradd", "--groups", "database", "reader"], check=True)
        subprocess.run(["useradd", "stranger"], check=True)
        dropin = pathlib.Path("/etc/systemd/system/tcpbroker.service.d/groups.conf")
        dropin.parent.mkdir(parents=True)
        dropin.write_text("[Service]\nSupplementaryGroups=database\nSystemCallFilter=@chown\n", encoding="ascii")
        systemctl("daemon-reload")
        door = "/run/tcpbroker/doors/echo.sock"
        config = re.search(r"--config (\S+)", show("ExecStart"))[1]
        program = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'hello'); "
                   "s.shutdown(1); print(s.makefile().read())")
        with Listener() as listener:
            tunnel = f"[tunnel \"echo\"]\nlisten = {door}\nconnect = localhost:{listener.port}\nsecure = no\n"
            pathlib.Path(config).write_text(tunnel + "group = database\n", encoding="ascii")
            self.start()
            entry = os.stat(door)
            self.assertEqual((stat.S_IMODE(entry.st_mode), entry.st_uid, entry.st_gid),
                             (0o660, pwd.getpwnam("tcpbroker").pw_uid, grp.getgrnam("database").gr_gid))
            for user, wanted in (("reader", "hello\n"), ("stranger", "")):
                of = pwd.getpwnam(user)
                run = subprocess.run([sys.executable, "-c", program, door], capture_output=True, text=True, cwd="/", user=of.pw_uid,
                                     group=of.pw_gid, extra_groups=os.getgrouplist(user, of.pw_gid))
                self.assertEqual(run.stdout, wanted, run.stderr + journal())
            pathlib.Path(config).write_text(tunnel, encoding="ascii")
            systemctl("reload", "tcpbroker.service")
            self.assertEqual(os.stat(door).st_gid, grp.getgrnam("tcpbroker").gr_gid)
            # what is wrong is told by the reload, and changes nothing
            pathlib.Path(config).write_text(tunnel + "group = no-such-group\n", encoding="ascii")
            self.assertNotEqual(subprocess.run(["systemctl", "reload", "tcpbroker.service"], capture_output=True).returncode, 0)
            self.assertTrue(os.path.exists(door))
        systemctl("stop", "tcpbroker.service")
        self.assertFalse(os.path.exists("/run/tcpbroker/doors"))
        self.assertTrue(os.path.exists(SOCKET))

    @in_container
    def test_starts_without_a_configuration_file(self):
        line = show("ExecStart")
        config = re.search(r"--config (\S+)", line)
        self.assertIsNotNone(config, line)
        self.assertTrue(os.path.exists(config[1]), "the sample is installed where the unit looks for it")
        os.unlink(config[1])
        self.start()

    def with_watchdog(self):
        folder = pathlib.Path("/run/systemd/system/tcpbroker.service.d")
        folder.mkdir(parents=True)
        (folder / "watchdog.conf").write_text("[Service]\nWatchdogSec=2s\nTimeoutAbortSec=5s\n"
                                              "[Unit]\nStartLimitIntervalSec=0\n", encoding="ascii")
        systemctl("daemon-reload")
        pid = self.start()
        self.assertEqual(show("WatchdogUSec"), "2s")
        return pid

    @in_container
    def test_watchdog_is_fed_and_bites(self):
        pid = self.with_watchdog()
        time.sleep(5)  # the time itself is the matter: more than two watchdog periods
        self.assertEqual((show("ActiveState"), show("NRestarts"), show("MainPID")), ("active", "0", str(pid)))
        # and the other way round: a daemon that stands still is replaced
        os.kill(pid, signal.SIGSTOP)
        wait_for("a new daemon in place of the stopped one",
                 lambda: show("ActiveState") == "active" and show("MainPID") not in ("0", str(pid)))
        self.assertEqual(show("NRestarts"), "1")
        with connect() as control:
            call(control, "Broker.Hello")

    @in_container
    def test_watchdog_bites_for_one_thread(self):
        pid = self.with_watchdog()
        for n_restarts, name in enumerate(("io-0", "dial-0", "resolver", "main"), 1):
            with held(threads(pid)[name]):
                # a core dump waits for all threads, so let this one go when it is to die
                wait_for(f"an end to the daemon whose thread {name} hangs", lambda: show("ActiveState") != "active" or
                         show("MainPID") != str(pid) or show("Result") == "watchdog")
            wait_for(f"a new daemon in place of the one whose thread {name} hangs",
                     lambda: show("ActiveState") == "active" and show("MainPID") not in ("0", str(pid)))
            pid = int(show("MainPID"))
            self.assertEqual(show("NRestarts"), str(n_restarts))
            found = [entry["TCPBROKER_THREAD"] for entry in entries("HANGS")]
            self.assertEqual(found, ["io-0", "dial-0", "resolver"][:n_restarts])
        with connect() as control:
            call(control, "Broker.Hello")

    @in_container
    def test_status_and_reload_are_told(self):
        self.start()
        with connect() as control:
            call(control, "Broker.Hello")
            wait_for("the client in the status", lambda: show("StatusText").startswith("Listening: 1 client, "))
            settings = pathlib.Path("/etc/tcpbroker/tcpbroker.conf")
            good = settings.read_text(encoding="utf-8")
            settings.write_text("[nonsense]\n", encoding="ascii")
            run = subprocess.run(["systemctl", "reload", "tcpbroker.service"], capture_output=True, text=True, check=False)
            self.assertNotEqual(run.returncode, 0)
            self.assertEqual(show("ActiveState"), "active")
            self.assertRegex(show("StatusText"), "the last reload failed: .*tcpbroker.conf:1: .*nonsense")
            # the reason is in the journal of the unit twice: of the daemon, and of who asked
            self.assertRegex(entries("RELOAD_FAILED")[-1]["TCPBROKER_REASON"], "tcpbroker.conf:1: .*nonsense")
            self.assertGreaterEqual(journal().count("nonsense"), 2)
            settings.write_text(good, encoding="utf-8")
            systemctl("reload", "tcpbroker.service")
            self.assertNotIn("failed", show("StatusText"))
            os.kill(int(show("MainPID")), signal.SIGHUP)
            wait_for("a reload by the signal", lambda: len(entries("RELOADED")) == 2)
            wait_for("the end of the reload", lambda: show("ActiveState") == "active")

    @in_container
    def test_journal_has_fields_and_a_catalog(self):
        subprocess.run(["journalctl", "--update-catalog"], check=True, capture_output=True)
        pid = self.start()
        wait_for("the start in the journal", lambda: entries("STARTED"))
        entry = entries("STARTED")[0]
        self.assertEqual((entry["SYSLOG_IDENTIFIER"], entry["PRIORITY"], entry["_PID"], entry["_SYSTEMD_UNIT"]),
                         ("tcpbrokerd", "5", str(pid), "tcpbroker.service"))
        self.assertIn("listens on", entry["MESSAGE"])
        systemctl("reload", "tcpbroker.service")
        wait_for("the reload in the journal", lambda: entries("RELOADED"))
        explained = subprocess.run(["journalctl", "--no-pager", "-x", "-u", "tcpbroker.service"], capture_output=True, text=True,
                                   check=True).stdout
        self.assertIn("Subject: The connection broker listens", explained)
        self.assertIn("It is number 2. New connections use it", explained)
        with connect() as control:
            self.assertEqual(call(control, "Broker.Stats")["log_lost"], 0)
        settings = pathlib.Path("/etc/tcpbroker/tcpbroker.conf")
        settings.write_text('[rule "d"]\nverdict = deny\nports = 5\n[rule "r"]\nverdict = report\nports = 6\n', encoding="ascii")
        systemctl("reload", "tcpbroker.service")
        with connect() as control:
            for port in (5, 6):
                self.assertRaises(AssertionError, call, control, "TCPConnect", "127.0.0.1", port)
        wait_for("what a rule denied and what one reported", lambda: entries("POLICY_DENIED") and entries("POLICY_REPORTED"))
        for event, line in (("POLICY_DENIED", 1), ("POLICY_REPORTED", 4)):
            (entry,) = entries(event)
            self.assertEqual((entry["TCPBROKER_RULE"], entry["TCPBROKER_UID"], entry["TCPBROKER_PID"]),
                             (f"{settings}:{line}", str(os.getuid()), str(os.getpid())), entry)
            self.assertIn("127.0.0.1", entry["TCPBROKER_REASON"])
        # every line of the daemon came by the journal's own protocol
        lines = [json.loads(line) for line in subprocess.run(
            ["journalctl", "--no-pager", "-o", "json", "-u", "tcpbroker.service", f"_PID={pid}"], capture_output=True,
            text=True, check=True).stdout.splitlines()]
        self.assertEqual({line["_TRANSPORT"] for line in lines}, {"journal"})

    @in_container
    def test_file_descriptors_that_do_not_suffice_are_told(self):
        dropin = pathlib.Path("/etc/systemd/system/tcpbroker.service.d/few.conf")
        dropin.parent.mkdir(parents=True)

        def start_with(allowed):
            dropin.write_text(f"[Service]\nLimitNOFILE={allowed}\n", encoding="ascii")
            systemctl("daemon-reload")
            systemctl("restart", "tcpbroker.service")
            with connect() as control:
                call(control, "Broker.Hello")
        self.assertEqual(show("LimitNOFILE"), "65536")
        start_with(2000)
        wait_for("the warning", lambda: entries("DESCRIPTORS"))
        entry = entries("DESCRIPTORS")[0]
        self.assertEqual((entry["PRIORITY"], entry["TCPBROKER_ALLOWED"]), ("4", "2000"))
        self.assertLess(int(entry["TCPBROKER_WANTED"]), 65536, "the unit allows what the defaults may need")
        # and what it names is enough: with less of everything, as this machine may not allow that much
        pathlib.Path("/etc/tcpbroker/tcpbroker.conf").write_text("[limits]\nsockets = 1000\n[listen]\nclients = 500\n", encoding="ascii")
        start_with(2000)
        wait_for("another warning", lambda: len(entries("DESCRIPTORS")) == 2)
        wanted = int(entries("DESCRIPTORS")[1]["TCPBROKER_WANTED"])
        self.assertTrue(2500 <= wanted <= 3000, wanted)
        start_with(wanted)
        self.assertEqual(len(entries("DESCRIPTORS")), 2)

    @in_container
    def test_identity_from_the_unit_itself(self):
        """SetCredential=: certificate and key stand in the unit."""
        made = Partners(tempfile.mkdtemp())

        def inline(text):
            return text.replace("\\", "\\\\").replace("%", "%%").replace("\n", "\\n")
        dropin = pathlib.Path("/etc/systemd/system/tcpbroker.service.d/partner.conf")
        dropin.parent.mkdir(parents=True)
        dropin.write_text(f"[Service]\nSetCredential=partner.pem:{inline(made.client.pem + made.one.pem)}\n"
                          f"SetCredential=partner.key:{inline(made.key(made.client))}\n", encoding="ascii")
        cacerts = pathlib.Path("/etc/tcpbroker/cacerts")
        cacerts.mkdir(exist_ok=True)
        (cacerts / "root.pem").write_text(made.root.pem, encoding="ascii")
        pathlib.Path("/etc/tcpbroker/tcpbroker.conf").write_text(
            section("identity", "partner", certificate="cred:partner.pem", key="cred:partner.key", users="root"), encoding="ascii")
        systemctl("daemon-reload")
        self.start()
        with Asking(made.server_context()) as server, connect() as control:
            call_named(control, "TCPConnect", hostname="localhost", port=server.port, secure=True, identity="partner")
            wait_for("the server having seen it", lambda: server.shown)
            self.assertEqual(server.shown, [[made.client.der, made.one.der]])

    @in_container
    def test_identity_from_credentials_and_a_truthful_reload(self):
        made = Partners(tempfile.mkdtemp())
        made.write("partner.pem", made.client.pem + made.one.pem)
        made.write("partner.key", made.key(made.client))  # for root only: systemd hands it to the service
        drop_in = pathlib.Path("/etc/systemd/system/tcpbroker.service.d/partner.conf")
        drop_in.parent.mkdir(parents=True, exist_ok=True)
        drop_in.write_text(f"[Service]\nLoadCredential=partner.pem:{made.folder}/partner.pem\n"
                           f"LoadCredential=partner.key:{made.folder}/partner.key\n", encoding="ascii")
        settings = pathlib.Path("/etc/tcpbroker/tcpbroker.conf")
        settings.parent.mkdir(exist_ok=True)
        cacerts = pathlib.Path("/etc/tcpbroker/cacerts")
        cacerts.mkdir(exist_ok=True)
        (cacerts / "root.pem").write_text(made.root.pem, encoding="ascii")
        good = section("identity", "partner", certificate="cred:partner.pem", key="cred:partner.key", users="root")
        settings.write_text(good, encoding="ascii")
        systemctl("daemon-reload")
        pid = self.start()

        def connects():
            with connect() as control:
                call_named(control, "TCPConnect", hostname="localhost", port=server.port, secure=True, identity="partner")
        with Asking(made.server_context()) as server:
            connects()
            systemctl("reload", "tcpbroker.service")
            connects()
            for bad in (good.replace("partner.key", "other.key"), good + "[nonsense]\n",
                        good + section("tls", "p", crl="/etc/tcpbroker/no-such-list")):
                settings.write_text(bad, encoding="ascii")
                run = subprocess.run(["systemctl", "reload", "tcpbroker.service"], capture_output=True, text=True, check=False)
                self.assertNotEqual(run.returncode, 0, bad)
                self.assertEqual((show("ActiveState"), show("MainPID")), ("active", str(pid)))
                connects()
            wait_for("the servers having seen it", lambda: len(server.shown) == 5)
            self.assertEqual(server.shown, 5 * [[made.client.der, made.one.der]])
        settings.write_text(good.replace("users = root", "users = nobody"), encoding="ascii")
        systemctl("reload", "tcpbroker.service")
        with self.assertRaisesRegex(AssertionError, "user 0 may not use the identity partner"):
            connects()

    @in_container
    def test_stop_is_clean_and_the_socket_starts_it_again(self):
        pid = self.start()
        with Listener() as listener, connect() as control:
            call(control, "TCPConnect", "127.0.0.1", listener.port)
            begun = time.monotonic()
            systemctl("stop", "tcpbroker.service")
            self.assertLess(time.monotonic() - begun, WAIT, "nothing was running: there is nothing to drain")
            self.assertEqual(control.recv(1), b"")
        # ExecMainCode 1: it exited, by its own will
        self.assertEqual((show("ActiveState"), show("Result"), show("ExecMainCode"), show("ExecMainStatus")),
                         ("inactive", "success", "1", "0"), journal())
        self.assertFalse(os.path.exists(f"/proc/{pid}"))
        self.assertEqual(show("SubState", "tcpbroker.socket"), "listening")
        with connect() as control:
            call(control, "Broker.Hello")
        self.assertEqual(show("ActiveState"), "active")
        self.assertNotEqual(int(show("MainPID")), pid)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        as_client(int(sys.argv[2]))
    else:
        # in the container all goes to the one output that the outer test looks at
        unittest.main(testRunner=unittest.TextTestRunner(stream=sys.stdout) if os.environ.get(INSIDE) else None)
