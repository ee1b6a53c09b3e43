/** The viewer's side of stream/vectors, which the agent's core is tested against too: stream/tests/vectors.rs makes them. */

import { describe, expect, test } from 'vitest';
import attachVector from '../../../stream/vectors/attach.json';
import frameVectors from '../../../stream/vectors/frames.json';
import scenarios from '../../../stream/vectors/resume.json';
import { type PathId, StreamCore } from './core';
import {
  DATA_HEADER,
  ProtocolError,
  attachText,
  dataFrame,
  decodeFrame,
  encodeAck,
  encodeAttach,
  encodeLeave,
  encodePing,
  encodePong,
} from './frames';
import { base64url, thumbprintInput } from './key';

function unhex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

describe('the text that is signed', () => {
  const { nonce, stream_id, attach_number, received, text, public_key, thumbprint, signature } = attachVector;

  test('is nonce, stream, number and count behind a label', () => {
    const challenge = { nonce: unhex(nonce), streamId: unhex(stream_id) };
    expect(hex(attachText(challenge, attach_number, received))).toBe(text);
  });

  test('verifies, and the key has the thumbprint', async () => {
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
    const point = await crypto.subtle.importKey('raw', unhex(public_key), algorithm, true, ['verify']);
    expect(await crypto.subtle.verify(algorithm, point, unhex(signature), unhex(text))).toBe(true);
    const input = new TextEncoder().encode(thumbprintInput(unhex(public_key)));
    expect(base64url(new Uint8Array(await crypto.subtle.digest('SHA-256', input)))).toBe(thumbprint);
  });
});

interface FrameVector {
  from: string;
  kind: string;
  message: string;
  nonce?: string;
  streamId?: string;
  attachNumber?: number;
  received?: number;
  key?: string | null;
  signature?: string | null;
  verdict?: string;
  window?: number;
  code?: string;
  /** Twice in a vector of REFUSED and NOTICE: see `text`. */
  text?: string;
  offset?: number;
  bytes?: string;
  token?: string;
}

describe('frames', () => {
  const vectors: FrameVector[] = frameVectors.frames;

  test.each(vectors.filter(({ from }) => from !== 'viewer'))('$kind of the agent: $message', (vector) => {
    const { from, message, nonce, streamId, bytes, token, ...fields } = vector;
    expect(from).not.toBe('viewer');
    const expected: Record<string, unknown> = { ...fields };
    if ('text' in fields) {
      expected.message = fields.text;
      delete expected.text;
    }
    if (nonce !== undefined) expected.nonce = unhex(nonce);
    if (streamId !== undefined) expected.streamId = unhex(streamId);
    if (bytes !== undefined) expected.bytes = unhex(bytes);
    if (token !== undefined) expected.token = BigInt(token);
    expect(decodeFrame(unhex(message))).toEqual(expected);
  });

  test.each(vectors.filter(({ from }) => from !== 'agent'))('$kind of the viewer: $message', (vector) => {
    expect(hex(encode(vector))).toBe(vector.message);
  });

  test.each(frameVectors.malformed)('$what is refused', ({ message }) => {
    expect(() => decodeFrame(unhex(message))).toThrow(ProtocolError);
  });
});

function encode(vector: FrameVector): Uint8Array {
  const { kind, attachNumber = 0, received = 0, key, signature, offset = 0, bytes = '', token = '0' } = vector;
  const optional = (text: string | null | undefined) => (text ? unhex(text) : null);
  switch (kind) {
    case 'attach':
      return encodeAttach({ attachNumber, received, key: optional(key), signature: optional(signature) });
    case 'data': {
      const frame = dataFrame(offset, bytes.length / 2);
      frame.set(unhex(bytes), DATA_HEADER);
      return frame;
    }
    case 'ack':
      return encodeAck(received);
    case 'ping':
      return encodePing(BigInt(token));
    case 'pong':
      return encodePong(BigInt(token));
    case 'leave':
      return encodeLeave();
    default:
      throw new Error(`viewers send no ${kind}`);
  }
}

interface Step {
  does?: string;
  display?: string;
  to?: string;
  path?: number;
  says?: string;
  message?: string;
  lost?: boolean;
}

const PING = 0x12;

/** A viewer that plays a scenario: what it says is what the script has it say, message by message. */
class Player {
  private readonly core = new StreamCore(new Uint8Array(65).fill(4));
  private now = 1_000;
  private readonly said: { path: PathId; message: string }[] = [];
  shown = '';
  lost = false;
  private left = false;

  play({ does, display = '', to, path = 0, message = '', lost = false }: Step): void {
    if (does === 'viewer opens') expect(this.core.pathOpened(this.now)).toBe(path);
    else if (does === 'path breaks') this.core.pathClosed(path);
    else if (does === 'viewer writes') this.core.sendDisplay(unhex(display));
    else if (does === 'viewer leaves') this.leave();
    else if (does === 'viewer acknowledges') this.core.tick((this.now += 50));
    else if (to === 'viewer' && !lost) this.core.receive(path, unhex(message), this.now);
    this.perform();
    if (to === 'agent') expect(this.said.shift()).toEqual({ path, message });
  }

  /** Nothing is said beyond the script. */
  finish(): void {
    expect(this.said).toEqual([]);
    expect(this.lost).toBe(false);
    expect(this.core.attached).toBe(!this.left);
  }

  private leave(): void {
    this.left = true;
    this.core.leave();
  }

  private perform(): void {
    for (let effects = this.core.take(); effects.length > 0; effects = this.core.take()) {
      for (const effect of effects) {
        if (effect.type === 'send' && effect.message[0] !== PING) {
          this.said.push({ path: effect.path, message: hex(effect.message) });
        } else if (effect.type === 'sign') {
          this.core.signed(effect.path, new Uint8Array(64).fill(5), this.now);
        } else if (effect.type === 'attached' && effect.verdict !== 'resumed') {
          this.shown = '';
        } else if (effect.type === 'display') {
          this.shown += hex(effect.bytes);
        } else if (effect.type === 'lost') {
          this.lost = true;
        }
      }
    }
  }
}

test.each(scenarios)('$name', ({ steps, shown }) => {
  const player = new Player();
  for (const step of steps as Step[]) player.play(step);
  player.finish();
  expect(player.shown).toBe(shown);
});
