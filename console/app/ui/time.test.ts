import { expect, test } from 'vitest';
import { clock, instantOf, relativeTime } from './time';

const now = new Date('2025-06-01T12:00:00Z');
const before = (seconds: number) => relativeTime(new Date(now.getTime() - seconds * 1000), now);

test('times are said as people say them', () => {
  expect(before(3)).toBe('just now');
  expect(before(-3)).toBe('just now');
  expect(before(42)).toBe('42 seconds ago');
  expect(before(119)).toBe('1 minute ago');
  expect(before(3 * 3600 + 59)).toBe('3 hours ago');
  expect(before(26 * 3600)).toBe('yesterday');
  expect(before(-120)).toBe('in 2 minutes');
});

test('spans are said as clocks do', () => {
  expect(clock(-4)).toBe('0:00');
  expect(clock(7.9)).toBe('0:07');
  expect(clock(125)).toBe('2:05');
  expect(clock(3723)).toBe('1:02:03');
});

test('a time of this browser is told as the same moment everywhere', () => {
  const noon = new Date(2026, 10, 23, 12, 30);
  expect(instantOf('2026-11-23T12:30')).toBe(noon.toISOString());
  expect(instantOf('')).toBeNull();
});
