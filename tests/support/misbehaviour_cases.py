"""The cases of tls_misbehaviour_test.py: what a peer does, and what must come of it.

A case is one line of the table for each version of TLS. Its function is given a Stage (in the test) and returns what
happened, as text: the outcomes of the calls, with what was received. `expected` is that text; with {"1.2": …, "1.3": …} where
the versions differ; a version that is not there has no such thing.
"""
import collections
import time

import servers
from tls_wire import (ALERT, CERTIFICATE, CERTIFICATE_REQUEST, CHANGE_CIPHER, CLIENT_HELLO, CLOSE_NOTIFY, DATA, FINISHED,
                      HANDSHAKE, HEARTBEAT, HELLO_REQUEST, KEY_EXCHANGE, KEY_UPDATE, SERVER_HELLO, TICKET, message, record,
                      records)

Case = collections.namedtuple("Case", "group name version run expected")

FAILED, CUT, RESET, LATE = "-1031", "-33011", "-10054", "-10060"
BOTH = ("1.2", "1.3")
CASES = []


def case(group, name, run, expected):
    for version in BOTH:
        wanted = expected.get(version) if isinstance(expected, dict) else expected
        if wanted is not None:
            CASES.append(Case(group, name, version, run, wanted))


def only(version, expected):
    return {version: expected}


# ---- instead of a handshake: what is sent after the ClientHello ---------------------------------------------------------

def instead(name, *pieces, then="end", expected=FAILED):
    def run(stage, version):
        def play(wire):
            wire.read_hello()
            wire.send(*pieces)
            if then == "reset":
                servers.reset(wire.connection)
            elif then == "end":
                wire.finish()
        return stage.connect_to(version, play, late=expected == LATE)
    case("handshake", name, run, only("1.3", expected))


def handshake_with(name, edit, expected=FAILED, versions=BOTH):
    """edit(stage's wire, number of the flight, bytes): as of Wire.handshake()."""
    def run(stage, version):
        def play(wire):
            wire.handshake(lambda number, data: edit(wire, number, data))
        return stage.connect_to(version, play, late=expected == LATE)
    case("handshake", name, run, {version: expected for version in versions} if isinstance(expected, str) else expected)


def alert(level, what):
    return record(ALERT, bytes([level, what]))


ALERTS = {10: "unexpected_message", 20: "bad_record_mac", 40: "handshake_failure", 42: "bad_certificate", 47:
          "illegal_parameter", 48: "unknown_ca", 50: "decode_error", 51: "decrypt_error", 70: "protocol_version",
          71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback", 109: "missing_extension",
          112: "unrecognized_name", 116: "certificate_required", 120: "no_application_protocol", 200: "one nobody knows"}


def first(change, flight=0):
    """Change one flight; the others stay."""
    return lambda wire, number, data: change(wire, data) if number == flight else data


def bytewise(wire, data):
    return [data[i:i + 1] for i in range(len(data))]


def refragment(only_first):
    """Handshake records that can be read on the way are cut into records of one byte."""
    def change(wire, data):
        out = b""
        for number, (kind, body) in enumerate(records(data)[0]):
            if kind == HANDSHAKE and not (only_first and number):
                out += b"".join(record(kind, body[i:i + 1]) for i in range(len(body)))
            else:
                out += record(kind, body)
        return out
    return change


def messages(data):
    """The plain handshake messages of a flight of TLS 1.2: [(type, body)]."""
    stream, found = b"".join(body for kind, body in records(data)[0] if kind == HANDSHAKE), []
    while stream:
        end = 4 + int.from_bytes(stream[1:4], "big")
        found.append((stream[0], stream[4:end]))
        stream = stream[end:]
    return found


def with_message(kind, change):
    """Change one message of TLS 1.2's first flight (None: leave it out)."""
    def edit(wire, number, data):
        if number:
            return data
        out = b""
        for each, body in messages(data):
            body = change(body) if each == kind else body
            out += record(HANDSHAKE, message(each, body)) if body is not None else b""
        return out
    return edit


def server_hello(change):
    """Change the ServerHello, of either version, where it stands."""
    def edit(wire, number, data):
        if number:
            return data
        (kind, body), *rest = records(data)[0]
        end = 4 + int.from_bytes(body[1:4], "big")
        hello = message(SERVER_HELLO, change(body[4:end]))
        return record(kind, hello + body[end:]) + b"".join(record(*each) for each in rest)
    return edit


def at(offset, new):
    return lambda body: body[:offset] + new + body[offset + len(new):]


