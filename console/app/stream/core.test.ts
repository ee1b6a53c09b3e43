import { beforeEach, describe, expect, test } from 'vitest';
import { StreamCore } from './core';
import {
  ack,
  attachTo,
  attached,
  carried,
  challenge,
  data,
  display,
  key,
  kinds,
  nonce,
  refused,
  sent,
  signature,
  streamId,
  u64,
  verdicts,
} from './core.stage';
import { attachText } from './frames';
import { encodeRecord } from './records';

let core: StreamCore;
let now: number;

beforeEach(() => {
  core = new StreamCore(null);
  now = 1000;
});

function attach(verdict?: keyof typeof verdicts, received?: number, window?: number) {
  return attachTo(core, now, verdict, received, window);
}

describe('opening', () => {
  test('the viewer waits for the challenge, attaches as number 1 and is attached', () => {
    const path = core.pathOpened(now);
    expect(core.take()).toEqual([]);
    core.receive(path, challenge, now);
    expect(sent(core.take())).toEqual([[0x02, 1, ...u64(1), ...u64(0), 0, 0]]);
    core.receive(path, attached('new'), now);
    expect(core.take()).toEqual([{ type: 'attached', path, verdict: 'new' }]);
    expect(core.attached).toBe(true);
  });

  test('with a key, the signature is asked for first and covers nonce, stream, number and count', () => {
    core = new StreamCore(key);
    const path = core.pathOpened(now);
    core.receive(path, challenge, now);
    expect(core.take()).toEqual([{ type: 'sign', path, text: attachText({ nonce, streamId }, 1, 0) }]);
    core.signed(path, signature, now);
    expect(sent(core.take())).toEqual([[0x02, 1, ...u64(1), ...u64(0), 65, ...key, 64, ...signature]]);
  });

  test('attach numbers rise with every path, attached or not', () => {
    const first = core.pathOpened(now);
    core.receive(first, challenge, now);
    core.pathClosed(first);
    core.take();
    const second = core.pathOpened(now);
    core.receive(second, challenge, now);
    expect(sent(core.take())[0]?.slice(0, 10)).toEqual([0x02, 1, ...u64(2)]);
  });

  test('REFUSED closes the path and says why', () => {
    const path = core.pathOpened(now);
    core.receive(path, challenge, now);
    core.take();
    core.receive(path, refused(3), now);
    expect(core.take()).toEqual([
      { type: 'refused', path, code: 'superseded', message: 'no', overtaken: false },
      { type: 'close', path, fault: null },
    ]);
  });

  test('an agent that says nothing is slow after two and a half seconds, and given up after ten', () => {
    const path = core.pathOpened(now);
    expect(core.nextDeadline()).toBe(now + 2_500);
    core.tick(now + 2_499);
    expect(core.take()).toEqual([]);
    core.tick(now + 2_500);
    expect(core.take()).toEqual([{ type: 'slow', path }]);
    expect(core.nextDeadline()).toBe(now + 10_000);
    core.tick(now + 9_999);
    expect(core.take()).toEqual([]);
    core.tick(now + 10_000);
    expect(core.take()).toMatchObject([{ type: 'close', path }]);
    expect(core.nextDeadline()).toBeNull();
  });

  test.each([
    ['ATTACHED before ATTACH', attached('new')],
    ['DATA before ATTACHED', data(0, [1])],
    ['ACK before ATTACHED', ack(0)],
    ['garbage', Uint8Array.of(0xee)],
  ])('%s closes the path', (_name, message) => {
    const path = core.pathOpened(now);
    core.receive(path, message, now);
    expect(kinds(core.take())).toEqual(['close']);
  });

  test('a second challenge closes the path', () => {
    const path = core.pathOpened(now);
    core.receive(path, challenge, now);
    core.receive(path, challenge, now);
    expect(kinds(core.take())).toEqual(['send', 'close']);
  });

  test('a message of a path that is gone is ignored', () => {
    const path = core.pathOpened(now);
    core.pathClosed(path);
    core.receive(path, Uint8Array.of(0xee), now);
    expect(core.take()).toEqual([]);
  });
});

