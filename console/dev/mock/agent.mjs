/**
 * The agent's side of meridian.v1 for development: challenges, checks the key and the signature as the real one does, counts,
 * acknowledges, and carries a display (the understudy in picture.mjs, or a VNC server's unix socket) and a clipboard that
 * echoes in capitals. A viewer that leaves is let go of. With `resume`, it keeps what it sent and answers RESUMED; without, RESTARTED.
 */

import { createHash, createPublicKey, randomBytes, verify } from 'node:crypto';
import { connect } from 'node:net';
import { Picture } from './picture.mjs';

const WINDOW = 256 * 1024;

export class Stream {
  constructor({ jkt, resume, display }) {
    this.jkt = jkt;
    this.resume = resume;
    this.displayPath = display;
    this.id = randomBytes(16);
    this.highest = 0;
    this.socket = null;
    this.left = false;
    this.log = [];
    this.reset();
  }

  reset() {
    this.closeDisplay?.();
    this.sent = Buffer.alloc(0);
    this.acknowledged = 0;
    this.received = 0;
    this.records = Buffer.alloc(0);
    this.live = false;
  }

  leave() {
    this.left = true;
    this.socket = null;
    this.reset();
  }

  /** One WebSocket of this stream. */
  serve(socket) {
    const nonce = randomBytes(32);
    socket.send(Buffer.concat([Buffer.from([0x01, 1]), nonce, this.id]));
    socket.on('message', (message) => {
      try {
        this.take(socket, nonce, message);
      } catch (error) {
        this.log.push(error.message);
        refuse(socket, 1, error.message);
      }
    });
    socket.on('close', () => {
      if (this.socket === socket) this.socket = null;
    });
  }

  take(socket, nonce, message) {
    const kind = message[0];
    if (kind === 0x02) return this.attach(socket, nonce, message);
    if (kind === 0x12) return socket.send(Buffer.concat([Buffer.from([0x13]), message.subarray(1)]));
    if (this.socket !== socket) return;
    if (kind === 0x10) this.data(message);
    else if (kind === 0x15) this.leave();
    else if (kind === 0x11) this.acknowledged = Number(message.readBigUInt64BE(1));
    else if (kind !== 0x13) throw new Error(`frame ${kind}`);
  }

  attach(socket, nonce, message) {
    const number = Number(message.readBigUInt64BE(2));
    const received = Number(message.readBigUInt64BE(10));
    this.checkKey(nonce, message);
    if (number <= this.highest) return refuse(socket, 3, 'A later attach took this stream.');
    const first = this.highest === 0;
    this.highest = number;
    const before = this.socket;
    this.socket = socket;
    if (before) refuse(before, 3, 'A later attach took this stream.', 0x14);
    const resumed = !first && this.resume && received >= this.acknowledged && received <= this.sent.length;
    if (!resumed) this.reset();
    const answer = Buffer.alloc(14);
    answer[0] = 0x03;
    answer[1] = first ? 0 : resumed ? 1 : 2;
    answer.writeBigUInt64BE(BigInt(this.received), 2);
    answer.writeUInt32BE(WINDOW, 10);
    socket.send(answer);
    if (resumed) this.transmit(received);
    else this.openDisplay();
  }

  checkKey(nonce, message) {
    const keyLength = message[18];
    if (!this.jkt) {
      if (keyLength !== 0 || message.length !== 20) throw new Error('a key without a jkt');
      return;
    }
    if (keyLength !== 65 || message[84] !== 64 || message.length !== 149) throw new Error('ATTACH of a wrong shape');
    const key = message.subarray(19, 84);
    const jwk = { crv: 'P-256', kty: 'EC', x: key.subarray(1, 33).toString('base64url'), y: key.subarray(33).toString('base64url') };
    const thumbprint = createHash('sha256').update(JSON.stringify(jwk)).digest('base64url');
    if (thumbprint !== this.jkt) throw new Error('the key does not fit the ticket');
    const text = Buffer.concat([Buffer.from('meridian.v1 attach\0'), nonce, this.id, message.subarray(2, 18)]);
    const publicKey = createPublicKey({ key: jwk, format: 'jwk' });
    if (!verify('sha256', text, { key: publicKey, dsaEncoding: 'ieee-p1363' }, message.subarray(85))) {
      throw new Error('the signature does not fit');
    }
  }

  data(message) {
    const offset = Number(message.readBigUInt64BE(1));
    if (offset !== this.received) throw new Error(`DATA at ${offset}, expected ${this.received}`);
    this.received += message.length - 9;
    this.records = Buffer.concat([this.records, message.subarray(9)]);
    const ack = Buffer.alloc(9);
    ack[0] = 0x11;
    ack.writeBigUInt64BE(BigInt(this.received), 1);
    this.socket?.send(ack);
    while (this.records.length >= 5 && this.records.length >= 5 + this.records.readUInt32BE(1)) {
      const length = this.records.readUInt32BE(1);
      this.record(this.records[0], this.records.subarray(5, 5 + length));
      this.records = this.records.subarray(5 + length);
    }
  }

  record(channel, payload) {
    if (channel === 1) return this.toDisplay?.(Buffer.from(payload));
    const value = JSON.parse(payload.toString());
    this.log.push(value);
    if (channel === 2) this.sendObject(2, { type: 'text', text: value.text.toUpperCase() });
  }

  openDisplay() {
    const write = (bytes) => {
      for (let at = 0; at < bytes.length; at += 65536) this.sendRecord(1, bytes.subarray(at, at + 65536));
      if (!this.live) this.sendObject(3, { type: 'ready' });
      this.live = true;
    };
    if (this.displayPath) {
      const display = connect(this.displayPath);
      display.on('data', write);
      display.on('error', (error) => this.log.push(error.message));
      this.toDisplay = (bytes) => display.write(bytes);
      this.closeDisplay = () => display.destroy();
    } else {
      const picture = new Picture(write);
      this.toDisplay = (bytes) => picture.push(bytes);
      this.closeDisplay = () => undefined;
    }
  }

  sendObject(channel, value) {
    this.sendRecord(channel, Buffer.from(JSON.stringify(value)));
  }

  sendRecord(channel, payload) {
    const head = Buffer.alloc(5);
    head[0] = channel;
    head.writeUInt32BE(payload.length, 1);
    const from = this.sent.length;
    this.sent = Buffer.concat([this.sent, head, payload]);
    this.transmit(from);
  }

  transmit(from) {
    for (let at = from; at < this.sent.length; at += 32768) {
      const head = Buffer.alloc(9);
      head[0] = 0x10;
      head.writeBigUInt64BE(BigInt(at), 1);
      this.socket?.send(Buffer.concat([head, this.sent.subarray(at, at + 32768)]));
    }
  }

  /** Sends a NOTICE, or breaks the path without a word. */
  notice(code, message) {
    if (this.socket) refuse(this.socket, code, message, 0x14, false);
  }

  /** The path stays open and says nothing any more, as a dead host's does. */
  mute() {
    const { socket } = this;
    socket.removeAllListeners('message');
    socket.send = () => undefined;
  }

  cut() {
    this.socket?.terminate();
  }
}

function refuse(socket, code, message, kind = 0x04, close = true) {
  const head = Buffer.from([kind, code >> 8, code & 255]);
  socket.send(Buffer.concat([head, Buffer.from(message)]));
  if (close) socket.close();
}
