#!/usr/bin/env python3
"""A chat server with neither network sockets nor threads: the broker accepts, receives and sends for it.

    examples/chat.py PORT [ADDRESS]       and then, in as many terminals as you like: nc ADDRESS PORT

The first line of somebody is their nick, each other line goes to everybody else. Who does not read holds up nobody, and
is dropped when KEEP characters wait for them. SIGTERM ends it: the broker closes what a program leaves behind. At its
limits.requests (each member takes one, and one more while slow to read) others wait until somebody leaves."""
import collections, json, os, signal, socket, sys
KEEP, full, running, most = 1 << 17, None, 0, 2  # full: the listening socket, while nobody is let in
nicks, unsent, sending = {}, collections.defaultdict(str), set()  # all by the number of the socket
broker = socket.socket(socket.AF_UNIX)
broker.connect(os.environ.get("TCPBROKER_SOCKET", "/run/tcpbroker/tcpbroker.sock"))
requests, answers = broker.makefile("w", encoding="utf-8"), broker.makefile("r", encoding="utf-8")

def ask(method, **params):  # and go on: the answer comes when it is done, its id tells what it is about
    global running
    running, id = running + 1, json.dumps([method, params.get("socket")])
    requests.write(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}) + "\n")
def tell(numbers, text):  # one TCPSend at a time for each; what is said meanwhile goes with the next one
    for number in numbers:
        unsent[number] += text
        if len(unsent[number]) > KEEP:
            ask("TCPClose", socket=number, option=2)  # an abort: the TCPReceive that waits ends, too
        elif unsent[number] and number not in sending:
            sending.add(number)
            ask("TCPSend", socket=number, data=unsent.pop(number))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
[ask(method) for method in ("Broker.Hello", "TCPSocket")]
while True:
    requests.flush()
    answer = json.loads(answers.readline() or sys.exit("chat: the broker has ended"))
    (method, number), result, running = json.loads(answer["id"]), answer.get("result"), running - 1
    full = number if method == "TCPAccept" else full
    refused = not result and answer["error"]["code"] not in (-10024, -33004)  # else it is a limit
    if refused and method not in ("TCPReceive", "TCPSend", "TCPClose"):
        sys.exit("chat: " + answer["error"]["message"])
    most = result["limits"]["requests"] if method == "Broker.Hello" else most
    if method == "TCPSocket":
        ask("TCPBind", socket=result["socket"], port=sys.argv[1], address=(sys.argv + ["127.0.0.1"])[2])
        ask("TCPListen", socket=result["socket"])
        full = result["socket"]
    elif method == "TCPBind":
        print(f"chat: at {result['address']} port {result['port']}", flush=True)
    elif method == "TCPAccept" and result:
        ask("TCPReceive", socket=result["socket"], until="\n", max_bytes=400)
    elif method == "TCPReceive" and result and "data" in result:
        text = result["data"].strip()
        tell(nicks.keys() - {number}, f"{nicks[number]}: {text}\n" if number in nicks else f"* {text} joins\n")
        nicks.setdefault(number, text)
        ask("TCPReceive", socket=number, until="\n", max_bytes=400)
    elif method == "TCPReceive":  # the end of a member, or an error that means it: reset, dropped, no UTF-8
        tell(nicks.keys() - {number}, f"* {nicks.pop(number)} leaves\n" if number in nicks else "")
        unsent.pop(number, None)
        ask("TCPClose", socket=number)
    elif method == "TCPSend":
        sending.discard(number)
        tell({number} & nicks.keys(), "") if result else ask("TCPClose", socket=number, option=2)
    if full and running < most - 1 and (result or method == "TCPClose"):  # one request is left for what is said
        full = ask("TCPAccept", socket=full)
