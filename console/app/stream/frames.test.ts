import { describe, expect, test } from 'vitest';
import {
  DATA_HEADER,
  MAX_MESSAGE,
  ProtocolError,
  attachText,
  dataFrame,
  decodeFrame,
  encodeAck,
  encodeAttach,
  encodePing,
  encodePong,
} from './frames';

const nonce = new Uint8Array(32).fill(7);
const streamId = new Uint8Array(16).fill(9);

function bytes(...parts: (number | Uint8Array)[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => (typeof part === 'number' ? [part] : [...part])));
}

describe('what an agent says', () => {
  test('CHALLENGE carries nonce and stream', () => {
    expect(decodeFrame(bytes(0x01, 1, nonce, streamId))).toEqual({ kind: 'challenge', nonce, streamId });
  });

  test('ATTACHED carries verdict, count and window', () => {
    const message = bytes(0x03, 2, new Uint8Array(6), 1, 2, 0, 1, 0, 0);
    expect(decodeFrame(message)).toEqual({ kind: 'attached', verdict: 'restarted', received: 258, window: 65536 });
  });

  test('REFUSED and NOTICE carry a code by name and a text', () => {
    const text = new TextEncoder().encode('über');
    expect(decodeFrame(bytes(0x04, 0, 4, text))).toEqual({ kind: 'refused', code: 'ended', message: 'über' });
    expect(decodeFrame(bytes(0x14, 0, 7))).toEqual({ kind: 'notice', code: 'clipboard_refused', message: '' });
  });

  test('a code of a later release is unknown, not an error', () => {
    expect(decodeFrame(bytes(0x14, 1, 0))).toEqual({ kind: 'notice', code: 'unknown', message: '' });
  });

  test('DATA, ACK, PING and PONG', () => {
    const count = bytes(0, 0, 0, 1, 0, 0, 0, 3);
    expect(decodeFrame(bytes(0x10, count, 5, 6))).toEqual({ kind: 'data', offset: 2 ** 32 + 3, bytes: bytes(5, 6) });
    expect(decodeFrame(bytes(0x11, count))).toEqual({ kind: 'ack', received: 2 ** 32 + 3 });
    const token = new Uint8Array(8).fill(0xff);
    expect(decodeFrame(bytes(0x12, token))).toEqual({ kind: 'ping', token: 2n ** 64n - 1n });
    expect(decodeFrame(bytes(0x13, token))).toEqual({ kind: 'pong', token: 2n ** 64n - 1n });
  });

  test('a view into a larger buffer is read where it lies', () => {
    const whole = bytes(0xaa, 0x11, 0, 0, 0, 0, 0, 0, 0, 4);
    expect(decodeFrame(whole.subarray(1))).toEqual({ kind: 'ack', received: 4 });
  });
});

describe('malformed frames are refused', () => {
  const cases: Record<string, Uint8Array> = {
    'nothing at all': bytes(),
    'an unknown kind': bytes(0x7f, 1),
    'a frame that only viewers send': bytes(0x02, 1),
    'another version': bytes(0x01, 2, nonce, streamId),
    'a challenge cut short': bytes(0x01, 1, nonce),
    'a challenge with more behind it': bytes(0x01, 1, nonce, streamId, 0),
    'an unknown verdict': bytes(0x03, 3, new Uint8Array(12)),
    'ATTACHED cut short': bytes(0x03, 0, new Uint8Array(11)),
    'REFUSED without a code': bytes(0x04, 0),
    'a text beyond 512 bytes': bytes(0x14, 0, 4, new Uint8Array(513)),
    'DATA without bytes': bytes(0x10, new Uint8Array(8)),
    'DATA without an offset': bytes(0x10, 0, 0),
    'a count that no number holds': bytes(0x11, 0x00, 0x20, 0, 0, 0, 0, 0, 0),
    'ACK with more behind it': bytes(0x11, new Uint8Array(9)),
    'a message beyond the limit': bytes(0x10, new Uint8Array(MAX_MESSAGE)),
  };
  test.each(Object.entries(cases))('%s', (_name, message) => {
    expect(() => decodeFrame(message)).toThrow(ProtocolError);
  });

  test('whatever the bytes, decoding answers or throws a ProtocolError', () => {
    let seed = 1;
    const random = () => (seed = (seed * 48271) % 2147483647) & 0xff;
    for (let round = 0; round < 5000; round += 1) {
      const message = Uint8Array.from({ length: random() % 70 }, random);
      try {
        decodeFrame(message);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }
  });
});

describe('what a viewer says', () => {
  test('ATTACH with a key', () => {
    const key = new Uint8Array(65).fill(4);
    const signature = new Uint8Array(64).fill(5);
    const message = encodeAttach({ attachNumber: 3, received: 260, key, signature });
    const numbers = bytes(0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1, 4);
    expect(message).toEqual(bytes(0x02, 1, numbers, 65, key, 64, signature));
  });

  test('ATTACH without a key has two empty fields', () => {
    const message = encodeAttach({ attachNumber: 1, received: 0, key: null, signature: null });
    expect(message).toEqual(bytes(0x02, 1, 0, 0, 0, 0, 0, 0, 0, 1, new Uint8Array(8), 0, 0));
  });

  test('the signed text is label, zero, nonce, stream, number, count', () => {
    const label = new TextEncoder().encode('meridian.v1 attach');
    const numbers = bytes(0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 16);
    expect(attachText({ nonce, streamId }, 2, 16)).toEqual(bytes(label, 0, nonce, streamId, numbers));
  });

  test('DATA, ACK, PING and PONG', () => {
    const frame = dataFrame(258, 2);
    frame.set([8, 9], DATA_HEADER);
    expect(frame).toEqual(bytes(0x10, 0, 0, 0, 0, 0, 0, 1, 2, 8, 9));
    expect(encodeAck(1)).toEqual(bytes(0x11, 0, 0, 0, 0, 0, 0, 0, 1));
    expect(encodePing(2n)).toEqual(bytes(0x12, 0, 0, 0, 0, 0, 0, 0, 2));
    expect(encodePong(2n ** 64n - 1n)).toEqual(bytes(0x13, new Uint8Array(8).fill(0xff)));
  });
});
