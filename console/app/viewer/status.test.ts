import { describe, expect, test } from 'vitest';
import type { Session } from '../api/types';
import type { StreamState } from '../stream/connection';
import type { Hop } from '../stream/trouble';
import { howLong, statusOf } from './status';

const session = { name: 'Desktop', zone: 'london', agent: 'agent-london-1', state: 'running' } as Session;
const well = { session, online: true, reachable: true, signedIn: true };
const live: StreamState = { name: 'live' };

function broken(hop: Hop | null): StreamState {
  return { name: 'reconnecting', since: 7, trouble: hop && { hop, message: 'no' }, signedOut: false };
}

test('nothing is said while all is well, nor over a page that says more', () => {
  expect(statusOf(live, well)).toBeNull();
  expect(statusOf({ name: 'stopped', reason: 'ended', message: '' }, well)).toBeNull();
});

describe('a desktop that works is told what else does not', () => {
  test.each([
    ['the control plane', { reachable: false }, /control plane does not answer. Your desktop goes on/],
    ['the login', { signedIn: false }, /signed out. Your desktop goes on/],
    ['a pause', { session: { ...session, state: 'paused' as const } }, /^Paused$/],
  ])('%s', (_what, change, text) => {
    const status = statusOf(live, { ...well, ...change });
    expect(status).toMatchObject({ since: null, busy: false });
    expect(status?.text).toMatch(text);
  });
});

describe('a broken stream names the hop and the time', () => {
  test.each([
    [null, 'Reconnecting'],
    ['entry', 'Reconnecting. No relay of london can be reached'],
    ['host', 'Reconnecting. The host agent-london-1 does not answer'],
    ['control', 'Reconnecting. Meridian’s control plane does not answer'],
  ] as const)('%s', (hop, text) => {
    expect(statusOf(broken(hop), well)).toEqual({ text, since: 7, busy: true });
  });

  test('a device without a network comes before everything', () => {
    expect(statusOf(broken('entry'), { ...well, online: false })?.text).toMatch(/^This device is offline/);
  });

  test('a host that the control plane lost is named as such', () => {
    const around = { ...well, session: { ...session, state: 'unreachable' as const } };
    expect(statusOf(broken('host'), around)?.text).toMatch(/agent-london-1 does not answer. Your session keeps its place/);
  });

  test('silence is told before it is a break', () => {
    expect(statusOf({ name: 'silent', since: 3 }, well)).toMatchObject({ since: 3, busy: true });
  });
});

test.each([
  [0, ''],
  [2_999, ''],
  [3_000, '3 s'],
  [59_999, '59 s'],
  [60_000, '1 min'],
  [3_599_999, '59 min'],
  [7_380_000, '2 h 3 min'],
])('%d ms is "%s"', (ms, text) => {
  expect(howLong(ms)).toBe(text);
});
