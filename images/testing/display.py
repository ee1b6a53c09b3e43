"""A small RFB client for tests of the images, and for looking at them: frames, keys, the pointer, the size.

    display.py SOCKET [--size WIDTHxHEIGHT] [--png FILE] [--type TEXT] [--click X,Y] [--settle SECONDS]

Nothing but the standard library, so that it runs wherever the tests do.
"""

import argparse
import socket
import struct
import sys
import time
import zlib

ENCODING_RAW = 0
ENCODING_CURSOR = -239
ENCODING_EXTENDED_DESKTOP_SIZE = -308
BYTES_PER_PIXEL = 4
RETURN = 0xFF0D
MODIFIERS = {"Control": 0xFFE3, "Shift": 0xFFE1, "Alt": 0xFFE9}
NAMED_KEYS = {"Return": RETURN, "Escape": 0xFF1B, "Tab": 0xFF09, "F10": 0xFFC7, "Down": 0xFF54, "BackSpace": 0xFF08}


class Display:
    """One connection. The picture is kept as rows of blue, green, red and a spare byte."""

    def __init__(self, path, limit=20):
        self.limit = limit
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(limit)
        self.stream = self.socket.makefile("rb")
        assert self.read(12).startswith(b"RFB 003.008"), "not RFB 3.8"
        self.socket.sendall(b"RFB 003.008\n")
        assert 1 in self.read(self.read(1)[0]), "turned away"
        self.socket.sendall(b"\x01")
        assert self.read(4) == bytes(4), "refused"
        self.socket.sendall(b"\x01")
        self.width, self.height = struct.unpack(">HH", self.read(4))
        self.read(16)
        self.name = self.read(struct.unpack(">I", self.read(4))[0]).decode()
        self.picture = bytearray(self.width * self.height * BYTES_PER_PIXEL)
        self.socket.sendall(struct.pack(">Bxxx BBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        encodings = [ENCODING_RAW, ENCODING_CURSOR, ENCODING_EXTENDED_DESKTOP_SIZE]
        self.socket.sendall(struct.pack(">BxH3i", 2, len(encodings), *encodings))

    def read(self, length):
        data = self.stream.read(length)
        if len(data) < length:
            raise ConnectionError("the display closed the connection")
        return data

    def refresh(self):
        """Asks for the whole picture and takes it in."""
        self.request(0)
        # A request for everything may be answered with the size alone; the pixels are then owed to the next one.
        while not self.take_update():
            self.request(1)

    def request(self, incremental):
        self.socket.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))

    def take_update(self):
        """True when pixels came, not just news of the size or the pointer."""
        kind = self.read(1)[0]
        if kind == 2:
            return False
        assert kind == 0, f"unknown message {kind}"
        (count,) = struct.unpack(">xH", self.read(3))
        pixels = False
        for _ in range(count):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self.read(12))
            if encoding == ENCODING_RAW:
                pixels = True
                for row in range(y, y + height):
                    start = (row * self.width + x) * BYTES_PER_PIXEL
                    data = self.read(width * BYTES_PER_PIXEL)
                    self.picture[start : start + len(data)] = data
            elif encoding == ENCODING_CURSOR:
                self.read(width * height * BYTES_PER_PIXEL + (width + 7) // 8 * height)
            elif encoding == ENCODING_EXTENDED_DESKTOP_SIZE:
                self.read(16 * self.read(4)[0])
                if x == 1 and y != 0:
                    raise RuntimeError(f"the display refused the size, status {y}")
                if (width, height) != (self.width, self.height):
                    self.width, self.height = width, height
                    self.picture = bytearray(width * height * BYTES_PER_PIXEL)
            else:
                raise RuntimeError(f"encoding {encoding} was not asked for")
        return pixels

    def resize(self, width, height):
        screen = struct.pack(">IHHHHI", 0, 0, 0, width, height, 0)
        self.refresh()
        self.socket.sendall(struct.pack(">BxHHBx", 251, width, height, 1) + screen)
        deadline = time.monotonic() + self.limit
        while (self.width, self.height) != (width, height):
            assert time.monotonic() < deadline, "the display kept its size"
            self.refresh()

    def colours(self):
        """How many different colours the picture has, counted up to 1000."""
        seen = set()
        for start in range(0, len(self.picture), BYTES_PER_PIXEL):
            seen.add(bytes(self.picture[start : start + 3]))
            if len(seen) >= 1000:
                break
        return len(seen)

    def pixel(self, x, y):
        start = (y * self.width + x) * BYTES_PER_PIXEL
        blue, green, red = self.picture[start : start + 3]
        return red, green, blue

    def key(self, symbol, down):
        self.socket.sendall(struct.pack(">BBxxI", 4, down, symbol))

    def press(self, *names):
        """Presses keys together: press("Control", "Shift", "c")."""
        symbols = [MODIFIERS.get(name) or NAMED_KEYS.get(name) or ord(name) for name in names]
        for symbol in symbols:
            self.key(symbol, 1)
        for symbol in reversed(symbols):
            self.key(symbol, 0)

    def type(self, text):
        for character in text:
            symbol = RETURN if character == "\n" else ord(character)
            self.key(symbol, 1)
            self.key(symbol, 0)

    def click(self, x, y, button=1):
        for mask in (0, 1 << (button - 1), 0):
            self.socket.sendall(struct.pack(">BBHH", 5, mask, x, y))

    def png(self):
        rows = bytearray()
        for start in range(0, len(self.picture), self.width * BYTES_PER_PIXEL):
            row = self.picture[start : start + self.width * BYTES_PER_PIXEL]
            out = bytearray(self.width * 3)
            out[0::3], out[1::3], out[2::3] = row[2::4], row[1::4], row[0::4]
            rows += b"\0" + out
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(map(png_chunk, chunks))


def png_chunk(chunk):
    kind, data = chunk
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("socket")
    parser.add_argument("--size")
    parser.add_argument("--png")
    parser.add_argument("--type")
    parser.add_argument("--press", action="append", default=[], help="keys together, as Control+Shift+c")
    parser.add_argument("--click", help="X,Y or X,Y,BUTTON")
    parser.add_argument("--settle", type=float, default=0, help="seconds between input and picture")
    options = parser.parse_args()

    display = Display(options.socket)
    if options.size:
        display.resize(*map(int, options.size.split("x")))
    if options.click:
        display.click(*map(int, options.click.split(",")))
    for keys in options.press:
        display.press(*keys.split("+"))
    if options.type:
        display.type(options.type.encode().decode("unicode_escape"))
    time.sleep(options.settle)
    display.refresh()
    if options.png:
        with open(options.png, "wb") as file:
            file.write(display.png())
    print(f"{display.name}: {display.width}x{display.height}, {display.colours()} colours")


if __name__ == "__main__":
    sys.exit(main())
