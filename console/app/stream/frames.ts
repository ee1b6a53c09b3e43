/**
 * The frames of `meridian.v1`, as docs/integrators/stream.md defines them: one frame per WebSocket message, integers
 * big-endian. This file turns bytes into frames and back and knows nothing of their order; `core.ts` does.
 *
 * Offsets are u64 on the wire and numbers here: past 2^53 bytes a frame is refused rather than misread. Tokens are opaque
 * and stay bigint, because they must come back exactly as they came.
 */

export const PROTOCOL_VERSION = 1;
/** The longest message either side may send. */
export const MAX_MESSAGE = 65_536;
/** Kind and offset, before the bytes of a DATA frame. */
export const DATA_HEADER = 9;
const MAX_TEXT = 512;
const NONCE_LENGTH = 32;
const STREAM_ID_LENGTH = 16;

const kinds = {
  challenge: 0x01,
  attach: 0x02,
  attached: 0x03,
  refused: 0x04,
  data: 0x10,
  ack: 0x11,
  ping: 0x12,
  pong: 0x13,
  notice: 0x14,
  leave: 0x15,
} as const;

export type Verdict = 'new' | 'resumed' | 'restarted';
const verdicts: readonly Verdict[] = ['new', 'resumed', 'restarted'];

export type Code =
  | 'protocol'
  | 'key'
  | 'superseded'
  | 'ended'
  | 'display_unavailable'
  | 'draining'
  | 'clipboard_refused'
  | 'revoked'
  | 'idle'
  | 'unknown';
const codes: readonly Code[] = [
  'unknown',
  'protocol',
  'key',
  'superseded',
  'ended',
  'display_unavailable',
  'draining',
  'clipboard_refused',
  'revoked',
  'idle',
];

/** What an agent (or Connection Proxy) says. */
export type AgentFrame =
  | { kind: 'challenge'; nonce: Uint8Array; streamId: Uint8Array }
  | { kind: 'attached'; verdict: Verdict; received: number; window: number }
  | { kind: 'refused'; code: Code; message: string }
  | { kind: 'notice'; code: Code; message: string }
  | { kind: 'data'; offset: number; bytes: Uint8Array }
  | { kind: 'ack'; received: number }
  | { kind: 'ping'; token: bigint }
  | { kind: 'pong'; token: bigint };

export interface Attach {
  attachNumber: number;
  received: number;
  /** The uncompressed P-256 point (65 bytes), or null for a stream without a key. */
  key: Uint8Array | null;
  /** `r || s` (64 bytes), or null for a stream without a key. */
  signature: Uint8Array | null;
}

/** The other side broke a rule of the wire format. */
export class ProtocolError extends Error {
  override name = 'ProtocolError';
}

export function decodeFrame(message: Uint8Array): AgentFrame {
  if (message.length === 0) throw new ProtocolError('an empty message');
  if (message.length > MAX_MESSAGE) throw new ProtocolError(`a message of ${message.length} bytes`);
  const reader = new Reader(message);
  const kind = reader.u8();
  switch (kind) {
    case kinds.challenge:
      return decodeChallenge(reader);
    case kinds.attached:
      return decodeAttached(reader);
    case kinds.refused:
      return { kind: 'refused', ...decodeText(reader) };
    case kinds.notice:
      return { kind: 'notice', ...decodeText(reader) };
    case kinds.data:
      return decodeData(reader);
    case kinds.ack: {
      const received = reader.u64();
      reader.end();
      return { kind: 'ack', received };
    }
    case kinds.ping:
    case kinds.pong: {
      const token = reader.token();
      reader.end();
      return { kind: kind === kinds.ping ? 'ping' : 'pong', token };
    }
    default:
      throw new ProtocolError(`an unknown frame 0x${kind.toString(16).padStart(2, '0')}`);
  }
}

function decodeChallenge(reader: Reader): AgentFrame {
  const version = reader.u8();
  if (version !== PROTOCOL_VERSION) throw new ProtocolError(`version ${version} of the stream`);
  const nonce = reader.bytes(NONCE_LENGTH);
  const streamId = reader.bytes(STREAM_ID_LENGTH);
  reader.end();
  return { kind: 'challenge', nonce, streamId };
}

