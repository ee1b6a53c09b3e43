"""The agent's end of the helper's socket."""

import json
import socket


class Agent:
    def __init__(self, path, limit=20):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(limit)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rb")

    def next(self):
        line = self.lines.readline()
        if not line:
            raise ConnectionError("the helper closed the connection")
        return json.loads(line)

    def next_text(self):
        while True:
            message = self.next()
            if message["type"] == "text":
                return message["text"]

    def await_ready(self):
        while self.next() != {"type": "ready", "ready": True}:
            pass

    def set_text(self, text):
        self.socket.sendall(json.dumps({"type": "text", "text": text}).encode() + b"\n")

    def close(self):
        self.socket.close()