def without_extension(number):
    def change(body):
        start = 35 + body[34] + 3
        out, rest = b"", body[start + 2:]
        while rest:
            end = 4 + int.from_bytes(rest[2:4], "big")
            if int.from_bytes(rest[:2], "big") != number:
                out += rest[:end]
            rest = rest[end:]
        return body[:start] + len(out).to_bytes(2, "big") + out
    return change


def flip(position):
    def change(body):
        index = position % len(body)
        return body[:index] + bytes([body[index] ^ 0x40]) + body[index + 1:]
    return change


def retry_request(hello, group=0x17):
    """A HelloRetryRequest (RFC 8446 section 4.1.4) that fits this ClientHello."""
    session = hello[38:39 + hello[38]]
    extensions = bytes([0, 43, 0, 2, 3, 4, 0, 51, 0, 2]) + group.to_bytes(2, "big")
    random = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
    body = b"\3\3" + random + session + b"\x13\x02\0" + len(extensions).to_bytes(2, "big") + extensions
    return record(HANDSHAKE, message(SERVER_HELLO, body))


def handshakes():
    instead("bytes that mean nothing", b"\x8f" * 64)
    instead("an answer in HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n")
    instead("the banner of a mail server", b"220 mail.example ESMTP\r\n")
    instead("an end at once")
    instead("a reset at once", then="reset", expected=RESET)
    instead("an end inside a record's header", b"\x16\3\3")
    instead("an end inside the ServerHello", record(HANDSHAKE, message(SERVER_HELLO, b"\3\3" + bytes(60)))[:40])
    instead("silence", then="", expected=LATE)
    instead("silence inside the ServerHello", record(HANDSHAKE, message(SERVER_HELLO, bytes(90)))[:40], then="",
            expected=LATE)
    for number, name in ALERTS.items():
        instead(f"alert {number}, {name}", alert(2, number), expected=f"{FAILED} alert")
    instead("close_notify", record(ALERT, CLOSE_NOTIFY))
    instead("user_canceled and close_notify", alert(1, 90), record(ALERT, CLOSE_NOTIFY))
    instead("a hundred warnings", alert(1, 112) * 100)
    instead("an alert of one byte", record(ALERT, b"\2"))
    instead("a record of 20,000 bytes", b"\x16\3\3" + (20000).to_bytes(2, "big") + bytes(20000))
    instead("a record of an unknown type", record(99, b"hello"))
    instead("a record of version 9.9", record(HANDSHAKE, message(SERVER_HELLO, bytes(80)), b"\x09\x09"))
    instead("SSL 2", b"\x80\x2e\4\0\0\0\2\0\0\0\x10" + bytes(40))
    instead("a hundred empty records", record(HANDSHAKE, b"") * 100)
    instead("data before anything else", record(DATA, b"hello"))
    instead("an encrypted record before anything else", record(DATA, bytes(64)))
    instead("Finished before anything else", record(HANDSHAKE, message(FINISHED, bytes(32))))
    instead("a message of 16 MB", record(HANDSHAKE, b"\2\xff\xff\xff" + bytes(8000)) * 3, then="")
    instead("a message of an unknown type", record(HANDSHAKE, message(99, b"hello")))
    instead("a ClientHello", record(HANDSHAKE, message(CLIENT_HELLO, b"\3\3" + bytes(38))))
    handshake_with("all in segments of one byte", first(bytewise), "ok")
    handshake_with("in records of one byte", first(refragment(False)), "ok", ["1.2"])
    handshake_with("ServerHello in records of one byte", first(refragment(True)), "ok", ["1.3"])
    handshake_with("a warning first", first(lambda wire, data: alert(1, 112) + data), "ok")
    handshake_with("HelloRequest in between", first(lambda wire, data: record(
        HANDSHAKE, message(HELLO_REQUEST, b"")) + data), "ok", ["1.2"])
    handshake_with("ChangeCipherSpec before the ServerHello", first(lambda wire, data: record(
        CHANGE_CIPHER, b"\1") + data))
    handshake_with("ChangeCipherSpec too early (CVE-2014-0224)", first(lambda wire, data: data + record(
        CHANGE_CIPHER, b"\1") + record(HANDSHAKE, bytes(40))), versions=["1.2"])
    handshake_with("one more ChangeCipherSpec", first(lambda wire, data: record(*records(data)[0][0]) + record(
        CHANGE_CIPHER, b"\1") + b"".join(record(*each) for each in records(data)[0][1:])), "ok", ["1.3"])
    handshake_with("fifty ChangeCipherSpecs", first(lambda wire, data: record(*records(data)[0][0]) + record(
        CHANGE_CIPHER, b"\1") * 50 + b"".join(record(*each) for each in records(data)[0][1:])), versions=["1.3"])
    handshake_with("ChangeCipherSpec with another content", first(lambda wire, data: record(
        *records(data)[0][0]) + record(CHANGE_CIPHER, b"\2")), versions=["1.3"])
    handshake_with("ServerHello twice", first(lambda wire, data: record(*records(data)[0][0]) + data))
    handshake_with("a cipher that was not offered", server_hello(lambda body: at(35 + body[34], b"\0\x05")(body)))
    handshake_with("compression", server_hello(lambda body: at(37 + body[34], b"\1")(body)))
    handshake_with("another session id", server_hello(flip(36)), versions=["1.3"])
    handshake_with("TLS 1.1", server_hello(at(0, b"\3\2")), versions=["1.2"])
    handshake_with("SSL 3", server_hello(at(0, b"\3\0")), versions=["1.2"])
    handshake_with("a downgrade (RFC 8446 4.1.3)", server_hello(at(26, b"DOWNGRD\1")), versions=["1.2"])
    handshake_with("a downgrade to TLS 1.1", server_hello(at(26, b"DOWNGRD\0")), versions=["1.2"])
    handshake_with("an extension that was not asked for", server_hello(lambda body: extended(body, b"\0\5\0\0")),
                   versions=["1.2"])
    handshake_with("no secure renegotiation (RFC 5746)", server_hello(without_extension(0xff01)), versions=["1.2"])
    handshake_with("no key share", server_hello(without_extension(51)), versions=["1.3"])
    handshake_with("no certificate", with_message(CERTIFICATE, lambda body: b"\0\0\0"), versions=["1.2"])
    handshake_with("the certificate is left out", with_message(CERTIFICATE, lambda body: None), versions=["1.2"])
    handshake_with("a certificate that is none", with_message(CERTIFICATE, lambda body: b"\0\0\x08\0\0\5hello"),
                   versions=["1.2"])
    handshake_with("certificates longer than they say", with_message(CERTIFICATE, lambda body: body + b"more"),
                   versions=["1.2"])
    handshake_with("a wrong signature of the key exchange", with_message(KEY_EXCHANGE, flip(-3)), versions=["1.2"])
    handshake_with("the key exchange is left out", with_message(KEY_EXCHANGE, lambda body: None), versions=["1.2"])
    handshake_with("a curve that was not offered", with_message(KEY_EXCHANGE, at(1, b"\0\x13")), versions=["1.2"])
    handshake_with("a point that is not on the curve", with_message(KEY_EXCHANGE, at(4, b"\0" * 32)), versions=["1.2"])
    handshake_with("damaged in the last record", first(lambda wire, data: flip(-1)(data)), versions=["1.3"])
    handshake_with("damaged Finished", first(lambda wire, data: flip(-1)(data), flight=1), versions=["1.2"])
    handshake_with("an end before Finished", first(end_after(10), flight=1), versions=["1.2"])
    handshake_with("an end in the middle", first(end_after(200)))
    handshake_with("a reset in the middle", first(reset_after(200)), RESET)
    handshake_with("silence in the middle", lambda wire, number, data: wire.send(data[:200]), LATE)
    handshake_with("an alert in the middle", lambda wire, number, data: wire.send(
        record(*records(data)[0][0]), alert(2, 80)), {"1.2": f"{FAILED} alert", "1.3": FAILED})  # it must be encrypted there

    def retry_once(stage, version):
        def play(wire):
            hello = wire.read_hello()
            wire.send(retry_request(hello))
            wire.connection.recv(65536)
            wire.send(retry_request(hello))
        return stage.connect_to(version, play)
    case("handshake", "HelloRetryRequest twice", retry_once, only("1.3", FAILED))

    def retry_same(stage, version):
        def play(wire):
            wire.send(retry_request(wire.read_hello(), group=0x1d))
        return stage.connect_to(version, play)
    case("handshake", "HelloRetryRequest for what was sent", retry_same, only("1.3", FAILED))
    case("handshake", "certificates of 150,000 bytes", lambda stage, version: stage.connect_to(
        version, lambda wire: wire.handshake(), certificate=stage.long_chain()), FAILED)


