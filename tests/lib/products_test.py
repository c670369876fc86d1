"""The products against each other: exported symbols, the header, the manual pages, the completion scripts."""
import os
import re
import shutil
import subprocess
import unittest

SOURCE = os.environ.get("TCPBROKER_SOURCE", os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ["TCPBROKER_BUILD"]
COMMAND = os.path.join(BUILD, "cli", "tcpbroker")


def read(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as file:
        return file.read()


def run(*command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60, **more).stdout


def functions(header):
    return set(re.findall(r"^[a-z].*?\b\*?(tcpb_\w+)\(", header, re.M))


def listed():
    return set(re.findall(r"^\s+(tcpb_\w+);", read("lib", "libtcpbroker.sym"), re.M))


class Symbols(unittest.TestCase):
    def test_header_and_list_agree(self):
        self.assertEqual(functions(read("lib", "tcpbroker.h")), listed())

    def test_shared_library_exports_the_list(self):
        out = run("nm", "-D", "--defined-only", "--without-symbol-versions", os.path.join(BUILD, "lib", "libtcpbroker.so"))
        names = {line.split()[2] for line in out.splitlines() if line.split()[1] in "TDBRVW"}
        names = {name for name in names if not re.match(r"_?_?(odr_)?asan|__ubsan|__tsan|_init$|_fini$", name)}
        self.assertEqual(names, listed())

    def test_static_library_keeps_to_itself(self):
        out = run("nm", "--defined-only", "--extern-only", os.path.join(BUILD, "lib", "libtcpbroker.a"))
        names = {line.split()[2] for line in out.splitlines() if len(line.split()) == 3 and line.split()[1] in "TDBRVW"}
        names = {name for name in names if "asan" not in name}
        self.assertEqual(names, listed())

    def test_needs_no_tls_library(self):
        self.assertNotIn("libssl", run("objdump", "-p", os.path.join(BUILD, "lib", "libtcpbroker.so")))


class Header(unittest.TestCase):
    def test_compiles_alone_as_c_and_cxx(self):
        header = os.path.join(SOURCE, "lib", "tcpbroker.h")
        for compiler, language in (("cc", "c"), ("c++", "c++")):
            if not shutil.which(compiler):
                self.skipTest(f"no {compiler}")
            run(compiler, "-x", language, "-std=" + {"c": "c11", "c++": "c++11"}[language], "-Wall", "-Wextra",
                "-Wpedantic", "-Werror", "-fsyntax-only", "-include", header, "/dev/null")


class Manual(unittest.TestCase):
    def test_library_page_has_every_function_and_code(self):
        page = read("docs", "man", "libtcpbroker.3")
        header = read("lib", "tcpbroker.h").split("/* generated")[0]
        for name in functions(header) | set(re.findall(r"\bTCPB_LOCAL_\w+(?= *=)", header)):
            self.assertIn(name, page)

    def test_command_page_has_every_verb_and_option(self):
        page = read("docs", "man", "tcpbroker.1").replace("\\-", "-")
        help_text = run(COMMAND, "--help")
        verbs = re.findall(r"^  (\w+) ", help_text.split("Options:")[0], re.M)
        self.assertGreaterEqual(len(verbs), 9)
        for verb in verbs:
            self.assertRegex(page, rf"(?m)^\.B {verb}$")
            for option in re.findall(r"--[a-z-]+", run(COMMAND, verb, "--help").split("Options:")[1]):
                self.assertIn(option, page)

    def test_command_page_has_every_exit_status(self):
        page = read("docs", "man", "tcpbroker.1")
        for status in re.findall(r"= (\d+),", read("cli", "verb.h").split("enum cli_exit")[1].split("}")[0]):
            self.assertRegex(page, rf"(?m)^{status}\t")

    def test_pages_are_sound(self):
        if not shutil.which("man"):
            self.skipTest("no man; install man-db")
        for page in ("tcpbroker.1", "libtcpbroker.3"):
            result = subprocess.run(["man", "--warnings", "-l", os.path.join(SOURCE, "docs", "man", page)], check=True,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60,
                                    env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C"})
            self.assertEqual(result.stderr, "")


class Completion(unittest.TestCase):
    def complete(self, *words):
        """What bash offers for the last of the words."""
        script = run(COMMAND, "completion", "bash")
        quoted = " ".join("'" + word + "'" for word in words)
        return run("bash", "-c", f"compopt() {{ :; }}\n{script}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; "
                   "_tcpbroker; printf '%s\\n' \"${COMPREPLY[@]}\"").split()

    def test_bash(self):
        self.assertEqual(self.complete("tcpbroker", "conn"), ["connect"])
        self.assertEqual(self.complete("tcpbroker", "-S", "x", "connect", "--no"), ["--no-verify"])
        self.assertEqual(self.complete("tcpbroker", "call", "TCPConn"), ["TCPConnect"])
        self.assertEqual(self.complete("tcpbroker", "call", "TCPConnect", "serv"), ["server_name="])
        self.assertEqual(self.complete("tcpbroker", "completion", "f"), ["fish"])
        self.assertEqual(self.complete("tcpbroker", "session", "o"), ["open"])
        self.assertEqual(self.complete("tcpbroker", "session", "open", "--l"), ["--lease"])

    def test_other_shells(self):
        for shell in ("zsh", "fish"):
            script = run(COMMAND, "completion", shell)
            self.assertIn("TCPConnect", script)
            if shutil.which(shell):
                run(shell, "-n", "/dev/stdin", input=script)


if __name__ == "__main__":
    unittest.main()
