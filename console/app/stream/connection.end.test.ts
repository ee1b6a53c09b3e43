// @vitest-environment happy-dom
import { describe, expect, test, vi } from 'vitest';
import { ask, attach, connection, displays, goLive, last, pageHide, settle, sockets, states, ticket } from './connection.stage';
import { NoTicket, SignedOut } from './trouble';

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
    await attach(0);
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
    await attach(2);
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
