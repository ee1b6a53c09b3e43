import { describe, expect, test } from 'vitest';
import { ProtocolError } from './frames';
import { MAX_DISPLAY_RECORD, RecordDecoder, type RecordEvent, encodeRecord } from './records';

const encoder = new TextEncoder();
const text = (value: unknown) => encoder.encode(JSON.stringify(value));

function join(...pieces: Uint8Array[]): Uint8Array {
  return Uint8Array.from(pieces.flatMap((piece) => [...piece]));
}

function decode(stream: Uint8Array, cut: number): RecordEvent[] {
  const decoder = new RecordDecoder();
  const events: RecordEvent[] = [];
  for (let at = 0; at < stream.length; at += cut) events.push(...decoder.push(stream.subarray(at, at + cut)));
  return events;
}

const stream = join(
  encodeRecord('display', Uint8Array.of(1, 2, 3, 4, 5)),
  encodeRecord('clipboard', text({ type: 'text', text: 'grüße' })),
  encodeRecord('display', Uint8Array.of(6)),
  encodeRecord('control', text({ type: 'ready' })),
);

test.each([1, 2, 3, 5, 7, 1000])('records survive being cut every %i bytes', (cut) => {
  const events = decode(stream, cut);
  const display = events.flatMap((event) => (event.channel === 'display' ? [...event.bytes] : []));
  expect(display).toEqual([1, 2, 3, 4, 5, 6]);
  expect(events.filter((event) => event.channel !== 'display')).toEqual([
    { channel: 'clipboard', value: { type: 'text', text: 'grüße' } },
    { channel: 'control', value: { type: 'ready' } },
  ]);
});

test('display bytes do not wait for the end of their record', () => {
  const decoder = new RecordDecoder();
  const record = encodeRecord('display', new Uint8Array(1000));
  expect(decoder.push(record.subarray(0, 15))).toEqual([{ channel: 'display', bytes: new Uint8Array(10) }]);
});

test('an unknown channel is skipped', () => {
  const unknown = encodeRecord('control', new Uint8Array(300));
  unknown[0] = 9;
  expect(decode(join(unknown, encodeRecord('display', Uint8Array.of(7))), 11)).toEqual([
    { channel: 'display', bytes: Uint8Array.of(7) },
  ]);
});

test('an empty display record is nothing', () => {
  expect(decode(encodeRecord('display', new Uint8Array()), 1)).toEqual([]);
});

describe('refused', () => {
  test('a display record beyond 64 KiB', () => {
    const header = Uint8Array.of(1, 0, 1, 0, 1);
    expect(() => decode(header, 5)).toThrow(ProtocolError);
  });

  test('any record beyond 1 MiB, before a byte of it is stored', () => {
    expect(() => decode(Uint8Array.of(2, 0, 0x10, 0, 1), 5)).toThrow(ProtocolError);
    expect(() => decode(Uint8Array.of(2, 0xff, 0xff, 0xff, 0xff), 5)).toThrow(ProtocolError);
  });

  test('a clipboard that is not JSON, or not UTF-8', () => {
    expect(() => decode(encodeRecord('clipboard', encoder.encode('{')), 99)).toThrow(ProtocolError);
    expect(() => decode(encodeRecord('control', Uint8Array.of(0x22, 0xff, 0x22)), 99)).toThrow(ProtocolError);
    expect(() => decode(encodeRecord('control', new Uint8Array()), 99)).toThrow(ProtocolError);
  });

  test('writing a display record beyond 64 KiB', () => {
    expect(() => encodeRecord('display', new Uint8Array(MAX_DISPLAY_RECORD + 1))).toThrow(RangeError);
  });
});