def extended(body, more):
    start = 35 + body[34] + 3
    old = body[start + 2:]
    return body[:start] + (len(old) + len(more)).to_bytes(2, "big") + old + more


def end_after(n):
    def change(wire, data):
        wire.send(data[:n])
        wire.finish()
    return change


def reset_after(n):
    def change(wire, data):
        wire.send(data[:n])
        time.sleep(0.05)  # so that what came before is not thrown away unread
        servers.reset(wire.connection)
    return change


# ---- after the handshake: what is received ---------------------------------------------------------------------------------

def receiving(group, name, play, expected):
    """play(wire), then everything is received until the end or an error; then the socket is closed."""
    def run(stage, version):
        link = stage.link(version)
        play(link.wire)
        outcome = link.receive_all()
        return outcome + link.close_after(outcome)
    case(group, name, run, expected)


def hello_then(*actions):
    def play(wire):
        wire.say(DATA, b"hello")
        for action in actions:
            action(wire)
    return play


def say(kind, body, **kw):
    return lambda wire: wire.say(kind, body, **kw)


def raw(*pieces):
    return lambda wire: wire.send(*pieces)


def finish(wire):
    wire.finish()


def reset(wire):
    servers.reset(wire.connection)


bye = say(ALERT, CLOSE_NOTIFY)
more = say(DATA, b" more")


