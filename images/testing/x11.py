"""Just enough of an X client to copy and to paste: it stands for a program in the workspace.

The X socket is inside the container, where root on the host reaches it through the process's root directory.
"""

import socket
import struct
import time

CURRENT_TIME = 0
ATOM, STRING = 4, 31
PROPERTY_NOTIFY, SELECTION_CLEAR, SELECTION_REQUEST, SELECTION_NOTIFY = 28, 29, 30, 31
NEW_VALUE, DELETED = 0, 1
PROPERTY_CHANGE = 1 << 22


class Program:
    def __init__(self, path, limit=20):
        self.limit = limit
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(limit)
        self.socket.connect(path)
        self.socket.sendall(struct.pack("<BxHHHHH", ord("l"), 11, 0, 0, 0, 0))
        status, length = struct.unpack("<Bx4xH", self.read(8))
        setup = self.read(length * 4)
        assert status == 1, f"the X server refused: {setup}"
        self.next_id = struct.unpack("<I", setup[4:8])[0]
        vendor, formats = struct.unpack("<H", setup[16:18])[0], setup[21]
        root = 32 + (vendor + 3) // 4 * 4 + formats * 8
        self.root, self.root_visual = struct.unpack("<I28xI", setup[root : root + 36])
        self.events = []
        self.window = self.new_id()
        # CreateWindow of class InputOutput, whose properties it hears of.
        self.send(1, 0, struct.pack("<IIhhHHHHIII", self.window, self.root, 0, 0, 1, 1, 0, 1, 0, 0x800, PROPERTY_CHANGE))

    def new_id(self):
        self.next_id += 1
        return self.next_id - 1

    def read(self, length):
        data = b""
        while len(data) < length:
            piece = self.socket.recv(length - len(data))
            if not piece:
                raise ConnectionError("the X server closed the connection")
            data += piece
        return data

    def send(self, opcode, detail, body):
        body += bytes(-len(body) % 4)
        units = len(body) // 4 + 1
        if units < 1 << 16:
            self.socket.sendall(struct.pack("<BBH", opcode, detail, units) + body)
        else:
            raise ValueError("too long for one request")

    def packet(self):
        """A reply, or an event; of errors only that there was one."""
        data = self.read(32)
        if data[0] == 1:
            return data + self.read(struct.unpack("<I", data[4:8])[0] * 4)
        return data

    def reply(self):
        while True:
            packet = self.packet()
            if packet[0] == 1:
                return packet
            assert packet[0] != 0, f"X error {packet[1]}"
            self.events.append(packet)

    def event(self, kind, wanted=lambda event: True):
        """The next such event; others are dropped."""
        deadline = time.monotonic() + self.limit
        while time.monotonic() < deadline:
            packet = self.events.pop(0) if self.events else self.packet()
            if packet[0] & 0x7F == kind and wanted(packet):
                return packet
        raise TimeoutError(f"no X event {kind}")

    def atom(self, name):
        self.send(16, 0, struct.pack("<HxxI", len(name), 0)[:4] + name.encode())
        return struct.unpack("<I", self.reply()[8:12])[0]

    def set_property(self, window, name, kind, unit, data):
        self.send(18, 0, struct.pack("<IIIBxxxI", window, name, kind, unit, len(data) * 8 // unit) + data)

    def property(self, window, name):
        self.send(20, 0, struct.pack("<IIIII", window, name, 0, 0, 1 << 20))
        reply = self.reply()
        unit, kind, count = reply[1], struct.unpack("<I", reply[8:12])[0], struct.unpack("<I", reply[16:20])[0]
        return kind, reply[32 : 32 + count * unit // 8]

    def own(self, selection="CLIPBOARD"):
        self.send(22, 0, struct.pack("<III", self.window, self.atom(selection), CURRENT_TIME))

    def copy(self, text, piece=None):
        """Puts text on the clipboard and answers until someone has fetched it; in pieces, if a size is given."""
        data, utf8 = text.encode(), self.atom("UTF8_STRING")
        self.own()
        event = self.event(SELECTION_REQUEST, lambda e: struct.unpack("<I", e[20:24])[0] == utf8)
        at, _, requestor, selection, target, name = struct.unpack("<IIIIII", event[4:28])
        # Before the first piece: the requestor's reading of each is what asks for the next.
        self.send(2, 0, struct.pack("<III", requestor, 1 << 11, PROPERTY_CHANGE))
        if piece is None:
            self.set_property(requestor, name, utf8, 8, data)
        else:
            self.set_property(requestor, name, self.atom("INCR"), 32, struct.pack("<I", len(data)))
        notice = struct.pack("<BxHIIIII8x", SELECTION_NOTIFY, 0, at, requestor, selection, target, name)
        self.send(25, 0, struct.pack("<II", requestor, 0) + notice)
        if piece is not None:
            for start in [*range(0, len(data), piece), len(data)]:
                self.await_deleted(requestor, name)
                self.set_property(requestor, name, utf8, 8, data[start : start + piece])
        self.await_deleted(requestor, name)

    def await_deleted(self, window, name):
        self.event(PROPERTY_NOTIFY, lambda e: struct.unpack("<II", e[4:12]) == (window, name) and e[16] == DELETED)

    def paste(self, target="UTF8_STRING", selection="CLIPBOARD"):
        """What the clipboard's owner gives for a target; None when it refuses."""
        name = self.atom("MERIDIAN_TEST")
        wanted, owned = self.atom(target), self.atom(selection)
        self.send(24, 0, struct.pack("<IIIII", self.window, owned, wanted, name, CURRENT_TIME))
        event = self.event(SELECTION_NOTIFY, lambda e: struct.unpack("<I", e[16:20])[0] == wanted)
        if struct.unpack("<I", event[20:24])[0] == 0:
            return None
        return self.property(self.window, name)[1]

    def targets(self):
        data = self.paste("TARGETS")
        return [self.atom_name(atom) for (atom,) in struct.iter_unpack("<I", data)]

    def atom_name(self, atom):
        self.send(17, 0, struct.pack("<I", atom))
        reply = self.reply()
        return reply[32 : 32 + struct.unpack("<H", reply[8:10])[0]].decode()
