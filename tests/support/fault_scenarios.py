"""What the faults strike: short scenarios, each a few requests of one client (faults.Victim) or a program at a door.

A scenario ends at the first request that is refused; without a fault none is. It checks every byte it gets. What it leaves
open goes with its connection. A method that is new in proto/methods.def needs a scenario here that calls it, or
tests/integration/fault_test.py fails.
"""
import collections

import socket

from faults import LIMIT, Ended, Wrong
from harness import Closed, RpcError
from servers import read_exactly, read_to_end

SCENARIOS = {}
MS = int(LIMIT * 500)  # deadlines of requests that wait for the network: they fail sooner, or not at all
Scenario = collections.namedtuple("Scenario", "run")
Ending = collections.namedtuple("Ending", "method run")

# How a daemon may be ended, by run(daemon, client) while requests run: a method that does that has its place here. It may not be
# answered when something has failed.


def drain(daemon, client):
    """A fault may make the client nobody who is known to be an administrator; or the request one that nobody could read."""
    try:
        client.call("Broker.Drain", answer_timeout=1, timeout_ms=0)
    except (RpcError, Closed, TimeoutError):
        daemon.terminate()


ENDINGS = {"end": Ending(None, lambda daemon, client: daemon.terminate()), "drain": Ending("Broker.Drain", drain)}
# Methods that no scenario can call: why, and where they meet faults instead.
ELSEWHERE = {}


def scenario(run):
    SCENARIOS[run.__name__] = Scenario(run)
    return run