def data_records():
    group = "records"

    def in_bytes(wire):
        for piece in (wire.seal(DATA, b"hello"), wire.seal(ALERT, CLOSE_NOTIFY)):
            for i in range(len(piece)):
                wire.send(piece[i:i + 1])
    receiving(group, "data and the end", hello_then(bye), "hello end")
    receiving(group, "300 records of one byte", lambda wire: wire.send(*(
        wire.seal(DATA, b"%d" % (i % 10)) for i in range(300)), wire.seal(ALERT, CLOSE_NOTIFY)), "0123456789" * 30 + " end")
    receiving(group, "in segments of one byte", in_bytes, "hello end")
    receiving(group, "a record of 16,384 bytes", lambda wire: wire.send(
        wire.seal(DATA, b"a" * 16384), wire.seal(ALERT, CLOSE_NOTIFY)), "a" * 16384 + " end")
    receiving(group, "a record of 16,385 bytes", hello_then(say(DATA, b"a" * 16385), finish), f"hello {CUT}")
    receiving(group, "an empty record", hello_then(say(DATA, b""), more, bye), "hello more end")
    receiving(group, "100 empty records", hello_then(lambda wire: wire.send(*(wire.seal(DATA, b"") for _ in range(100))),
                                                     more, bye), f"hello {CUT}")
    receiving(group, "padding", hello_then(say(DATA, b" more", padding=1000), say(ALERT, CLOSE_NOTIFY, padding=99)),
              only("1.3", "hello more end"))
    receiving(group, "nothing but padding", hello_then(say(0, b"", padding=50)), only("1.3", f"hello {CUT}"))
    receiving(group, "a damaged bit", hello_then(lambda wire: wire.send(flip(-5)(wire.seal(DATA, b" more")))),
              f"hello {CUT}")
    receiving(group, "a record sent twice", hello_then(lambda wire: wire.send(wire.seal(DATA, b" more") * 2)),
              f"hello more {CUT}")
    receiving(group, "a record is missing", hello_then(lambda wire: wire.seal(DATA, b" lost"), more), f"hello {CUT}")
    receiving(group, "two records exchanged", hello_then(lambda wire: wire.send(*reversed(
        [wire.seal(DATA, b" a"), wire.seal(DATA, b" b")]))), f"hello {CUT}")
    receiving(group, "a record cut short", hello_then(lambda wire: wire.send(record(DATA, wire.seal(
        DATA, b" more")[5:-1]))), f"hello {CUT}")
    receiving(group, "a record shorter than a tag", hello_then(raw(record(DATA, b"short"))), f"hello {CUT}")
    receiving(group, "the type outside is another one", hello_then(say(DATA, b" more", outer=HANDSHAKE)), f"hello {CUT}")
    receiving(group, "an unknown type", hello_then(raw(record(99, bytes(40)))), f"hello {CUT}")
    receiving(group, "an unknown type inside", hello_then(say(99, b" more")), f"hello {CUT}")
    receiving(group, "heartbeat (RFC 6520)", hello_then(say(HEARTBEAT, b"\1\x40\0" + b"a" * 16)), f"hello {CUT}")
    receiving(group, "a record of version 9.9", hello_then(raw(record(DATA, bytes(40), b"\x09\x09"))), f"hello {CUT}")
    receiving(group, "a record of 65,535 bytes", hello_then(raw(b"\x17\3\3\xff\xff" + bytes(70000))), f"hello {CUT}")
    receiving(group, "plain text", hello_then(raw(b"HTTP/1.1 200 OK\r\n\r\n")), f"hello {CUT}")
    receiving(group, "a record of plain text", hello_then(raw(record(DATA, b"hello, this is plain text"))), f"hello {CUT}")
    receiving(group, "ChangeCipherSpec", hello_then(raw(record(CHANGE_CIPHER, b"\1"))), f"hello {CUT}")
    receiving(group, "ChangeCipherSpec, sealed", hello_then(say(CHANGE_CIPHER, b"\1")), f"hello {CUT}")


