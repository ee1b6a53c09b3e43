// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { DisplayChannel } from './channel';
import { NoTicket, StreamConnection, type StreamState, type Ticket } from './connection';

/** A WebSocket whose other end is the test. */
class FakeSocket {
  binaryType = '';
  readyState = 0;
  protocol = 'meridian.v1';
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: (() => void) | null = null;
  onmessage: ((event: { data: ArrayBuffer }) => void) | null = null;
  sent: number[][] = [];

  constructor(
    readonly url: string,
    readonly offered: string[],
  ) {}

  send(message: Uint8Array) {
    this.sent.push([...message]);
  }

  close() {
    this.readyState = 3;
  }

  open(protocol = 'meridian.v1') {
    this.readyState = 1;
    this.protocol = protocol;
    this.onopen?.();
  }

  say(...bytes: number[]) {
    this.onmessage?.({ data: Uint8Array.from(bytes).buffer });
  }

  break() {
    this.readyState = 3;
    this.onclose?.();
  }

  /** Challenge, then ATTACHED with the verdict. */
  attach(verdict: 0 | 1 | 2) {
    this.say(0x01, 1, ...new Array<number>(48).fill(7));
    this.say(0x03, verdict, ...new Array<number>(9).fill(0), 1, 0, 0);
  }
}

let sockets: FakeSocket[];
let states: StreamState[];
let displays: DisplayChannel[];
let ask: ReturnType<typeof vi.fn<(thumbprint: string | null) => Promise<Ticket>>>;
let connection: StreamConnection;

const ticket: Ticket = { url: 'ws://one', protocols: ['meridian.v1', 'meridian.ticket.x'], alternates: ['ws://two'], resume_protocols: [] };

beforeEach(() => {
  vi.useFakeTimers();
  // Every wait is nearly as long as it may be: nothing here hangs on luck.
  vi.spyOn(Math, 'random').mockReturnValue(0.99);
  sockets = [];
  states = [];
  displays = [];
  ask = vi.fn<(thumbprint: string | null) => Promise<Ticket>>(() => Promise.resolve(ticket));
  connection = new StreamConnection({
    askTicket: (thumbprint) => ask(thumbprint),
    openSocket: (url, protocols) => {
      const socket = new FakeSocket(url, protocols);
      sockets.push(socket);
      return socket as unknown as WebSocket;
    },
    createKey: () => Promise.resolve(null),
    listener: {
      state: (state) => states.push(state),
      display: (channel) => displays.push(channel),
      clipboard: () => undefined,
      clipboardRefused: () => undefined,
      rates: () => undefined,
    },
  });
});

