import { expect, test } from 'vitest';
import type { Session } from '../api/types';
import { inWords, limitOf } from './limits';

const now = Date.parse('2026-01-01T12:00:00Z');
const at = (seconds: number) => new Date(now + seconds * 1000).toISOString();
const session = { name: 'Desktop', state: 'running', expires_at: null, idle_ends_at: null, idle_action: 'disconnect' } as Session;

test('nothing is said of a session without limits, nor of limits that are far away', () => {
  expect(limitOf(session, now)).toBeNull();
  expect(limitOf({ ...session, expires_at: at(3600), idle_ends_at: at(300) }, now)).toBeNull();
});

test('who sits still is asked, and told what follows', () => {
  expect(limitOf({ ...session, idle_ends_at: at(20) }, now)).toMatchObject({ what: 'idle', left: 20_000 });
  expect(limitOf({ ...session, idle_ends_at: at(20) }, now)?.text).toMatch(/disconnected soon/);
  expect(limitOf({ ...session, idle_ends_at: at(20), idle_action: 'end' }, now)?.text).toMatch(/Desktop ends soon/);
});

test('a time limit is announced early, and before idleness where it comes first', () => {
  expect(limitOf({ ...session, expires_at: at(240) }, now)).toMatchObject({ what: 'expires', left: 240_000 });
  expect(limitOf({ ...session, expires_at: at(10), idle_ends_at: at(20) }, now)?.what).toBe('expires');
  expect(limitOf({ ...session, expires_at: at(60), idle_ends_at: at(20) }, now)?.what).toBe('idle');
});

test('what is over has no time left, and nonsense says nothing', () => {
  expect(limitOf({ ...session, expires_at: at(-5) }, now)?.left).toBe(0);
  expect(limitOf({ ...session, expires_at: 'soon' }, now)).toBeNull();
  expect(inWords(121_000)).toBe('3 minutes');
});