def ends():
    group = "end"
    receiving(group, "close_notify, and nothing else", hello_then(bye), "hello end")
    receiving(group, "close_notify and FIN", hello_then(bye, finish), "hello end")
    receiving(group, "close_notify, then data", hello_then(bye, more), "hello end")
    receiving(group, "close_notify, then bytes that mean nothing", hello_then(bye, raw(b"\x8f" * 99)), "hello end")
    receiving(group, "close_notify at once", bye, "end")
    receiving(group, "close_notify twice", hello_then(bye, bye), "hello end")
    receiving(group, "close_notify as a fatal alert", hello_then(say(ALERT, b"\2\0")),
              {"1.2": f"hello {CUT} alert", "1.3": "hello end"})
    receiving(group, "user_canceled and close_notify", hello_then(say(ALERT, b"\1\x5a"), bye), "hello end")
    receiving(group, "FIN, no close_notify", hello_then(finish), f"hello {CUT}")
    receiving(group, "FIN at once", finish, CUT)
    receiving(group, "FIN inside a header", hello_then(raw(b"\x17\3\3"), finish), f"hello {CUT}")
    receiving(group, "FIN inside a record", hello_then(lambda wire: wire.send(wire.seal(DATA, b" more")[:-3]), finish),
              f"hello {CUT}")
    receiving(group, "FIN inside close_notify", hello_then(lambda wire: wire.send(wire.seal(ALERT, CLOSE_NOTIFY)[:-1]),
                                                           finish), f"hello {CUT}")
    receiving(group, "RST", reset, RESET)
    receiving(group, "close_notify in plain text (an attacker's)", hello_then(raw(record(ALERT, CLOSE_NOTIFY)), finish),
              f"hello {CUT}")
    receiving(group, "close_notify with a wrong tag", hello_then(lambda wire: wire.send(
        flip(-1)(wire.seal(ALERT, CLOSE_NOTIFY))), finish), f"hello {CUT}")
    receiving(group, "close_notify, but a record before it is missing", hello_then(
        lambda wire: wire.seal(DATA, b" lost"), bye, finish), f"hello {CUT}")

    def reset_after_the_end(stage, version):
        link = stage.link(version)
        link.wire.say(DATA, b"hello")
        bye(link.wire)
        outcome = link.receive_all()
        reset(link.wire)
        return f"{outcome} {link.receive()}"
    case(group, "close_notify, then reset", reset_after_the_end, "hello end end")


def alerts():
    group = "alert"
    for number, name in ALERTS.items():
        receiving(group, f"fatal {number}, {name}", hello_then(say(ALERT, bytes([2, number]))), f"hello {CUT} alert")
    receiving(group, "fatal, in plain text", hello_then(raw(alert(2, 80))), f"hello {CUT}")
    receiving(group, "fatal, then data", hello_then(say(ALERT, b"\2\x50"), more), f"hello {CUT} alert")
    receiving(group, "fatal, then FIN", hello_then(say(ALERT, b"\2\x50"), finish), f"hello {CUT} alert")
    receiving(group, "fatal inside a message", hello_then(say(HANDSHAKE, message(TICKET, bytes(40))[:20]),
                                                          say(ALERT, b"\2\x50")),
              {"1.2": f"hello {CUT}", "1.3": f"hello {CUT} alert"})
    receiving(group, "warning, then data", hello_then(say(ALERT, b"\1\x70"), more, bye),
              {"1.2": "hello more end", "1.3": f"hello {CUT} alert"})
    receiving(group, "user_canceled, then data", hello_then(say(ALERT, b"\1\x5a"), more, bye), "hello more end")
    receiving(group, "no_renegotiation, unasked", hello_then(say(ALERT, b"\1\x64"), more, bye),
              {"1.2": f"hello {CUT}", "1.3": f"hello {CUT} alert"})
    receiving(group, "20 warnings", hello_then(lambda wire: wire.send(*(wire.seal(ALERT, b"\1\x5a") for _ in range(20)))),
              f"hello {CUT}")
    receiving(group, "of level 3", hello_then(say(ALERT, b"\3\x50"), more, bye),
              {"1.2": f"hello {CUT}", "1.3": f"hello {CUT} alert"})
    receiving(group, "of one byte", hello_then(say(ALERT, b"\1"), more), f"hello {CUT}")
    receiving(group, "of three bytes", hello_then(say(ALERT, b"\1\x5a\0"), more), f"hello {CUT}")
    receiving(group, "of no byte", hello_then(say(ALERT, b""), more, bye), f"hello {CUT}")
    receiving(group, "in two records", hello_then(say(ALERT, b"\1"), say(ALERT, b"\0")), f"hello {CUT}")
    receiving(group, "two in one record", hello_then(say(ALERT, b"\1\x5a\1\0")), f"hello {CUT}")


