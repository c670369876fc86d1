"""Certificates for the tests, made with the openssl command; one folder for a whole test run.

    chain, key = certificates().pem("good")

With $TCPBROKER_TEST_CERTS they are kept in that folder and shared by all test files (run_tests does so).
"""
import atexit
import datetime
import fcntl
import functools
import os
import shutil
import subprocess
import tempfile

CONFIG = """
[ca]
default_ca = default
[default]
dir = {folder}
database = {folder}/{name}.index
new_certs_dir = {folder}
serial = {folder}/{name}.serial
default_md = sha256
policy = anything
unique_subject = no
copy_extensions = none
email_in_dn = no
[anything]
commonName = supplied
[req]
distinguished_name = dn
prompt = no
[dn]
CN = replaced
[ext]
{extensions}
"""

GOOD_NAMES = "DNS:localhost,IP:127.0.0.1,IP:::1"
SERVER = "extendedKeyUsage=serverAuth"
# name: (issuer, common name, subjectAltName or None, purpose, days from, days to, key, digest)
LEAVES = {
    "good": ("ca", "localhost", GOOD_NAMES, SERVER, -1, 30, "ec", "sha256"),
    "expired": ("ca", "localhost", GOOD_NAMES, SERVER, -30, -1, "ec", "sha256"),
    "not-yet": ("ca", "localhost", GOOD_NAMES, SERVER, 1, 30, "ec", "sha256"),
    "wrong-name": ("ca", "other.example", "DNS:other.example", SERVER, -1, 30, "ec", "sha256"),
    "wrong-ip": ("ca", "localhost", "DNS:localhost,IP:127.0.0.9", SERVER, -1, 30, "ec", "sha256"),
    "ip-as-dns": ("ca", "127.0.0.1", "DNS:127.0.0.1", SERVER, -1, 30, "ec", "sha256"),
    "unknown-ca": ("unknown", "localhost", GOOD_NAMES, SERVER, -1, 30, "ec", "sha256"),
    "cn-only": ("ca", "localhost", None, SERVER, -1, 30, "ec", "sha256"),
    "wildcard": ("ca", "*.tls.test", "DNS:*.tls.test", SERVER, -1, 30, "ec", "sha256"),
    "partial-wildcard": ("ca", "w*.tls.test", "DNS:w*.tls.test", SERVER, -1, 30, "ec", "sha256"),
    "client-only": ("ca", "localhost", GOOD_NAMES, "extendedKeyUsage=clientAuth", -1, 30, "ec", "sha256"),
    "mutual": ("ca", "localhost", GOOD_NAMES, "extendedKeyUsage=serverAuth,clientAuth", -1, 30, "ec", "sha256"),
    "weak-key": ("ca", "localhost", GOOD_NAMES, SERVER, -1, 30, "rsa1024", "sha256"),
    "sha1": ("ca", "localhost", GOOD_NAMES, SERVER, -1, 30, "ec", "sha1"),
    "below": ("intermediate", "localhost", GOOD_NAMES, SERVER, -1, 30, "ec", "sha256"),
    "below-expired-ca": ("intermediate-expired", "localhost", GOOD_NAMES, SERVER, -1, 30, "ec", "sha256"),
    "below-no-ca": ("good", "localhost", GOOD_NAMES, SERVER, -1, 30, "ec", "sha256"),
}
AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"


def stamp(days):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return moment.strftime("%Y%m%d%H%M%SZ")


class Certificates:
    def __init__(self, folder):
        self.folder = folder
        self.cacerts = os.path.join(folder, "trusted")
        os.makedirs(self.cacerts, exist_ok=True)
        with self._locked():
            if not os.path.exists(self._path("ca.pem")):
                self._make("ca", None, "tcpbroker test CA", None, AUTHORITY, -40, 40, "ec", "sha256")
                shutil.copy(self._path("ca.pem"), os.path.join(self.cacerts, "test-ca.txt"))

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _locked(self):
        handle = open(self._path("lock"), "w", encoding="ascii")
        fcntl.flock(handle, fcntl.LOCK_EX)
        return handle

    def _run(self, *command):
        done = subprocess.run(["openssl", *command], capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"openssl {' '.join(command)}: {done.stderr}")

    def _make(self, name, issuer, common_name, alternative, extensions, first_day, last_day, key, digest):
        if key == "ec":
            self._run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out",
                      self._path(name + ".key"))
        else:
            self._run("genrsa", "-out", self._path(name + ".key"), key[3:])
        issuer = issuer or name
        if alternative:
            extensions += f"subjectAltName={alternative}\n"
        config = self._path(name + ".cnf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(folder=self.folder, name=name, extensions=extensions))
        with open(self._path(name + ".index"), "w", encoding="ascii"):
            pass
        with open(self._path(name + ".serial"), "w", encoding="ascii") as file:
            file.write(os.urandom(8).hex() + "\n")
        self._run("req", "-new", "-config", config, "-key", self._path(name + ".key"), "-subj", f"/CN={common_name}",
                  "-out", self._path(name + ".csr"))
        sign = ["ca", "-batch", "-notext", "-config", config, "-extensions", "ext", "-md", digest,
                "-startdate", stamp(first_day), "-enddate", stamp(last_day), "-in", self._path(name + ".csr"),
                "-keyfile", self._path(issuer + ".key"), "-out", self._path(name + ".part")]
        if issuer == name:
            sign.append("-selfsign")
        else:
            sign += ["-cert", self._path(issuer + ".pem")]
        self._run(*sign)
        os.rename(self._path(name + ".part"), self._path(name + ".pem"))

    def _ensure(self, name):
        if os.path.exists(self._path(name + ".pem")):
            return
        if name == "unknown":
            self._make(name, None, "unknown test CA", None, AUTHORITY, -1, 30, "ec", "sha256")
        elif name.startswith("intermediate"):
            days = (-30, -1) if name.endswith("expired") else (-1, 30)
            self._make(name, "ca", f"tcpbroker test {name}", None, AUTHORITY, *days, "ec", "sha256")
        elif name == "self-signed":
            self._make(name, None, "localhost", GOOD_NAMES, SERVER + "\n", -1, 30, "ec", "sha256")
        else:
            issuer, common_name, alternative, purpose, first, last, key, digest = LEAVES[name]
            self._ensure(issuer)
            self._make(name, issuer, common_name, alternative, "basicConstraints=CA:FALSE\n" + purpose + "\n", first,
                       last, key, digest)

    @functools.lru_cache(maxsize=None)
    def pem(self, name):
        """(file with the certificate and the intermediates above it, file with its key)"""
        with self._locked():
            self._ensure(name)
            chain = self._path(name + ".chain")
            names = [name]
            while names[-1] in LEAVES and LEAVES[names[-1]][0] not in ("ca", "unknown"):
                names.append(LEAVES[names[-1]][0])
            with open(chain + ".part", "wb") as out:
                for part in names:
                    with open(self._path(part + ".pem"), "rb") as file:
                        out.write(file.read())
            os.rename(chain + ".part", chain)
        return chain, self._path(name + ".key")

    def ca_file(self):
        return self._path("ca.pem")


@functools.lru_cache(maxsize=None)
def certificates():
    folder = os.environ.get("TCPBROKER_TEST_CERTS")
    if not folder:
        folder = tempfile.mkdtemp(prefix="tcpbroker-certs-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.makedirs(folder, exist_ok=True)
    return Certificates(folder)
