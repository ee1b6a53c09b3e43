// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { DisplayChannel } from './channel';
import { StreamConnection, type StreamState, type Ticket } from './connection';
import { NoTicket, SignedOut } from './trouble';

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
    expect(last(states)).toMatchObject({ name: 'reconnecting', trouble: { hop: 'control', message: 'No way.' } });
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
    expect(last(states)).toMatchObject({ name: 'silent' });
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
    expect(last(states)).toMatchObject({ name: 'connecting', trouble: { hop: 'host', message: 'no' } });
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

describe('a path that is slow to be attached', () => {
  test('has another opened beside it, and the first that is attached carries the stream', async () => {
    await goLive();
    last(sockets).break();
    await settle(1_000);
    const slow = last(sockets);
    slow.open();
    await settle(3_500);
    expect(sockets.length).toBeGreaterThan(2);
    expect(slow.readyState).toBe(1);
    last(sockets).open();
    await settle();
    slow.attach(1);
    await settle();
    expect(last(states)).toEqual({ name: 'live' });
    expect(displays).toHaveLength(1);
  });

  test('is given up when the next one is slow too', async () => {
    await goLive();
    last(sockets).break();
    await settle(1_000);
    const slow = last(sockets);
    slow.open();
    for (let waited = 0; slow.readyState === 1 && waited < 20; waited += 1) {
      await settle(500);
      if (last(sockets).readyState === 0) last(sockets).open();
    }
    expect(slow.readyState).toBe(3);
    expect(sockets.filter(({ readyState }) => readyState === 1).length).toBeLessThanOrEqual(2);
  });
});

describe('when the world has changed', () => {
  /** A stream that waits long for its next try. */
  async function waitLong() {
    await goLive();
    ask.mockRejectedValue(new Error('No way.'));
    last(sockets).break();
    await settle(45_000);
    ask.mockClear();
  }

  const looks: [string, () => void][] = [
    ['the network is back', () => window.dispatchEvent(new Event('online'))],
    ['somebody looks again', () => document.dispatchEvent(new Event('visibilitychange'))],
    ['the browser unfreezes the page', () => document.dispatchEvent(new Event('resume'))],
    ['the browser shows a kept page', () => window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }))],
  ];

  test.each(looks)('%s: it is tried at once', async (_what, happen) => {
    await waitLong();
    happen();
    await settle(0);
    expect(ask).toHaveBeenCalledTimes(1);
  });

  test('the machine has slept: it is tried at once', async () => {
    await waitLong();
    // The page's clock stands still in the sleep, the wall's does not.
    vi.setSystemTime(Date.now() + 600_000);
    await settle(1_000);
    expect(ask.mock.calls.length).toBeGreaterThanOrEqual(1);
  });

  test('the network is another: the next path is opened at once, and the last is kept until then', async () => {
    await goLive();
    const [first] = sockets;
    await settle(500);
    window.dispatchEvent(new Event('online'));
    await settle();
    expect(sockets).toHaveLength(2);
    expect(first?.readyState).toBe(1);
    last(sockets).open();
    await settle();
    last(sockets).attach(1);
    expect(first?.readyState).toBe(3);
    expect(states.map(({ name }) => name)).not.toContain('reconnecting');
  });

  test('a dial into the old network is followed by one into the new', async () => {
    connection.start();
    await settle();
    expect(sockets).toHaveLength(1);
    window.dispatchEvent(new Event('online'));
    await settle(0);
    expect(sockets).toHaveLength(2);
  });

  test('a ticket that was asked for in the old network is asked for again', async () => {
    ask.mockReturnValue(new Promise(() => undefined));
    connection.start();
    await settle();
    window.dispatchEvent(new Event('online'));
    await settle(500);
    expect(ask).toHaveBeenCalledTimes(2);
  });

  test('after a long sleep another path is opened at once, before the last is given up', async () => {
    await goLive();
    const [first] = sockets;
    vi.setSystemTime(Date.now() + 600_000);
    await settle(1_300);
    expect(sockets).toHaveLength(2);
    expect(first?.readyState).toBe(1);
    expect(last(states)).toMatchObject({ name: 'silent' });
    // What the sleep had held up comes after all.
    first?.say(0x11, 0, 0, 0, 0, 0, 0, 0, 0);
    expect(last(states)).toEqual({ name: 'live' });
  });
});

