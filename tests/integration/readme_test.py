"""The documents say what is: the examples of README.md run as they are printed, its links lead somewhere, its lists of
methods are those of the daemon, and the manual pages have every option of the programs."""
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import ROOT, Daemon, OwnDaemonTestCase, TestCase, daemon_path, main, seconds
from partners import Asking, Partners

BUILD = os.environ.get("TCPBROKER_BUILD", os.path.dirname(os.path.dirname(daemon_path())))
COMMAND = os.environ.get("TCPBROKER", os.path.join(BUILD, "cli", "tcpbroker"))
TLS_PORT, PLAIN_PORT, CLOSED_PORT = 6000, 6001, 6009


def text_of(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


README = text_of("README.md")
# a marked example, and the output that may be shown in the block after it
EXAMPLE = re.compile(r"^<!-- run: ([\w-]+) -->\n```\w+\n(.*?)^```\n(?:\n```\n(.*?)^```\n)?", re.M | re.S)


def examples(kind):
    """[(text, expected output or None)]"""
    found = [match.group(2, 3) for match in EXAMPLE.finditer(README) if match.group(1) == kind]
    if not found:
        raise AssertionError(f"README.md has no example marked <!-- run: {kind} -->")
    return found


def normal(output):
    """What differs from run to run: milliseconds, days, and whether localhost is ::1, too."""
    output = re.sub(r"in \d+ ms", "in 0 ms", re.sub(r"\d{4}-\d\d-\d\d, in \d+ days", "2026-12-25, in 30 days", output))
    return re.sub(r'\{"address":"::1",[^}]*\},?', "", re.sub(r'"ms":\d+', '"ms":0', output)).replace("},]", "}]")


class Examples(TestCase):
    DAEMON_ARGS = ("--cacerts", certificates().cacerts)

    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-readme-")
        self.addCleanup(shutil.rmtree, self.folder)
        try:
            self.tls = self.use(servers.Server(tls=servers.tls_context(), port=TLS_PORT))
            self.plain = self.use(servers.Server(port=PLAIN_PORT))
        except OSError as error:
            self.skipTest(f"the ports of the examples, {TLS_PORT} and {PLAIN_PORT}, are not free here: {error}")
        os.mkdir(os.path.join(self.folder, "bin"))
        os.symlink(COMMAND, os.path.join(self.folder, "bin", "tcpbroker"))
        self.environment = {**os.environ, "TCPBROKER_SOCKET": self.daemon.socket_path,
                            "PATH": os.path.join(self.folder, "bin") + ":" + os.environ["PATH"]}

    def run_command(self, *command, text=None):
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=seconds(60),
                              cwd=self.folder, env=self.environment)
        self.assertEqual((done.returncode, done.stderr), (0, ""), f"{command}\n{text}\n{done.stdout}")
        return done.stdout

    def test_python(self):
        for text, expected in examples("python"):
            self.assertEqual(self.run_command(sys.executable, "-I", "-W", "error", "-c", text), expected)
        self.assertEqual(self.tls.handshakes, len(examples("python")))

    def test_c(self):
        with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as file:
            if re.search("^TCPBROKER_SANITIZE:[A-Z]+=.", file.read(), re.M):
                self.skipTest("a sanitized library needs a sanitized program; run it in another build")
        lib = os.path.join(self.folder, "prefix")
        if not os.path.exists(os.path.join(BUILD, "lib", "libtcpbroker.so")):
            self.skipTest(f"no library in {BUILD}: build the target all")
        self.run_command("cmake", "--install", os.path.join(BUILD, "lib"), "--prefix", lib)
        folder = next(path for path, _, files in os.walk(lib) if "libtcpbroker.so" in files)
        self.environment.update(PKG_CONFIG_PATH=os.path.join(folder, "pkgconfig"), LD_LIBRARY_PATH=folder)
        (compile_line, _), = examples("cc")
        for handshakes, kind in enumerate(("c", "c-attach"), 1):
            (program, _), = examples(kind)
            with open(os.path.join(self.folder, "hello.c"), "w", encoding="utf-8") as file:
                file.write(program)
            self.run_command("sh", "-e", text=compile_line.replace("cc ", "cc -Wall -Wextra -Werror ", 1))
            self.assertEqual(self.run_command("./hello"), "hello\n")
            self.assertEqual(self.tls.handshakes, handshakes)

    def test_shell(self):
        if not shutil.which("nc"):
            self.skipTest("nc is missing: install netcat-openbsd")
        if not os.access(COMMAND, os.X_OK):
            self.skipTest(f"no {COMMAND}: build the target tcpbroker")
        for text, expected in examples("sh"):
            output = self.run_command("sh", "-e", "-u", text=text)
            if expected is not None:
                self.assertEqual(normal(output), normal(expected))
            else:
                self.assertTrue(output.startswith("hello\n"), output)
        self.assertEqual((self.tls.handshakes, self.plain.accepted), (1, 2))

    def test_doors(self):
        if not shutil.which("nc"):
            self.skipTest("nc is missing: install netcat-openbsd")
        (config, _), = examples("config")
        (text, expected), = examples("doors")
        there = [part.replace("/run/tcpbroker/doors", self.folder) for part in (config, text)]
        with Daemon("--cacerts", certificates().cacerts, config=there[0] + "[stop]\ndrain_timeout = 1s\n"):
            self.assertEqual(self.run_command("sh", "-e", "-u", text=there[1]), expected)
            self.assertTrue(os.path.exists(os.path.join(self.folder, "socks.sock")))
        self.assertEqual(self.tls.handshakes, 1)

    def test_the_lists_of_methods(self):
        works = self.client.call("Broker.Hello")["methods"]
        part = README.split("## What works", 1)[1].split("\n## ", 1)[0]
        pattern = r"\b(?:TCP[A-Z]\w+|(?:Broker|Session|Policy|rpc)\.\w+)"
        self.assertEqual(sorted(set(re.findall(pattern, part))), sorted(works))
        table = subprocess.run([os.path.join(BUILD, "proto", "proto_tables"), "methods"], capture_output=True, text=True,
                               check=True).stdout
        self.assertEqual(set(works), set(re.findall(r"^### (\S+)", table, re.M)))

    def test_the_version(self):
        self.assertIn(f"works in version {self.client.call('Broker.Hello')['version']}\n", README)


