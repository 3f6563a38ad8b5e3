"""Drives Chromium by the DevTools protocol, over a pipe. Reads a line of JSON with flags and steps from standard input,
prints a line of JSON for each step: what became of a page, or the value of a promise."""
import fcntl
import json
import os
import subprocess
import sys

home = sys.argv[1]
given = json.loads(sys.stdin.readline())


class Browser:
    def __init__(self, flags):
        read, self.to_browser = os.pipe()
        from_browser, write = os.pipe()
        read, write = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (read, write))
        self.log = open(home + "/browser.log", "wb")
        subprocess.Popen(
            ["chromium", "--headless", "--remote-debugging-pipe", f"--user-data-dir={home}/profile", *flags, "about:blank"],
            env={**os.environ, "HOME": home},
            pass_fds=(3, 4),
            preexec_fn=lambda: (os.dup2(read, 3), os.dup2(write, 4)),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        os.close(read), os.close(write)
        self.answers = os.fdopen(from_browser, "rb")
        self.buffer, self.number, self.events = b"", 0, []
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Network", "Runtime"]:
            self.call(domain + ".enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while True:
            got = self.receive()
            if got.get("id") == self.number:
                if "error" in got:
                    raise RuntimeError(got["error"])
                return got["result"]
            self.events.append(got)

    def receive(self):
        while b"\0" not in self.buffer:
            piece = os.read(self.answers.fileno(), 65536)
            if not piece:
                raise RuntimeError("the browser has ended: " + open(home + "/browser.log", errors="replace").read())
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def wait_until_loaded(self, loader):
        """Of this page and no other: the one before may tell of its end late."""
        seen = 0
        while True:
            while seen < len(self.events):
                event, seen = self.events[seen], seen + 1
                told = event.get("params", {})
                if event.get("method") == "Page.lifecycleEvent" and (told["loaderId"], told["name"]) == (loader, "load"):
                    return
            self.events.append(self.receive())

    def open(self, url):
        self.events = []
        went = self.call("Page.navigate", url=url)
        if "errorText" in went:
            return {"error": went["errorText"]}
        self.wait_until_loaded(went["loaderId"])
        response = next(
            event["params"]["response"]
            for event in self.events
            if event.get("method") == "Network.responseReceived" and event["params"]["loaderId"] == went["loaderId"]
            and event["params"]["type"] == "Document"
        )
        text = self.evaluate("document.body.innerText")
        html = self.evaluate("document.documentElement.outerHTML")
        headers = {name.lower(): value for name, value in response["headers"].items()}
        return {"status": response["status"], "type": headers.get("content-type"), "text": text, "html": html}

    def evaluate(self, expression):
        got = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in got:
            return {"error": got["exceptionDetails"].get("exception", {}).get("description", "")}
        return got["result"].get("value")


browser = Browser(given["flags"])
for step in given["steps"]:
    print(json.dumps(browser.open(step["open"]) if "open" in step else browser.evaluate(step["evaluate"])), flush=True)