afterEach(() => {
  connection.close();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

function last<T>(list: T[]): T {
  const item = list.at(-1);
  if (item === undefined) throw new Error('nothing yet');
  return item;
}

async function settle(ms = 20) {
  await vi.advanceTimersByTimeAsync(ms);
}

function pageHide(persisted: boolean): Event {
  return Object.assign(new Event('pagehide'), { persisted });
}

async function goLive() {
  connection.start();
  await settle();
  last(sockets).open();
  await settle();
  last(sockets).attach(0);
  await settle();
}

test('a ticket leads to a WebSocket, a challenge and a display', async () => {
  await goLive();
  expect(sockets.map((socket) => [socket.url, socket.offered])).toEqual([['ws://one', ticket.protocols]]);
  expect(displays).toHaveLength(1);
  expect(last(states)).toEqual({ name: 'live' });
});

test('an entry that cannot be reached is followed by the alternate, with the same ticket', async () => {
  connection.start();
  await settle();
  last(sockets).break();
  await settle();
  expect(sockets.map((socket) => socket.url)).toEqual(['ws://one', 'ws://two']);
  expect(ask).toHaveBeenCalledTimes(1);
});

test('an entry that selects another subprotocol is passed over', async () => {
  connection.start();
  await settle();
  last(sockets).open('binary');
  await settle();
  expect(last(sockets).url).toBe('ws://two');
});

test('beside an entry that hangs the alternate is dialled, and what answers first carries the path', async () => {
  connection.start();
  await settle(1_100);
  expect(sockets.map((socket) => [socket.url, socket.readyState])).toEqual([
    ['ws://one', 0],
    ['ws://two', 0],
  ]);
  last(sockets).open();
  await settle();
  last(sockets).attach(0);
  expect(sockets[0]?.readyState).toBe(3);
  expect(last(states)).toEqual({ name: 'live' });
});

test('closing while an entry hangs leaves nothing running', async () => {
  connection.start();
  await settle(1_100);
  connection.close();
  expect(sockets.map(({ readyState }) => readyState)).toEqual([3, 3]);
  expect(vi.getTimerCount()).toBe(0);
});

describe('a path that breaks', () => {
  test('is replaced with a new ticket; RESTARTED brings a new display', async () => {
    await goLive();
    last(sockets).break();
    expect(last(states)).toMatchObject({ name: 'reconnecting' });
    await settle(1_000);
    expect(ask).toHaveBeenCalledTimes(2);
    last(sockets).open();
    await settle();
    last(sockets).attach(2);
    expect(displays).toHaveLength(2);
    expect(last(states)).toEqual({ name: 'live' });
  });

  test('RESUMED keeps the display', async () => {
    await goLive();
    last(sockets).break();
    await settle(1_000);
    last(sockets).open();
    await settle();
    last(sockets).attach(1);
    expect(displays).toHaveLength(1);
    expect(last(states)).toEqual({ name: 'live' });
  });

  test('is retried ever more slowly, and at once when the network comes back', async () => {
    await goLive();
    ask.mockRejectedValue(new Error('No way.'));
    last(sockets).break();
    await settle(60_000);
    const tries = ask.mock.calls.length;
    expect(tries).toBeGreaterThan(6);
    expect(tries).toBeLessThan(60);
    expect(last(states)).toEqual({ name: 'reconnecting', trouble: 'No way.' });
    ask.mockClear();
    window.dispatchEvent(new Event('online'));
    await settle();
    expect(ask).toHaveBeenCalledTimes(1);
  });

  test('keys of the old display do not reach the new stream', async () => {
    await goLive();
    const old = last(displays);
    last(sockets).break();
    await settle(1_000);
    last(sockets).open();
    await settle();
    last(sockets).attach(2);
    const before = last(sockets).sent.length;
    old.send(Uint8Array.of(4));
    expect(last(sockets).sent).toHaveLength(before);
  });
});

describe('a path that goes silent', () => {
  test('is noticed within two seconds; the next is opened beside it, through another entry, and takes over', async () => {
    await goLive();
    const [first] = sockets;
    await settle(2_300);
    expect(sockets.map((socket) => socket.url)).toEqual(['ws://one', 'ws://two']);
    expect(last(states)).toEqual({ name: 'live' });
    expect(first?.readyState).toBe(1);
    last(sockets).open();
    await settle();
    last(sockets).attach(1);
    expect(first?.readyState).toBe(3);
    expect(displays).toHaveLength(1);
    expect(states.map((state) => state.name)).not.toContain('reconnecting');
  });

  test('and its page hidden, is noticed too', async () => {
    await goLive();
    vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
    document.dispatchEvent(new Event('visibilitychange'));
    await settle(2_300);
    expect(sockets).toHaveLength(2);
  });
});

test('a stream whose counts do not fit any more starts over with a new display', async () => {
  await goLive();
  last(sockets).say(0x11, 0, 0, 0, 0, 0, 0, 0, 9);
  await settle(1_000);
  last(sockets).open();
  await settle();
  last(sockets).attach(0);
  expect(displays).toHaveLength(2);
  expect(last(states)).toEqual({ name: 'live' });
});

test('an attach of its own whose answer was lost does not end a stream', async () => {
  await goLive();
  const [first] = sockets;
  first?.say(0x14, 0, 6);
  await settle(1_000);
  last(sockets).open();
  await settle();
  last(sockets).say(0x01, 1, ...new Array<number>(48).fill(7));
  last(sockets).break();
  first?.say(0x14, 0, 3, 0x6e);
  await settle(1_000);
  expect(last(states).name).toBe('reconnecting');
  last(sockets).open();
  await settle();
  last(sockets).attach(1);
  expect(last(states)).toEqual({ name: 'live' });
});

describe('a path that drains', () => {
  test('is left only when the next one is attached', async () => {
    await goLive();
    const [first] = sockets;
    first?.say(0x14, 0, 6);
    await settle(1_000);
    expect(sockets).toHaveLength(2);
    expect(first?.readyState).toBe(1);
    last(sockets).open();
    await settle();
    first?.say(0x14, 0, 3);
    last(sockets).attach(1);
    await settle();
    expect(first?.readyState).toBe(3);
    expect(states.map((state) => state.name)).not.toContain('reconnecting');
    expect(last(states)).toEqual({ name: 'live' });
  });

  test('is retried beside it when the next one fails', async () => {
    await goLive();
    last(sockets).say(0x14, 0, 6);
    await settle(1_000);
    last(sockets).break();
    last(sockets).break();
    await settle();
    last(sockets).break();
    await settle(5_000);
    expect(ask.mock.calls.length).toBeGreaterThan(2);
    expect(states.map((state) => state.name)).not.toContain('reconnecting');
  });
});

describe('the end', () => {
  const no = [0x6e, 0x6f];

  test.each([
    [3, 'superseded'],
    [4, 'ended'],
    [8, 'revoked'],
  ])('NOTICE %i stops for good', async (code, reason) => {
    await goLive();
    last(sockets).say(0x14, 0, code, ...no);
    last(sockets).break();
    await settle(60_000);
    expect(last(states)).toEqual({ name: 'stopped', reason, message: 'no' });
    expect(ask).toHaveBeenCalledTimes(1);
  });

  test('a refusal for another key is tried twice with a new one', async () => {
    connection.start();
    for (let round = 0; round < 3; round += 1) {
      await settle(2_000);
      last(sockets).open();
      await settle();
      last(sockets).say(0x04, 0, 2, ...no);
    }
    await settle(60_000);
    expect(last(states)).toEqual({ name: 'stopped', reason: 'protocol', message: 'no' });
    expect(ask).toHaveBeenCalledTimes(3);
  });

  test('a display that does not answer is retried', async () => {
    connection.start();
    await settle();
    last(sockets).open();
    await settle();
    last(sockets).say(0x04, 0, 5, ...no);
    expect(states).toContainEqual({ name: 'connecting', trouble: 'no' });
    await settle(2_000);
    expect(ask).toHaveBeenCalledTimes(2);
  });

  test('a ticket that will never come stops for good', async () => {
    ask.mockRejectedValue(new NoTicket('ended', 'It is gone.'));
    connection.start();
    await settle(60_000);
    expect(ask).toHaveBeenCalledTimes(1);
    expect(last(states)).toEqual({ name: 'stopped', reason: 'ended', message: 'It is gone.' });
  });

  test('a superseded stream can be taken back', async () => {
    await goLive();
    last(sockets).say(0x14, 0, 3, ...no);
    connection.restart();
    await settle(1_000);
    last(sockets).open();
    await settle();
    last(sockets).attach(0);
    expect(displays).toHaveLength(2);
    expect(last(states)).toEqual({ name: 'live' });
  });

  test('closing leaves nothing running', async () => {
    await goLive();
    connection.close();
    expect(last(sockets).readyState).toBe(3);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('leaving', () => {
  const leave = [0x15];

  test('closing says so first', async () => {
    await goLive();
    const path = last(sockets);
    connection.close();
    expect(path.sent.at(-1)).toEqual(leave);
    expect(path.readyState).toBe(3);
  });

  test('a page that goes says so, and stays away', async () => {
    await goLive();
    const path = last(sockets);
    window.dispatchEvent(pageHide(false));
    await settle(60_000);
    expect(path.sent.at(-1)).toEqual(leave);
    expect(sockets).toHaveLength(1);
  });

  test('a page that the browser keeps says nothing', async () => {
    await goLive();
    const path = last(sockets);
    window.dispatchEvent(pageHide(true));
    expect(path.sent).not.toContainEqual(leave);
    expect(path.readyState).toBe(1);
  });

  test('a path that was not answered yet is told too: the agent may have moved there', async () => {
    await goLive();
    const [first] = sockets;
    first?.say(0x14, 0, 6);
    await settle(1_000);
    last(sockets).open();
    await settle();
    last(sockets).say(0x01, 1, ...new Array<number>(48).fill(7));
    connection.close();
    expect(sockets.map((path) => path.sent.at(-1))).toEqual([leave, leave]);
  });

  test('starting over lets the old stream go', async () => {
    await goLive();
    const path = last(sockets);
    connection.restart();
    expect(path.sent.at(-1)).toEqual(leave);
  });
});

describe('a stream with a way back', () => {
  const pass = ['meridian.v1', 'meridian.pass.y'];

  beforeEach(() => {
    ask.mockResolvedValue({ ...ticket, alternates: [], resume_protocols: pass });
  });

  test('comes back by its pass as often as its path breaks, without a ticket', async () => {
    await goLive();
    for (const round of [1, 2, 3]) {
      last(sockets).break();
      await settle(3000);
      expect(last(sockets).offered, `round ${round}`).toEqual(pass);
      last(sockets).open();
      await settle();
      last(sockets).attach(1);
      await settle();
    }
    expect(ask).toHaveBeenCalledTimes(1);
    expect(displays).toHaveLength(1);
    expect(last(states)).toEqual({ name: 'live' });
  });

  test('asks for a ticket when the pass leads nowhere, and tries the pass again when nobody answers that', async () => {
    await goLive();
    // Silent, not refusing: as a frozen one is.
    ask.mockReturnValue(new Promise(() => undefined));
    for (const tries of [2, 3]) {
      last(sockets).break();
      await settle(1200);
      expect(sockets).toHaveLength(tries);
      expect(last(sockets).offered).toEqual(pass);
    }
    last(sockets).break();
    for (let waited = 0; sockets.length < 4 && waited < 40; waited += 1) await settle(500);
    expect(ask).toHaveBeenCalledTimes(2);
    expect(last(sockets).offered).toEqual(pass);
    last(sockets).open();
    await settle();
    last(sockets).attach(1);
    await settle();
    expect(last(states)).toEqual({ name: 'live' });
  });

  test('does not use the pass before the stream was there', async () => {
    connection.start();
    await settle();
    last(sockets).break();
    await settle(1000);
    expect(sockets.map((socket) => socket.offered)).toEqual([ticket.protocols, ticket.protocols]);
  });
});
