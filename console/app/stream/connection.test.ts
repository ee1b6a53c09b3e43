// @vitest-environment happy-dom
import { describe, expect, test, vi } from 'vitest';
import { ask, attach, connection, displays, goLive, last, settle, sockets, states, ticket } from './connection.stage';

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
  await attach(0);
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
    await attach(2);
    expect(displays).toHaveLength(2);
    expect(last(states)).toEqual({ name: 'live' });
  });

  test('RESUMED keeps the display', async () => {
    await goLive();
    last(sockets).break();
    await settle(1_000);
    await attach(1);
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
    await attach(2);
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
    await attach(1);
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
  await attach(0);
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
  await attach(1);
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