class OwnTrust(OwnDaemonTestCase):
    def test_the_configuration(self):
        """As it is printed, but for the folder, the user and the server."""
        folder = tempfile.mkdtemp(prefix="tcpbroker-readme-")
        self.addCleanup(shutil.rmtree, folder)
        made = Partners(folder)
        made.write("partner/root.pem", made.root.pem)
        made.write("partner.crl", made.maker.crl(made.root).pem)
        made.write("partner.pem", made.client.pem + made.one.pem)
        made.write("partner.key", made.key(made.client))
        server = self.use(Asking(made.server_context()))
        [(text, _)] = examples("conf")
        for printed, here in (("/etc/tcpbroker", folder), ("alice", pwd.getpwuid(os.getuid()).pw_name),
                              ("api.partner.example:443", f"localhost:{server.port}")):
            self.assertIn(printed, text)
            text = text.replace(printed, here)
        self.daemon = self.use(Daemon(config=text))
        command = [COMMAND, "--socket", self.daemon.socket_path, "connect", "--tls", "--profile", "partner", "--identity",
                   "partner"]
        self.assertIn(" ".join(command[4:]), README)
        done = subprocess.run([*command, "localhost", str(server.port)], input=b"hello\n", capture_output=True,
                              timeout=seconds(20), check=False)
        self.assertEqual((done.returncode, done.stdout), (0, b"hello\n"), done.stderr)
        self.assertEqual(server.shown, [[made.client.der, made.one.der]])
        self.configure(text.replace(f"users = {pwd.getpwuid(os.getuid()).pw_name}", "users = 4242"))
        client = self.open_client()
        client.call("Broker.Reload")
        error = client.error("TCPConnect", hostname="localhost", port=server.port, secure=True, profile="partner",
                             identity="partner")
        self.check_error(error, -10013, "EACCES", "policy")

    def configure(self, text):
        with open(os.path.join(self.daemon.folder, "tcpbroker.conf"), "w", encoding="utf-8") as file:
            file.write(text)


