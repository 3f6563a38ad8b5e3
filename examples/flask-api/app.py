"""The API behind the gateway: what a real one does, and what one does that is slow or fails.

The gateway says who calls in X-SSL-Client-* headers. They can be believed because nobody else reaches this port, and
because the gateway drops whatever a client sends under those names.
"""

import hashlib
import os
import signal
import socket
import time

from flask import Flask, Response, jsonify, request

app = Flask(__name__)
app.json.sort_keys = True

REPLICA = socket.gethostname()
LONGEST_WAIT = 300
LARGEST_BODY = 1 << 30


def bounded(name, default, largest):
    """A number of the query, between 0 and `largest`; nonsense is the default."""
    value = request.args.get(name, default, type=float)
    return min(max(value, 0), largest)


def caller():
    return {
        "subject": request.headers.get("X-SSL-Client-S-DN"),
        "serial": request.headers.get("X-SSL-Client-Serial"),
        "names": request.headers.get("X-SSL-Client-SAN"),
        "address": request.headers.get("X-Real-IP"),
    }


@app.get("/health")
def health():
    return Response("OK", mimetype="text/plain")


@app.post("/api/webhook")
def webhook():
    """Takes an event and says who sent it."""
    event = request.get_json(silent=True)
    if event is None:
        return jsonify(error="the body is not JSON"), 400
    return jsonify(
        received=event, client=caller(), request_id=request.headers.get("X-Request-Id"), replica=REPLICA
    )


@app.get("/api/whoami")
def whoami():
    """Who calls, and which replica answers."""
    return jsonify(client=caller(), replica=REPLICA)


@app.get("/api/slow")
def slow():
    """Answers after ?seconds=5."""
    seconds = bounded("seconds", 5, LONGEST_WAIT)
    time.sleep(seconds)
    return jsonify(waited=seconds, replica=REPLICA)


@app.get("/api/drip")
def drip():
    """Sends a byte every ?every=0.1 seconds, ?bytes=50 of them."""
    count, pause = int(bounded("bytes", 50, 100_000)), bounded("every", 0.1, LONGEST_WAIT)

    def body():
        for _ in range(count):
            yield b"."
            time.sleep(pause)

    return Response(body(), mimetype="text/plain")


@app.get("/api/download")
def download():
    """Sends ?bytes=1048576 bytes."""
    left = int(bounded("bytes", 1 << 20, LARGEST_BODY))
    length = left

    def body(left):
        block = b"x" * 65536
        while left > 0:
            yield block[: min(left, len(block))]
            left -= len(block)

    return Response(body(left), mimetype="application/octet-stream", headers={"Content-Length": str(length)})


@app.post("/api/upload")
def upload():
    """Reads the body to its end and says what it was."""
    digest, length = hashlib.sha256(), 0
    while block := request.stream.read(65536):
        digest.update(block)
        length += len(block)
    return jsonify(bytes=length, sha256=digest.hexdigest(), replica=REPLICA)


@app.route("/api/fail", methods=["GET", "POST"])
def fail():
    """Answers ?status=500."""
    status = int(bounded("status", 500, 599))
    return jsonify(failed=True, replica=REPLICA), status if status >= 400 else 500


@app.route("/api/crash", methods=["GET", "POST"])
def crash():
    """Ends the worker in the middle of the request: the connection breaks without an answer."""
    os.kill(os.getpid(), signal.SIGKILL)
    return "", 204