def post_handshake():
    group = "message"

    def update(wire, request=0):
        wire.say(HANDSHAKE, message(KEY_UPDATE, bytes([request])))
        wire.out.update()

    def updates(n, request):
        def play(wire):
            for _ in range(n):
                update(wire, request)
        return play

    def ticket(lifetime=3600, nonce=b"\0", value=b"t" * 32):
        return message(TICKET, lifetime.to_bytes(4, "big") + bytes(4) + bytes([len(nonce)]) + nonce +
                       len(value).to_bytes(2, "big") + value + b"\0\0")

    def new_keys_both_ways(stage, version):
        link = stage.link(version)
        for _ in range(3):
            update(link.wire, 1)
        link.wire.say(DATA, b"hello")
        outcome = link.receive(exact=5)
        link.client.call("TCPSend", [link.number, "ping"])
        heard = []
        while not heard or heard[-1][0] != DATA:  # opened with the new keys
            heard.append(link.wire.read_record())
        bye(link.wire)
        return f"{outcome} updates:{len(heard) > 1} {heard[-1][1].decode()} {link.receive_all()}"

    new = only("1.3", "hello more end")
    bad = only("1.3", f"hello {CUT}")
    receiving(group, "KeyUpdate", hello_then(update, more, bye), new)
    receiving(group, "KeyUpdate, an answer is asked for", hello_then(updates(1, 1), more, bye), new)
    receiving(group, "200 KeyUpdates", hello_then(updates(200, 1), more, bye), new)
    receiving(group, "KeyUpdate after each record", lambda wire: [
        (wire.say(DATA, b"x"), update(wire)) for _ in range(50)] and bye(wire), only("1.3", "x" * 50 + " end"))
    case(group, "KeyUpdate, new keys both ways", new_keys_both_ways, only("1.3", "hello updates:True ping end"))
    receiving(group, "KeyUpdate, but the old keys go on", hello_then(say(HANDSHAKE, message(KEY_UPDATE, b"\0")), more), bad)
    receiving(group, "KeyUpdate with another value", hello_then(say(HANDSHAKE, message(KEY_UPDATE, b"\2"))), bad)
    receiving(group, "KeyUpdate of two bytes", hello_then(say(HANDSHAKE, message(KEY_UPDATE, b"\0\0"))), bad)
    receiving(group, "KeyUpdate and more in one record", hello_then(say(HANDSHAKE, message(KEY_UPDATE, b"\0") + ticket())),
              bad)
    receiving(group, "KeyUpdate in records of one byte", hello_then(lambda wire: [
        wire.say(HANDSHAKE, message(KEY_UPDATE, b"\0")[i:i + 1]) for i in range(5)] and wire.out.update(), more, bye), new)
    receiving(group, "KeyUpdate", hello_then(say(HANDSHAKE, message(KEY_UPDATE, b"\0"))), only("1.2", f"hello {CUT}"))
    receiving(group, "a ticket", hello_then(say(HANDSHAKE, ticket()), more, bye), new)
    receiving(group, "100 tickets", hello_then(lambda wire: wire.send(*(
        wire.seal(HANDSHAKE, ticket(nonce=bytes([i]))) for i in range(100))), more, bye), new)
    receiving(group, "a ticket of 16,000 bytes", hello_then(say(HANDSHAKE, ticket(value=b"t" * 16000)), more, bye), new)
    receiving(group, "a ticket in two records", hello_then(say(HANDSHAKE, ticket()[:9]), say(HANDSHAKE, ticket()[9:]), more,
                                                           bye), new)
    receiving(group, "a ticket for no time", hello_then(say(HANDSHAKE, ticket(lifetime=0)), more, bye), new)
    receiving(group, "a ticket for ever", hello_then(say(HANDSHAKE, ticket(lifetime=0xffffffff)), more, bye), new)
    receiving(group, "a ticket that ends inside", hello_then(say(HANDSHAKE, message(TICKET, bytes(5)))), bad)
    receiving(group, "a ticket without content", hello_then(say(HANDSHAKE, ticket(value=b""))), bad)
    receiving(group, "data inside a message", hello_then(say(HANDSHAKE, ticket()[:9]), more), bad)
    receiving(group, "a message of 16 MB", hello_then(lambda wire: [
        wire.say(HANDSHAKE, b"\4\xff\xff\xff" + bytes(8000)) for _ in range(3)]), bad)
    receiving(group, "a certificate is asked for", hello_then(say(HANDSHAKE, message(CERTIFICATE_REQUEST, bytes(3)))), bad)
    both = f"hello {CUT}"
    receiving(group, "an empty record of the handshake", hello_then(say(HANDSHAKE, b""), more, bye), bad)
    receiving(group, "ClientHello", hello_then(say(HANDSHAKE, message(CLIENT_HELLO, bytes(60)))), both)
    receiving(group, "ServerHello", hello_then(say(HANDSHAKE, message(SERVER_HELLO, bytes(60)))), both)
    receiving(group, "Finished", hello_then(say(HANDSHAKE, message(FINISHED, bytes(32)))), both)
    receiving(group, "a message of an unknown type", hello_then(say(HANDSHAKE, message(99, b"hello"))), both)
    receiving(group, "HelloRequest", hello_then(say(HANDSHAKE, message(HELLO_REQUEST, b""))), bad)
    receiving(group, "a ticket", hello_then(say(HANDSHAKE, message(TICKET, bytes(4) + b"\0\4tick"))),
              only("1.2", f"hello {CUT}"))

    def renegotiation(n):
        def run(stage, version):
            link = stage.link(version)
            for _ in range(n):
                link.wire.say(HANDSHAKE, message(HELLO_REQUEST, b""))
            link.wire.say(DATA, b"hello")
            outcome = link.receive(exact=5)
            link.client.call("TCPSend", [link.number, "ping"])
            heard = [link.wire.read_record() for _ in range(n + 1)]
            refused = all(each == (ALERT, b"\1\x64") for each in heard[:-1])
            bye(link.wire)
            return f"{outcome} refused:{refused} {heard[-1][1].decode()} {link.receive_all()}"
        return run
    case(group, "renegotiation is asked for", renegotiation(1), only("1.2", "hello refused:True ping end"))
    case(group, "renegotiation, 50 times", renegotiation(50), only("1.2", "hello refused:True ping end"))
    receiving(group, "HelloRequest with a content", hello_then(say(HANDSHAKE, message(HELLO_REQUEST, b"hello"))),
              only("1.2", f"hello {CUT}"))