class Documents(unittest.TestCase):
    def test_links_lead_to_files(self):
        for name in ("README.md", "ARCHITECTURE.md", os.path.join("proto", "PROTOCOL.md"),
                     os.path.join("docs", "performance.md"), os.path.join("docs", "omnis.md")):
            self.assertTrue(os.path.exists(os.path.join(ROOT, name)), name)
            for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text_of(name)):
                if "://" not in target:
                    path = os.path.join(ROOT, os.path.dirname(name), target)
                    self.assertTrue(os.path.exists(path), f"{name}: {target}")

    def test_the_two_commands_are_there(self):
        for command in re.findall(r"^    (\./\w+) ", README, re.M):
            self.assertTrue(os.access(os.path.join(ROOT, command), os.X_OK), command)

    def test_paths_named_in_architecture_exist(self):
        for path in re.findall(r"`((?:proto|config|lib|cli|daemon|systemd|tests|docs)/[\w./-]+)`", text_of("ARCHITECTURE.md")):
            self.assertTrue(os.path.exists(os.path.join(ROOT, path)), path)


class ManualPages(unittest.TestCase):
    def compare(self, command, page):
        usage = subprocess.run([command, "--help"], capture_output=True, text=True, check=True).stdout
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", usage))
        self.assertGreater(len(options), 1, usage)
        text = re.sub(r"(?ms)^\.SH EXAMPLES$.*?(?=^\.SH )", "", text_of("docs", "man", page)).replace("\\", "")
        told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
        self.assertEqual(options - told, set(), f"missing in {page}")
        return options, told

    def test_tcpbrokerd(self):
        options, told = self.compare(daemon_path(), "tcpbrokerd.8")
        self.assertEqual(told - options, set(), "tcpbrokerd.8 has options that tcpbrokerd has not")

    def test_tcpbroker(self):
        if not os.access(COMMAND, os.X_OK):
            self.skipTest(f"no {COMMAND}: build the target tcpbroker")
        self.compare(COMMAND, "tcpbroker.1")

    def test_the_options_of_tcpbroker_conf(self):
        made = subprocess.run([os.path.join(BUILD, "config", "config_sample"), "man"], capture_output=True, text=True,
                              check=True).stdout
        page = text_of("docs", "man", "tcpbroker.conf.5")
        begin, end = '.\\" from config/options.def: begin\n', '.\\" from config/options.def: end\n'
        self.assertEqual(page.split(begin, 1)[1].split(end, 1)[0], made,
                         "config/options.def has changed: put the output of `config_sample man` between the two comments")

    def test_the_pages_are_sound(self):
        if not shutil.which("groff"):
            self.skipTest("groff is missing: install groff-base")
        for page in sorted(os.listdir(os.path.join(ROOT, "docs", "man"))):
            done = subprocess.run(["groff", "-man", "-t", "-ww", "-Tutf8", os.path.join(ROOT, "docs", "man", page)],
                                  capture_output=True, text=True, timeout=60, encoding="utf-8")
            self.assertEqual((done.returncode, done.stderr), (0, ""), page)


class JsonInDocuments(unittest.TestCase):
    def test_shown_json_is_json(self):
        for match in re.finditer(r"^```\n(\{.*\})\n```$", README, re.M):
            json.loads(match.group(1))


if __name__ == "__main__":
    main()
