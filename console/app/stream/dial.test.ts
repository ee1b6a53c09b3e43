import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Dial, type Opened } from './dial';

class FakeSocket {
  binaryType = '';
  protocol = 'meridian.v1';
  closed = false;
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: (() => void) | null = null;

  constructor(
    readonly url: string,
    readonly at: number,
  ) {}

  close() {
    this.closed = true;
  }
}

let sockets: FakeSocket[];
let result: Opened | Error | null;
let random: number;
let latest: Dial;
let changes: number;

beforeEach(() => {
  vi.useFakeTimers();
  vi.setSystemTime(0);
  sockets = [];
  result = null;
  random = 0;
  changes = 0;
});

afterEach(() => {
  vi.useRealTimers();
});

function start(...urls: string[]): Dial {
  const openSocket = (url: string) => {
    const socket = new FakeSocket(url, Date.now());
    sockets.push(socket);
    return socket as unknown as WebSocket;
  };
  const dial = new Dial(urls, ['meridian.v1'], {
    openSocket,
    now: () => Date.now(),
    changed: () => (changes += 1),
    random: () => random,
  });
  latest = dial;
  dial.opened.then(
    (opened) => (result = opened),
    (error: unknown) => (result = error as Error),
  );
  return dial;
}

function socket(index: number): FakeSocket {
  const socket = sockets[index];
  if (!socket) throw new Error(`no dial ${index}`);
  return socket;
}

function dialled(): [string, number][] {
  return sockets.map(({ url, at }) => [url, at]);
}

/** Lets time go by, and rings when the dial says so, never at another time. */
async function pass(ms: number): Promise<void> {
  const end = Date.now() + ms;
  while (latest.due <= end) {
    await vi.advanceTimersByTimeAsync(latest.due - Date.now());
    latest.tick(Date.now());
  }
  await vi.advanceTimersByTimeAsync(end - Date.now());
}

describe('a zone with one entry', () => {
  test('that answers is dialled once', async () => {
    start('ws://one');
    await pass(249);
    socket(0).onopen?.();
    await pass(10_000);
    expect(result).toEqual({ socket: socket(0), url: 'ws://one' });
    expect(sockets).toHaveLength(1);
  });

  test.each([
    [0, 250],
    [0.5, 625],
  ])('that is silent is dialled beside it, jittered (%d)', async (draw, ms) => {
    random = draw;
    start('ws://one');
    await pass(ms - 1);
    expect(sockets).toHaveLength(1);
    await pass(2);
    expect(sockets).toHaveLength(2);
    expect(socket(0).closed).toBe(false);
    socket(1).onopen?.();
    await pass(0);
    expect(result).toEqual({ socket: socket(1), url: 'ws://one' });
    expect(socket(0).closed).toBe(true);
  });

  test('the first may still win, and the second is closed', async () => {
    start('ws://one');
    await pass(300);
    socket(0).onopen?.();
    await pass(0);
    expect(result).toEqual({ socket: socket(0), url: 'ws://one' });
    expect(socket(1).closed).toBe(true);
  });

  test('that never answers is dialled four times in all, ever more slowly, and given up after eight seconds', async () => {
    start('ws://one');
    await pass(7_999);
    expect(dialled()).toEqual([0, 250, 750, 1_750].map((at) => ['ws://one', at]));
    expect(result).toBeNull();
    await pass(1);
    expect(result).toBeInstanceOf(Error);
    expect(sockets.every(({ closed }) => closed)).toBe(true);
    expect(latest.due).toBe(Number.POSITIVE_INFINITY);
  });

  test('that refuses is not dialled again: the backoff rules that', async () => {
    start('ws://one');
    socket(0).onclose?.();
    await pass(0);
    expect(result).toBeInstanceOf(Error);
    expect(sockets).toHaveLength(1);
  });

  test('a refusal of the second leaves the first its chance', async () => {
    start('ws://one');
    await pass(300);
    socket(1).onclose?.();
    await pass(0);
    expect(result).toBeNull();
    socket(0).onopen?.();
    await pass(0);
    expect(result).toMatchObject({ url: 'ws://one' });
  });
});

describe('a zone with two entries', () => {
  test('the other is dialled when the first refuses, at once', async () => {
    start('ws://one', 'ws://two');
    socket(0).onclose?.();
    expect(dialled()).toEqual([
      ['ws://one', 0],
      ['ws://two', 0],
    ]);
    expect(changes, 'the alarm is to be set anew').toBe(2);
    socket(1).onopen?.();
    await pass(0);
    expect(result).toMatchObject({ url: 'ws://two' });
  });

  test('the other is dialled beside a silent first, and each once more after that', async () => {
    start('ws://one', 'ws://two');
    await pass(2_500);
    expect(dialled()).toEqual([
      ['ws://one', 0],
      ['ws://two', 250],
      ['ws://one', 500],
      ['ws://two', 1_000],
      ['ws://one', 2_000],
    ]);
    socket(3).onopen?.();
    await pass(0);
    expect(sockets.map(({ closed }) => closed)).toEqual([true, true, true, false, true]);
  });

  test('another subprotocol is a refusal', async () => {
    start('ws://one', 'ws://two');
    socket(0).protocol = 'binary';
    socket(0).onopen?.();
    expect(sockets.map(({ url }) => url)).toEqual(['ws://one', 'ws://two']);
    expect(socket(0).closed).toBe(true);
    socket(1).onclose?.();
    await pass(0);
    expect(result).toBeInstanceOf(Error);
  });
});

test('a change of the network sends another dial at once', async () => {
  const dial = start('ws://one');
  await pass(100);
  dial.hurry();
  expect(dialled()).toEqual([
    ['ws://one', 0],
    ['ws://one', 100],
  ]);
  dial.cancel();
  await pass(0);
  expect(result).toBeInstanceOf(Error);
  dial.hurry();
  expect(sockets).toHaveLength(2);
});
