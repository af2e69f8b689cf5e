"""Publishes numbered messages to JetStream and counts each when it is acknowledged; until then it repeats the message,
with the same id. For tests that kill servers: every counted message must be in the store afterwards, exactly once.

    known_messages.py HOST PORT USER PASSWORD LEDGER

Runs until SIGTERM, then writes the number of acknowledged messages to LEDGER. Implements NATS's text protocol itself: it
must not share a bug with the code under test. Message n is an event if n is a multiple of 10, else an array of five metrics.
"""

import json
import signal
import socket
import sys
import time
import uuid

PER_MESSAGE = 5
EVENT_EVERY = 10
ACK_TIMEOUT_S = 2.0


def moment(number):
    """A distinct second per message: two values with the same timestamp would be one point."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(1_700_000_000 + number))


def message(number):
    if number % EVENT_EVERY == 0:
        event = {"id": str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))), "criticality": 5, "eventType": "Known"}
        return "events.event", json.dumps({**event, "timestamp": "2026-01-01T00:00:00Z", "sourceDevice": "known"})
    metric = {"sourceDevice": "known", "metricType": "Number", "value": number}
    times = [f"{moment(number)}.{index:09}Z" for index in range(PER_MESSAGE)]
    return "events.metrics", json.dumps([{**metric, "timestamp": instant} for instant in times])


class Connection:
    def __init__(self, host, port, user, password):
        self.socket = socket.create_connection((host, port), timeout=ACK_TIMEOUT_S)
        self.file = self.socket.makefile("rb")
        self.line()
        hello = {"verbose": False, "pedantic": False, "headers": True, "user": user, "pass": password}
        self.inbox = "_INBOX.spindle-daemon." + uuid.uuid4().hex
        self.send(f"CONNECT {json.dumps(hello)}\r\nSUB {self.inbox} 1\r\n".encode())

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("closed")
        return line.decode()

    def publish(self, number):
        """Returns True when the stream has stored it."""
        subject, body = message(number)
        headers = f"NATS/1.0\r\nNats-Msg-Id: known-{number}\r\n\r\n".encode()
        payload = headers + body.encode()
        head = f"HPUB {subject} {self.inbox} {len(headers)} {len(payload)}\r\n"
        self.send(head.encode() + payload + b"\r\n")
        while True:
            line = self.line()
            if line.startswith("PING"):
                self.send(b"PONG\r\n")
            elif line.startswith("-ERR"):
                raise ConnectionError(line)
            elif line.startswith(("MSG", "HMSG")):
                ack = self.file.read(int(line.split()[-1]) + 2)
                return b'"seq"' in ack and b'"error"' not in ack


def main():
    host, port, user, password, ledger = sys.argv[1:]
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    connection, number, n_repeats = None, 0, 0
    while not stop:
        try:
            connection = connection or Connection(host, int(port), user, password)
            if connection.publish(number):
                number += 1
                continue
        except OSError:
            connection = None
        n_repeats += 1
        time.sleep(0.05)
    with open(ledger, "w", encoding="utf-8") as file:
        n_events = (number + EVENT_EVERY - 1) // EVENT_EVERY
        json.dump({"acked": number, "events": n_events, "values": (number - n_events) * PER_MESSAGE, "repeats": n_repeats}, file)


main()