# ---- sending and closing -----------------------------------------------------------------------------------------------------

def closing(name, play, expected, option=0):
    """play(wire) after the broker's end has been seen; then the answer of TCPClose."""
    def run(stage, version):
        link = stage.link(version)
        id = link.client.send("TCPClose", [link.number, option])
        heard = link.wire.read_record()
        play(link.wire)
        return f"{'close_notify' if heard == (ALERT, CLOSE_NOTIFY) else heard} {link.closed(id)}"
    case("close", name, run, expected)


def closes():
    def fin_seen(wire):
        assert wire.read_record() is None, "FIN must follow close_notify"

    closing("the peer answers", lambda wire: (fin_seen(wire), bye(wire), finish(wire)), "close_notify 0 discarded:0")
    closing("the peer answers, without FIN", lambda wire: bye(wire), "close_notify 0 discarded:0")
    closing("data comes before the answer", lambda wire: (more(wire), more(wire), bye(wire)), "close_notify 0 discarded:10")
    closing("data comes behind the answer", lambda wire: (bye(wire), more(wire)), "close_notify 0 discarded:0")
    closing("FIN without an answer", finish, "close_notify 0 discarded:0")
    closing("RST", reset, "close_notify 0 discarded:0")
    closing("a fatal alert", say(ALERT, b"\2\x50"), "close_notify 0 discarded:0")
    closing("bytes that mean nothing", raw(b"\x8f" * 99), "close_notify 0 discarded:0")
    closing("a damaged record", lambda wire: wire.send(flip(-1)(wire.seal(DATA, b" more"))), "close_notify 0 discarded:0")
    closing("a KeyUpdate, then the answer", lambda wire: (
        wire.say(HANDSHAKE, message(KEY_UPDATE, b"\1")), wire.out.update(), bye(wire)),
        only("1.3", "close_notify 0 discarded:0"))
    closing("renegotiation, then the answer", lambda wire: (
        wire.say(HANDSHAKE, message(HELLO_REQUEST, b"")), bye(wire)), only("1.2", "close_notify 0 discarded:0"))

    def silent(stage, version):
        link = stage.link(version)
        started = time.monotonic()
        outcome = link.closed(link.client.send("TCPClose", [link.number]))
        return f"{outcome} waited:{time.monotonic() - started > 0.9 * stage.close_timeout_s}"
    case("close", "no answer at all", silent, "0 discarded:0 waited:True")

    def endless(stage, version):
        link = stage.link(version)
        id = link.client.send("TCPClose", [link.number])
        sent = 0
        link.wire.connection.settimeout(stage.close_timeout_s * 4)
        try:
            while True:
                link.wire.say(DATA, b"a" * 1000)
                sent += 1
        except OSError:
            pass
        return link.closed(id, discarded=lambda n: n > 0)
    case("close", "data without end", endless, "0 discarded:ok")

    def partial(stage, version):
        link = stage.link(version)
        outcome = link.closed(link.client.send("TCPClose", [link.number, 1]))
        if version == "1.3":
            outcome += f" {link.wire.read_record() == (ALERT, CLOSE_NOTIFY)}"
        link.wire.say(DATA, b"hello")
        bye(link.wire)
        return f"{outcome} {link.receive_all()}"
    case("close", "partial, then data and the end", partial, {"1.2": "-1018 hello end", "1.3": "0 discarded:0 True hello end"})

    def partial_cut(stage, version):
        link = stage.link(version)
        link.closed(link.client.send("TCPClose", [link.number, 1]))
        link.wire.say(DATA, b"hello")
        finish(link.wire)
        return link.receive_all()
    case("close", "partial, then FIN without close_notify", partial_cut, only("1.3", f"hello {CUT}"))

    def partial_fin(stage, version):
        link = stage.link(version)
        link.closed(link.client.send("TCPClose", [link.number, 1]))
        link.wire.read_record()
        link.wire.connection.settimeout(0.1)
        try:
            return f"more: {link.wire.read_record()}"
        except TimeoutError:
            return "no FIN"
    case("close", "partial: no FIN", partial_fin, only("1.3", "no FIN"))

    def abort(stage, version):
        link = stage.link(version)
        outcome = link.closed(link.client.send("TCPClose", [link.number, 2]))
        try:
            return f"{outcome} {link.wire.read_record()}"
        except ConnectionResetError:
            return f"{outcome} RST"
    case("close", "abort: RST, no close_notify", abort, "0 discarded:0 RST")

    def after(play, then):
        def run(stage, version):
            link = stage.link(version)
            play(link.wire)
            return f"{link.receive_all()} {then(link)}"
        return run

    def send_on(link):
        outcome = link.send("ping")
        return f"{outcome} {link.wire.read_record()[1].decode()}" if outcome == "sent:4" else outcome
    case("send", "after the peer's close_notify", after(bye, send_on), "end sent:4 ping")
    case("send", "after a fatal alert", after(say(ALERT, b"\2\x50"), lambda link: link.send("ping")),
         f"{CUT} alert {CUT} alert")
    case("send", "after a damaged record", after(raw(record(DATA, bytes(40))), lambda link: link.send("ping")),
         f"{CUT} {CUT}")
    case("send", "after a truncation", after(finish, lambda link: link.send("ping")), f"{CUT} {CUT}")
    case("send", "after a reset", after(reset, lambda link: link.send("ping")), f"{RESET} {RESET}")

    def stuck(play):
        """The peer does not read; the send waits; then something happens."""
        def run(stage, version):
            link = stage.link(version)
            ids = [link.client.send("TCPSend", [link.number, "a" * 500000]) for _ in range(20)]
            stage.wait_until(lambda: link.client.answered(ids[0]))
            play(link.wire)
            first_bad = next((answer for answer in map(link.client.answer, ids) if "error" in answer), None)
            return link.words(first_bad) if first_bad else "all sent"
        return run
    case("send", "waits, and the peer resets", stuck(reset), RESET)
    case("send", "waits, and a fatal alert comes", stuck(say(ALERT, b"\2\x50")), f"{CUT} alert")
    case("send", "waits, and a damaged record comes", stuck(raw(record(DATA, bytes(40)))), CUT)
    case("send", "waits, and the peer ends without close_notify", stuck(finish), CUT)