describe('when nobody is signed in any more', () => {
  const pass = ['meridian.v1', 'meridian.pass.y'];
  const broken = (signedOut: boolean) => ({ name: 'reconnecting', signedOut });

  async function signOut(resume_protocols: string[]) {
    ask.mockResolvedValue({ ...ticket, alternates: [], resume_protocols });
    await goLive();
    ask.mockRejectedValue(new SignedOut('Sign in.'));
  }

  test('a stream that lives goes on', async () => {
    await signOut([]);
    last(sockets).say(0x14, 0, 6);
    await settle(1_500);
    expect(ask).toHaveBeenCalledTimes(2);
    expect(last(states)).toEqual({ name: 'live' });
  });

  test('a stream without a way back asks once, waits, and goes on with the same display after signing in', async () => {
    await signOut([]);
    last(sockets).break();
    await settle(120_000);
    expect(ask).toHaveBeenCalledTimes(2);
    expect(last(states)).toMatchObject(broken(true));
    ask.mockResolvedValue(ticket);
    connection.signedIn();
    expect(last(states)).toMatchObject(broken(false));
    await settle();
    last(sockets).open();
    await settle();
    last(sockets).attach(1);
    expect(last(states)).toEqual({ name: 'live' });
    expect(displays).toHaveLength(1);
  });

  test('a stream with a way back goes on trying it, and asks for no ticket meanwhile', async () => {
    await signOut(pass);
    for (let round = 0; round < 3; round += 1) {
      last(sockets).break();
      await settle(12_000);
    }
    ask.mockClear();
    const tried = sockets.length;
    last(sockets).break();
    await settle(30_000);
    expect(last(states)).toMatchObject(broken(true));
    expect(ask).not.toHaveBeenCalled();
    expect(sockets.length).toBeGreaterThan(tried);
    expect(last(sockets).offered).toEqual(pass);
    for (let waited = 0; last(sockets).readyState !== 0 && waited < 40; waited += 1) await settle(500);
    last(sockets).open();
    await settle();
    last(sockets).attach(1);
    expect(last(states)).toEqual({ name: 'live' });
  });

  test('a page that never was attached asks again after signing in', async () => {
    ask.mockRejectedValue(new SignedOut('Sign in.'));
    connection.start();
    await settle(60_000);
    expect(ask).toHaveBeenCalledTimes(1);
    expect(last(states)).toMatchObject({ name: 'connecting', signedOut: true });
    ask.mockResolvedValue(ticket);
    connection.signedIn();
    await settle();
    last(sockets).open();
    await settle();
    last(sockets).attach(0);
    expect(last(states)).toEqual({ name: 'live' });
  });
});

describe('a grant that is revoked', () => {
  const revoke = () => last(sockets).say(0x14, 0, 8, 0x6e, 0x6f);

  test('is followed by a ticket, not by the pass: whether there is one the control plane says', async () => {
    ask.mockResolvedValue({ ...ticket, alternates: [], resume_protocols: ['meridian.v1', 'meridian.pass.y'] });
    await goLive();
    ask.mockRejectedValue(new SignedOut('Sign in.'));
    revoke();
    await settle(60_000);
    expect(sockets).toHaveLength(1);
    expect(ask).toHaveBeenCalledTimes(2);
    expect(last(states)).toMatchObject({ name: 'reconnecting', signedOut: true });
  });

  test('and at once revoked again, stops for good', async () => {
    await goLive();
    revoke();
    await settle(1_000);
    last(sockets).open();
    await settle();
    last(sockets).attach(2);
    revoke();
    await settle(60_000);
    expect(last(states)).toEqual({ name: 'stopped', reason: 'revoked', message: 'no' });
    expect(ask).toHaveBeenCalledTimes(2);
  });

  test('for a person who may not come back, stops for good', async () => {
    await goLive();
    ask.mockRejectedValue(new NoTicket('revoked', 'It is not yours.'));
    revoke();
    await settle(60_000);
    expect(last(states)).toEqual({ name: 'stopped', reason: 'revoked', message: 'It is not yours.' });
  });
});

test('a desktop that nobody used is not opened again by itself', async () => {
  await goLive();
  last(sockets).say(0x14, 0, 9, 0x6e, 0x6f);
  await settle(60_000);
  expect(last(states)).toEqual({ name: 'stopped', reason: 'idle', message: 'no' });
  expect(ask).toHaveBeenCalledTimes(1);
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