describe('receiving', () => {
  const record = encodeRecord('display', Uint8Array.of(1, 2, 3, 4));

  test('pieces in order are delivered; repeated ones ignored; overlapping ones cut', () => {
    const { path } = attach();
    core.receive(path, data(0, record.subarray(0, 6)), now);
    core.receive(path, data(0, record.subarray(0, 6)), now);
    core.receive(path, data(2, record.subarray(2, 8)), now);
    core.receive(path, data(8, record.subarray(8)), now);
    expect(display(core.take())).toEqual([1, 2, 3, 4]);
  });

  test('a gap closes the path', () => {
    const { path } = attach();
    core.receive(path, data(1, [1]), now);
    expect(kinds(core.take())).toEqual(['close', 'lost']);
    expect(core.attached).toBe(false);
  });

  test('a few bytes are acknowledged within the time limit, once', () => {
    const { path } = attach();
    core.tick(now);
    core.take();
    core.receive(path, data(0, record.subarray(0, 5)), now);
    core.receive(path, data(5, record.subarray(5)), now + 10);
    expect(sent(core.take())).toEqual([]);
    const due = core.nextDeadline() ?? 0;
    expect(due - now).toBeLessThanOrEqual(100);
    core.tick(due);
    expect(sent(core.take())).toEqual([[0x11, ...u64(9)]]);
    core.tick(due + 1);
    expect(sent(core.take())).toEqual([]);
  });

  test('an acknowledgement that waits goes with what is sent, and not again', () => {
    const { path } = attach();
    core.tick(now);
    core.take();
    core.receive(path, data(0, record), now);
    expect(sent(core.take())).toEqual([]);
    core.sendDisplay(Uint8Array.of(7));
    expect(sent(core.take()).map(([kind]) => kind)).toEqual([0x11, 0x10]);
    core.tick(now + 100);
    expect(sent(core.take())).toEqual([]);
  });

  test('many bytes are acknowledged at once', () => {
    const { path } = attach();
    core.receive(path, data(0, encodeRecord('display', new Uint8Array(32_768))), now);
    expect(sent(core.take())).toEqual([[0x11, ...u64(32_773)]]);
  });

  test('clipboard and control records become events; unknown ones are ignored', () => {
    const { path } = attach();
    const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
    const pieces = [
      encodeRecord('clipboard', encode({ type: 'text', text: 'ä' })),
      encodeRecord('clipboard', encode({ type: 'picture' })),
      encodeRecord('control', encode({ type: 'ready' })),
      encodeRecord('control', encode({ type: 'later' })),
      encodeRecord('control', encode(null)),
      encodeRecord('control', encode({ type: 'ended', reason: 'done' })),
    ];
    core.receive(path, data(0, pieces.flatMap((piece) => [...piece])), now);
    expect(core.take()).toEqual([{ type: 'clipboard', text: 'ä' }, { type: 'ready' }, { type: 'ended', reason: 'done' }]);
  });

  test('a broken record closes the path', () => {
    const { path } = attach();
    core.receive(path, data(0, [2, 0xff, 0xff, 0xff, 0xff]), now);
    expect(kinds(core.take())).toEqual(['close', 'lost']);
  });
});

describe('sending', () => {
  test('a record goes out as DATA from offset 0', () => {
    attach();
    core.sendDisplay(Uint8Array.of(1, 2));
    expect(carried(core.take())).toEqual([{ offset: 0, bytes: [1, 0, 0, 0, 2, 1, 2] }]);
  });

  test('no more than the window is in flight, and an ACK opens it again', () => {
    const { path } = attach('new', 0, 10);
    core.sendDisplay(new Uint8Array(20).fill(6));
    expect(carried(core.take()).map((piece) => [piece.offset, piece.bytes.length])).toEqual([[0, 10]]);
    core.receive(path, ack(4), now);
    expect(carried(core.take()).map((piece) => [piece.offset, piece.bytes.length])).toEqual([[10, 4]]);
    core.receive(path, ack(14), now);
    core.receive(path, ack(24), now);
    const rest = carried(core.take());
    expect(rest.map((piece) => [piece.offset, piece.bytes.length])).toEqual([
      [14, 10],
      [24, 1],
    ]);
  });

  test('no message is longer than 64 KiB, and long input becomes several records', () => {
    attach('new', 0, 10_000_000);
    core.sendDisplay(new Uint8Array(200_000));
    const effects = core.take();
    expect(Math.max(...sent(effects).map((message) => message.length))).toBeLessThanOrEqual(65_536);
    const total = carried(effects).reduce((sum, piece) => sum + piece.bytes.length, 0);
    expect(total).toBe(200_000 + 4 * 5);
  });

  test('an ACK of what was never sent closes the path', () => {
    const { path } = attach();
    core.receive(path, ack(1), now);
    expect(kinds(core.take())).toEqual(['close', 'lost']);
  });

  test('a clipboard text beyond 256 KiB is not sent', () => {
    attach('new', 0, 10_000_000);
    expect(core.sendClipboard('ü'.repeat(131_072))).toBe(true);
    core.take();
    expect(core.sendClipboard(`${'ü'.repeat(131_072)}x`)).toBe(false);
    expect(core.take()).toEqual([]);
  });

  test('that nobody may look on any more is said on the control channel', () => {
    attach('new', 0, 10_000);
    core.sendStopWatching();
    const record = encodeRecord('control', new TextEncoder().encode('{"type":"stop_watching"}'));
    expect(carried(core.take())).toEqual([{ offset: 0, bytes: [...record] }]);
  });

  test('what nobody takes is not kept without end', () => {
    attach('new', 0, 0);
    for (let count = 0; count < 70; count += 1) core.sendDisplay(new Uint8Array(65_536));
    expect(kinds(core.take())).toContain('overflow');
  });
});