class Flow:
    """A socket of the broker whose far end echoes: what was sent comes back, in order, and nothing else."""

    def __init__(self, victim, number, **owner):
        self.victim, self.number, self.owner = victim, number, owner
        self.sent = 0

    @staticmethod
    def text(start, n):
        return "".join(f"{at:07d}\n" for at in range(start // 8, (start + n) // 8 + 1))[start % 8:start % 8 + n]

    def send(self, n):
        answer = self.victim.ask("TCPSend", {"socket": self.number, "data": self.text(self.sent, n), **self.owner})
        if answer != {"sent": n}:
            raise Wrong(f"{answer} after a send of {n}")
        self.sent += n

    def receive(self, start, n, **how):
        answer = self.victim.ask("TCPReceive", {"socket": self.number, "timeout_ms": MS, **self.owner, **(how or {"exact": n})})
        if answer.get("data") != self.text(start, n) or answer["received"] != n:
            raise Wrong(f"not the bytes {start} to {start + n}: {str(answer)[:200]}")

    def echo(self, n=100):
        start = self.sent
        self.send(n)
        self.receive(start, n)

    def ended(self):
        answer = self.victim.ask("TCPReceive", {"socket": self.number, "timeout_ms": MS, **self.owner})
        if (answer["received"], answer.get("closed")) != (0, True):
            raise Wrong(f"not the end: {answer}")


def connect(rig, victim, **how):
    answer = victim.ask("TCPConnect", {"hostname": "127.0.0.1", "port": rig.plain.port, "timeout_ms": MS, **how})
    return Flow(victim, answer["socket"])


def connect_secure(rig, victim, **how):
    return connect(rig, victim, **{"hostname": "localhost", "port": rig.secure.port, "secure": True, **how})


# ---- connections ----

@scenario
def greet(rig, victim):
    victim.ask("Broker.Hello", {"client": "faults"})
    victim.ask("Broker.Errors")
    victim.ask("rpc.discover")
    victim.ask("Broker.Stats")
    victim.ask("Broker.Cancel", [77])
    victim.ask("Session.Set", {"receive_timeout_ms": MS})
    victim.refused("TCPSend", [999999, "x"])


@scenario
def plain(rig, victim):
    flow = connect(rig, victim)
    flow.echo(3000)
    start = flow.sent
    flow.send(800)
    flow.receive(start, 8, until="\n")
    flow.receive(start + 8, 792)
    victim.ask("TCPGetMyAddr", {"socket": flow.number})
    victim.ask("TCPGetMyPort", [flow.number])
    victim.ask("TCPGetRemoteAddr", [flow.number])
    rows = victim.ask("Broker.List")["sockets"]
    if flow.number not in [row["socket"] for row in rows]:
        raise Wrong(f"not in the list: {rows}")
    victim.ask("TCPBlock", [flow.number, 1])
    victim.refused("TCPReceive", [flow.number])
    victim.ask("TCPBlock", [flow.number, 0])
    victim.ask("TCPClose", [flow.number])


@scenario
def racing(rig, victim):
    """By a dial thread, with a look-up."""
    flow = connect(rig, victim, hostname="localhost", local_address="127.0.0.1", explain=True)
    flow.echo()
    victim.ask("TCPClose", [flow.number, 2])
    victim.refused("TCPConnect", {"hostname": "127.0.0.1", "port": 9, "local_address": "127.0.0.1"})


@scenario
def bulk(rig, victim):
    """More than the kernel takes at once, in both directions."""
    flow = connect(rig, victim)
    n = 400000
    ids = [victim.post("TCPSend", {"socket": flow.number, "data": flow.text(at, n)}) for at in (0, n)]
    ids.append(victim.post("TCPReceive", {"socket": flow.number, "exact": n, "timeout_ms": MS}))
    answers = {}
    for _ in ids:
        answer = victim.line()
        answers[answer.get("id")] = answer
    bad = [answer for answer in answers.values() if "error" in answer]
    if bad:
        victim.ended = bad[0]["error"]["data"]["symbol"]
        raise Ended(str(bad[0]["error"]))
    if set(answers) != set(ids):
        raise Wrong(f"answers to {set(answers)}, not {set(ids)}")
    if answers[ids[2]]["result"]["data"] != flow.text(0, n):
        raise Wrong("not the bytes that were sent")
    flow.receive(n, n)
    victim.ask("TCPClose", [flow.number])


@scenario
def tls(rig, victim):
    flow = connect_secure(rig, victim, alpn=["a"], min_tls="1.3")
    flow.echo(20000)
    victim.ask("TCPClose", [flow.number, 1])
    flow.ended()
    victim.ask("TCPClose", [flow.number])


@scenario
def tls_explained(rig, victim):
    flow = connect_secure(rig, victim, explain=True, identity="server")
    flow.echo()
    victim.ask("TCPClose", [flow.number, 2])
    victim.refused("TCPConnect", {"hostname": "localhost", "port": rig.secure.port, "secure": True, "server_name": "other.test",
                                  "explain": True, "timeout_ms": MS})


@scenario
def start_tls(rig, victim):
    flow = connect(rig, victim, port=rig.secure.port)
    victim.ask("TCPStartTLS", {"socket": flow.number, "server_name": "localhost", "timeout_ms": MS, "alpn": ["a"]})
    flow.echo()
    victim.ask("TCPClose", [flow.number])


@scenario
def pooled(rig, victim):
    for _ in range(2):
        flow = connect(rig, victim, hostname="localhost", port=rig.pooled.port)
        flow.echo()
        victim.ask("TCPClose", {"socket": flow.number, "reuse": True, "timeout_ms": 500})


# ---- serving ----

def listening(victim, **how):
    number = victim.ask("TCPSocket", {"family": "ipv4"})["socket"]
    port = victim.ask("TCPBind", {"socket": number, "port": 0, "address": "127.0.0.1"})["port"]
    victim.ask("TCPListen", {"socket": number, **how})
    return number, port


def dial(port):
    try:
        return socket.create_connection(("127.0.0.1", port), LIMIT)
    except OSError as error:
        raise Ended(f"nobody listens at {port} any more: {error}") from None


@scenario
def serve(rig, victim):
    number, port = listening(victim, backlog=5)
    with dial(port) as far:
        flow = Flow(victim, victim.ask("TCPAccept", {"socket": number, "timeout_ms": MS})["socket"])
        far.sendall(flow.text(0, 500).encode())
        flow.receive(0, 500)
        flow.send(300)
        if read_exactly(far, 300) != flow.text(0, 300).encode():
            raise Wrong("the peer got other bytes")
        far.shutdown(socket.SHUT_WR)
        flow.ended()
    id = victim.post("TCPAccept", {"socket": number, "timeout_ms": MS})
    with dial(port):
        victim.wait(id)
    victim.refused("TCPAccept", {"socket": number, "timeout_ms": 1})
    victim.ask("TCPClose", [number])


@scenario
def serve_service(rig, victim):
    number = victim.ask("TCPSocket")["socket"]
    victim.refused("TCPBind", {"socket": number, "port": "no-such-service", "timeout_ms": MS})


@scenario
def serve_tls(rig, victim):
    number, port = listening(victim)
    own = {"identity": "server", "alpn": ["a"], "timeout_ms": MS}
    id = victim.post("TCPAccept", {"socket": number, "secure": True, "client_certificate": "optional", **own})
    dialled = victim.post("TCPConnect", {"hostname": "localhost", "port": port, "secure": True, "thread": "n", **own})
    answers = {}
    for _ in range(2):
        answer = victim.line()
        answers[answer.get("id")] = answer
        if "error" in answer:
            # the other one fails, or not, as it was; where the peer broke off, it is the other that knows why
            victim.ended = answer["error"]["data"]["symbol"]
            if victim.ended == "TLS_HANDSHAKE" and len(answers) == 1 and "error" in (other := victim.line()):
                victim.ended = other["error"]["data"]["symbol"]
            raise Ended(str(answer))
    one, two = Flow(victim, answers[id]["result"]["socket"]), Flow(victim, answers[dialled]["result"]["socket"], thread="n")
    one.send(1000)
    two.receive(0, 1000)
    victim.ask("TCPClose", {"socket": two.number, "option": 1, "thread": "n"})
    one.ended()


# ---- streams handed out, doors ----

def exchange(stream, n=3000):
    """Bytes out and back, then both ends."""
    text = Flow.text(0, n).encode()
    stream.settimeout(LIMIT)
    stream.sendall(text)
    got = read_exactly(stream, n)
    if got != text:
        raise Wrong("other bytes came back")


def struck(call, *arguments):
    """A stream that was cut off is fine when something failed; Wrong is not."""
    try:
        return call(*arguments)
    except Wrong:
        raise
    except AssertionError as error:
        raise Ended(f"cut off: {error}") from None
    except TimeoutError:
        raise Wrong("a stream that hangs") from None
    except OSError as error:
        raise Ended(f"cut off: {error}") from None


@scenario
def attach(rig, victim):
    with_bytes = connect(rig, victim)
    victim.ask("TCPConnect", {"hostname": "127.0.0.1", "port": rig.plain.port, "attach": True})
    with victim.fd() as stream:
        struck(exchange, stream)
        stream.shutdown(socket.SHUT_WR)
        if struck(read_to_end, stream):
            raise Wrong("bytes after the end")
    # bytes read ahead go along: it is relayed
    with_bytes.send(800)
    with_bytes.receive(0, 8)
    victim.ask("TCPAttach", [with_bytes.number])
    with victim.fd() as stream:
        stream.settimeout(LIMIT)
        if struck(read_exactly, stream, 792) != Flow.text(8, 792).encode():
            raise Wrong("not the bytes that were ahead")
        struck(exchange, stream)


@scenario
def attach_tls(rig, victim):
    answer = victim.ask("TCPConnect", {"hostname": "localhost", "port": rig.secure.port, "secure": True, "timeout_ms": MS,
                                       "attach": True})
    with victim.fd() as stream:
        victim.refused("TCPSend", [answer["socket"], "x"])
        struck(exchange, stream, 70000)
        stream.shutdown(socket.SHUT_WR)
        if struck(read_to_end, stream):
            raise Wrong("bytes after the end")


def through(rig, name, *parts):
    """A program at a door."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(LIMIT)
        door.connect(rig.path(name))
        for request, n, expected in parts:
            struck(door.sendall, request)
            got = struck(read_exactly, door, n)
            if got[:len(expected)] != expected:
                raise Ended(f"refused: {got}")
        struck(exchange, door)
        door.shutdown(socket.SHUT_WR)
        if struck(read_to_end, door):
            raise Wrong("bytes after the end")


@scenario
def tunnel(rig, victim):
    through(rig, "t")


@scenario
def tunnel_tls(rig, victim):
    through(rig, "n")


@scenario
def socks(rig, victim):
    port = rig.plain.port.to_bytes(2, "big")
    through(rig, "s", (b"\5\1\0", 2, b"\5\0"), (b"\5\1\0\1\x7f\0\0\1" + port, 10, b"\5\0"))
    through(rig, "s", (b"\5\1\0", 2, b"\5\0"), (b"\5\1\0\3\x09localhost" + port, 10, b"\5\0"))


# ---- owners, sessions ----

@scenario
def offer(rig, victim):
    flow = connect_secure(rig, victim)
    flow.echo()
    victim.ask("TCPTransfer", {"socket": flow.number, "to": "u"})
    token = victim.ask("TCPOffer", {"socket": flow.number, "thread": "u", "timeout_ms": 1000})["token"]
    flow.number = victim.ask("TCPClaim", {"token": token, "thread": "v"})["socket"]
    flow.owner = {"thread": "v"}
    flow.echo()
    victim.ask("TCPOffer", {"socket": flow.number, "thread": "v", "timeout_ms": 1})


@scenario
def session(rig, victim):
    flow = connect(rig, victim)
    opened = victim.ask("Session.Open", [1000])  # should a fault come before its close, it is soon gone
    flow.echo()
    victim.open()
    joined = victim.ask("Session.Join", [opened["token"]])
    if [row["socket"] for row in joined["sockets"]] != [flow.number] or joined["session"] != opened["session"]:
        raise Wrong(f"not the session that was opened: {joined}")
    flow.echo()
    victim.ask("Session.Close")
    victim.refused("Session.Join", [opened["token"]])


# ---- the rest ----

@scenario
def names(rig, victim):
    victim.ask("TCPName2Addr", {"hostname": "localhost", "timeout_ms": MS})
    victim.ask("TCPAddr2Name", ["127.0.0.1"])
    victim.ask("TCPGetMyAddr")


@scenario
def ping(rig, victim):
    try:
        victim.ask("TCPPing", {"hostname": "127.0.0.1", "timeout": MS})
    except Ended:
        if victim.ended != "PING_NEEDS_PRIV":
            raise


@scenario
def reload(rig, victim):
    victim.ask("Broker.Reload")
    victim.ask("Broker.Hello")


@scenario
def administer(rig, victim):
    flow = connect(rig, victim)
    rows = victim.ask("Broker.List", {"all": True})["sockets"]
    if flow.number not in [row["socket"] for row in rows]:
        raise Wrong(f"{flow.number} is not in the list: {rows}")
    victim.ask("Broker.Users")
    victim.ask("Broker.Doors")
    victim.ask("Broker.Pools")
    victim.ask("Broker.Log")
    if victim.ask("Broker.Close", {"socket": flow.number})["closing"]:
        raise Wrong("an abort takes its time")
    victim.refused("TCPSend", {"socket": flow.number, "data": "x"})


@scenario
def observe(rig, victim):
    if victim.ask("Broker.Events", {"classes": ["listen"]})["classes"] != ["listen"]:
        raise Wrong("other classes than those asked for")
    victim.ask("Broker.Events", {"off": True})
    if "tcpbroker_clients " not in victim.ask("Broker.Metrics")["text"]:
        raise Wrong("no clients among the metrics")


@scenario
def policy(rig, victim):
    answer = victim.ask("Policy.Test", {"hostname": "localhost", "port": 9, "timeout_ms": MS})
    if answer["verdict"] != "allow" or not answer["addresses"]:
        raise Wrong(f"not what an open policy says: {answer}")
    victim.ask("Policy.Show")