# ---- what openssl s_server does on request ----------------------------------------------------------------------------------

def real():
    def ask(command):
        def run(stage, version):
            with stage.s_server(version) as server:
                number = stage.client.connect(server.port, secure=True)
                link = stage.link_of(number)
                server.type("hello")
                outcome = link.receive(until="\n")
                server.type(command)
                server.type("more")
                outcome += link.receive(until="\n")
                outcome += link.send("ping")
                server.shows("ping")
                return outcome.replace("\n", " ")
        return run
    for command, name, version in (("k", "KeyUpdate", "1.3"), ("K", "KeyUpdate, an answer is asked for", "1.3")):
        case("s_server", name, ask(command), only(version, "hello more sent:4"))

    def renegotiate(stage, version):
        with stage.s_server(version) as server:
            link = stage.link_of(stage.client.connect(server.port, secure=True))
            server.type("hello")
            outcome = link.receive(until="\n")
            server.type("r")
            server.shows("no renegotiation")  # the broker's answer, at which s_server gives up
            return (outcome + " " + link.receive()).replace("\n", "")
    case("s_server", "renegotiation", renegotiate, only("1.2", f"hello {CUT} alert"))


def make():
    if not CASES:
        for group in (handshakes, data_records, ends, alerts, post_handshake, closes, real):
            group()
    return CASES