function decodeAttached(reader: Reader): AgentFrame {
  const number = reader.u8();
  const verdict = verdicts[number];
  if (verdict === undefined) throw new ProtocolError(`verdict ${number}`);
  const received = reader.u64();
  const window = reader.u32();
  reader.end();
  return { kind: 'attached', verdict, received, window };
}

function decodeText(reader: Reader): { code: Code; message: string } {
  const code = codes[reader.u16()] ?? 'unknown';
  const text = reader.rest();
  if (text.length > MAX_TEXT) throw new ProtocolError(`a message text of ${text.length} bytes`);
  return { code, message: new TextDecoder().decode(text) };
}

function decodeData(reader: Reader): AgentFrame {
  const offset = reader.u64();
  const bytes = reader.rest();
  if (bytes.length === 0) throw new ProtocolError('DATA without bytes');
  return { kind: 'data', offset, bytes };
}

export function encodeAttach(attach: Attach): Uint8Array {
  const key = attach.key ?? new Uint8Array();
  const signature = attach.signature ?? new Uint8Array();
  const message = new Uint8Array(20 + key.length + signature.length);
  const view = new DataView(message.buffer);
  message[0] = kinds.attach;
  message[1] = PROTOCOL_VERSION;
  view.setBigUint64(2, BigInt(attach.attachNumber));
  view.setBigUint64(10, BigInt(attach.received));
  message[18] = key.length;
  message.set(key, 19);
  message[19 + key.length] = signature.length;
  message.set(signature, 20 + key.length);
  return message;
}

/** What the viewer's key signs to attach: it binds the agent's nonce, the stream, and the viewer's own counters. */
export function attachText(
  challenge: { nonce: Uint8Array; streamId: Uint8Array },
  attachNumber: number,
  received: number,
): Uint8Array<ArrayBuffer> {
  const label = new TextEncoder().encode('meridian.v1 attach\0');
  const text = new Uint8Array(label.length + NONCE_LENGTH + STREAM_ID_LENGTH + 16);
  const view = new DataView(text.buffer);
  text.set(label);
  text.set(challenge.nonce, label.length);
  text.set(challenge.streamId, label.length + NONCE_LENGTH);
  view.setBigUint64(text.length - 16, BigInt(attachNumber));
  view.setBigUint64(text.length - 8, BigInt(received));
  return text;
}

/** A DATA frame with room for `length` bytes behind the header; the caller fills them in. */
export function dataFrame(offset: number, length: number): Uint8Array {
  const message = new Uint8Array(DATA_HEADER + length);
  message[0] = kinds.data;
  new DataView(message.buffer).setBigUint64(1, BigInt(offset));
  return message;
}

export function encodeAck(received: number): Uint8Array {
  return counted(kinds.ack, BigInt(received));
}

export function encodePing(token: bigint): Uint8Array {
  return counted(kinds.ping, token);
}

export function encodePong(token: bigint): Uint8Array {
  return counted(kinds.pong, token);
}

/** The viewer goes for good: nothing needs to be kept for it. */
export function encodeLeave(): Uint8Array {
  return Uint8Array.of(kinds.leave);
}

function counted(kind: number, value: bigint): Uint8Array {
  const message = new Uint8Array(9);
  message[0] = kind;
  new DataView(message.buffer).setBigUint64(1, value);
  return message;
}

class Reader {
  private at = 0;
  private readonly view: DataView;

  constructor(private readonly message: Uint8Array) {
    this.view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  }

  u8(): number {
    return this.view.getUint8(this.advance(1));
  }

  u16(): number {
    return this.view.getUint16(this.advance(2));
  }

  u32(): number {
    return this.view.getUint32(this.advance(4));
  }

  u64(): number {
    const value = this.token();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ProtocolError('a count beyond 2^53');
    return Number(value);
  }

  token(): bigint {
    return this.view.getBigUint64(this.advance(8));
  }

  bytes(length: number): Uint8Array {
    const from = this.advance(length);
    return this.message.subarray(from, from + length);
  }

  rest(): Uint8Array {
    return this.bytes(this.message.length - this.at);
  }

  end(): void {
    if (this.at !== this.message.length) throw new ProtocolError('bytes after the end of a frame');
  }

  private advance(length: number): number {
    const from = this.at;
    if (from + length > this.message.length) throw new ProtocolError('a frame cut short');
    this.at += length;
    return from;
  }
}
