/**
 * A display server's understudy: enough of RFB 3.8 for a viewer to connect, draw, resize and type. Everything it draws is a
 * handful of rectangles (RRE), so a frame costs a few hundred bytes. Keys appear as blocks in its window.
 */

const colours = { sky: 0x5b8a93, bar: 0x20303a, window: 0xf4f6f8, title: 0x2f6f79, text: 0x3a4652, key: 0xc2703d, dock: 0x38505a };

export class Picture {
  /** @param {(bytes: Buffer) => void} write */
  constructor(write) {
    this.write = write;
    this.width = 1280;
    this.height = 800;
    this.input = Buffer.alloc(0);
    this.step = this.version;
    this.typed = 0;
    this.dirty = true;
    this.asked = false;
    this.sizes = [];
    this.write(Buffer.from('RFB 003.008\n'));
  }

  push(bytes) {
    this.input = Buffer.concat([this.input, bytes]);
    for (;;) {
      const used = this.step.call(this, this.input);
      if (used === 0) return;
      this.input = this.input.subarray(used);
    }
  }

  version(input) {
    if (input.length < 12) return 0;
    this.write(Buffer.from([1, 1]));
    this.step = this.security;
    return 12;
  }

  security(input) {
    if (input.length < 1) return 0;
    this.write(Buffer.from([0, 0, 0, 0]));
    this.step = this.clientInit;
    return 1;
  }

  clientInit(input) {
    if (input.length < 1) return 0;
    const name = Buffer.from('mock');
    const init = Buffer.alloc(24);
    init.writeUInt16BE(this.width, 0);
    init.writeUInt16BE(this.height, 2);
    Buffer.from([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]).copy(init, 4);
    init.writeUInt32BE(name.length, 20);
    this.write(Buffer.concat([init, name]));
    this.step = this.message;
    return 1;
  }

  message(input) {
    const length = messageLength(input);
    if (length === 0 || input.length < length) return 0;
    switch (input[0]) {
      case 2:
        this.sizes.push([this.width, this.height, 0]);
        break;
      case 3:
        this.asked = true;
        if (input[1] === 0) this.dirty = true;
        break;
      case 4:
        if (input[1] === 1) this.type(input.readUInt32BE(4));
        break;
      case 255:
        if (input.readUInt16BE(2) === 1) this.type(input.readUInt32BE(4));
        break;
      case 251:
        this.width = input.readUInt16BE(2);
        this.height = input.readUInt16BE(4);
        this.sizes.push([this.width, this.height, 1]);
        this.dirty = true;
        break;
    }
    this.draw();
    return length;
  }

  type(keysym) {
    this.typed += keysym === 0xff08 ? -1 : keysym < 0xff00 ? 1 : 0;
    this.typed = Math.max(0, this.typed);
    this.dirty = true;
  }

  draw() {
    if (!this.asked || !(this.dirty || this.sizes.length > 0)) return;
    const rectangles = this.sizes.map(([width, height, reason]) => sizeRectangle(width, height, reason));
    if (this.dirty) rectangles.push(this.frame());
    this.sizes = [];
    this.dirty = false;
    this.asked = false;
    const head = Buffer.alloc(4);
    head.writeUInt16BE(rectangles.length, 2);
    this.write(Buffer.concat([head, ...rectangles]));
  }

  frame() {
    const { width, height } = this;
    const window = { x: Math.round(width * 0.12), y: 76, w: Math.round(width * 0.6), h: Math.round(height * 0.62) };
    const parts = [
      [colours.bar, 0, 0, width, 28],
      [colours.window, 12, 8, 70, 12],
      [colours.dock, Math.round(width / 2) - 120, height - 52, 240, 42],
      ...[0, 1, 2, 3].map((i) => [colours.window, Math.round(width / 2) - 100 + i * 54, height - 43, 26, 24]),
      [colours.title, window.x, window.y, window.w, 26],
      [colours.window, window.x, window.y + 26, window.w, window.h - 26],
      ...[0.55, 0.8, 0.35, 0.62].map((share, i) => [colours.text, window.x + 20, window.y + 48 + i * 22, Math.round((window.w - 60) * share), 8]),
      ...Array.from({ length: this.typed }, (_, i) => {
        const perLine = Math.max(1, Math.floor((window.w - 60) / 14));
        return [colours.key, window.x + 20 + (i % perLine) * 14, window.y + 146 + Math.floor(i / perLine) * 20, 10, 12];
      }),
    ];
    const body = Buffer.alloc(12 + 8 + parts.length * 12);
    body.writeUInt16BE(width, 4);
    body.writeUInt16BE(height, 6);
    body.writeInt32BE(2, 8);
    body.writeUInt32BE(parts.length, 12);
    pixel(body, 16, colours.sky);
    parts.forEach(([colour, ...place], i) => {
      pixel(body, 20 + i * 12, colour);
      place.forEach((value, j) => body.writeUInt16BE(Math.max(0, value), 24 + i * 12 + j * 2));
    });
    return body;
  }
}

/** noVNC asks for 32 bits with red in the lowest byte. */
function pixel(buffer, at, colour) {
  buffer[at] = colour >> 16;
  buffer[at + 1] = (colour >> 8) & 255;
  buffer[at + 2] = colour & 255;
}

function sizeRectangle(width, height, reason) {
  const body = Buffer.alloc(12 + 4 + 16);
  body.writeUInt16BE(reason, 0);
  body.writeUInt16BE(width, 4);
  body.writeUInt16BE(height, 6);
  body.writeInt32BE(-308, 8);
  body[12] = 1;
  body.writeUInt16BE(width, 24);
  body.writeUInt16BE(height, 26);
  return body;
}

function messageLength(input) {
  switch (input[0]) {
    case 0:
      return 20;
    case 2:
      return input.length < 4 ? 0 : 4 + 4 * input.readUInt16BE(2);
    case 3:
      return 10;
    case 4:
      return 8;
    case 5:
      return 6;
    case 6:
      return input.length < 8 ? 0 : 8 + input.readUInt32BE(4);
    case 150:
      return 10;
    case 248:
      return input.length < 9 ? 0 : 9 + input[8];
    case 251:
      return input.length < 8 ? 0 : 8 + 16 * input[6];
    case 255:
      return 12;
    case undefined:
      return 0;
    default:
      throw new Error(`client message ${input[0]}`);
  }
}
