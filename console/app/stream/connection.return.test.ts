// @vitest-environment happy-dom
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { ask, attach, connection, displays, goLive, last, settle, sockets, states, ticket } from './connection.stage';
import { SignedOut } from './trouble';

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
    await attach(1);
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
    await attach(1);
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
    await attach(1);
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
    await attach(0);
    expect(last(states)).toEqual({ name: 'live' });
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
      await attach(1);
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
    await attach(1);
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
