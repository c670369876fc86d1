"""Installs the library into a temporary prefix and builds a program outside of the tree with it, by pkg-config and by
CMake, shared and static, and runs it."""
import os
import shutil
import subprocess
import tempfile
import unittest

BUILD = os.environ["TCPBROKER_BUILD"]

PROGRAM = r"""
#include <stdio.h>
#include <string.h>
#include <tcpbroker.h>

/* a name that the library uses inside, too */
int json_parse(void);
int json_parse(void) { return 0; }

int main(void)
{
    struct tcpb *broker = NULL;
    struct tcpb_error error;
    struct tcpb_tcp_connect_params params = {.hostname = "localhost", .port = "1"};
    int r = tcpb_open(&broker, "/nowhere/tcpbroker.sock", &error);
    if (r != TCPB_LOCAL_NO_DAEMON || strcmp(error.symbol, "NO_DAEMON") != 0)
        return 1;
    r = tcpb_tcp_connect(broker, &params, NULL, NULL, &error);
    printf("%s %d %s\n", tcpb_version(), json_parse(), error.symbol);
    tcpb_close(broker);
    return r == TCPB_LOCAL_ARGUMENT ? 0 : 1;
}
"""

CMAKELISTS = """
cmake_minimum_required(VERSION 3.16)
project(outside C)
find_package(tcpbroker REQUIRED)
add_executable(shared program.c)
target_link_libraries(shared tcpbroker::client)
add_executable(static program.c)
target_link_libraries(static tcpbroker::client_static)
"""


@unittest.skipIf(os.environ.get("TCPBROKER_SANITIZE"), "a sanitized library needs a sanitized program; run it in another build")
class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="tcpbroker-install-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.prefix = os.path.join(cls.folder, "prefix")
        cls.run_command("cmake", "--install", os.path.join(BUILD, "lib"), "--prefix", cls.prefix)
        found = [path for path, _, files in os.walk(cls.prefix) if "tcpbroker.pc" in files]
        cls.pc_dir = found[0]
        cls.lib_dir = os.path.dirname(cls.pc_dir)
        with open(os.path.join(cls.folder, "program.c"), "w", encoding="utf-8") as file:
            file.write(PROGRAM)
        with open(os.path.join(cls.folder, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write(CMAKELISTS)

    @classmethod
    def run_command(cls, *command):
        environment = {**os.environ, "PKG_CONFIG_PATH": getattr(cls, "pc_dir", "")}
        environment.pop("LD_LIBRARY_PATH", None)
        if hasattr(cls, "lib_dir"):
            environment["LD_LIBRARY_PATH"] = cls.lib_dir
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100,
                                cwd=cls.folder, env=environment)
        if result.returncode:
            raise AssertionError(f"{command}: {result.returncode}\n{result.stdout}")
        return result.stdout

    def check(self, program):
        self.assertRegex(self.run_command(program), r"^\d+\.\d+\.\d+ 0 ARGUMENT\n$")

    def test_pkg_config(self):
        flags = self.run_command("pkg-config", "--cflags", "--libs", "tcpbroker").split()
        self.assertNotIn("-lcjson", flags)
        self.run_command("cc", "program.c", "-o", "by-pc", *flags)
        self.check("./by-pc")

    def test_pkg_config_static(self):
        flags = self.run_command("pkg-config", "--static", "--cflags", "--libs", "tcpbroker").split()
        flags = ["-l:libtcpbroker.a" if flag == "-ltcpbroker" else flag for flag in flags]
        self.run_command("cc", "program.c", "-o", "by-pc-static", *flags)
        self.assertNotIn("libtcpbroker.so", self.run_command("objdump", "-p", "by-pc-static"))
        self.check("./by-pc-static")

    def test_cmake_package(self):
        self.run_command("cmake", "-B", "build", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        self.run_command("cmake", "--build", "build")
        self.check("build/shared")
        self.check("build/static")

    def test_soname_and_page(self):
        self.assertIn("libtcpbroker.so.0", os.listdir(self.lib_dir))
        self.assertTrue(os.path.exists(os.path.join(self.prefix, "share", "man", "man3", "libtcpbroker.3")))


if __name__ == "__main__":
    unittest.main()
