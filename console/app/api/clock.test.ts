import { expect, test } from 'vitest';
import { noteServerDate, serverNow } from './clock';

test('a clock that is off is put right, one that is not is left alone', () => {
  const now = Date.parse('2026-01-01T12:00:00Z');
  noteServerDate('Thu, 01 Jan 2026 12:05:00 GMT', now);
  expect(serverNow(now)).toBe(now + 300_000);
  noteServerDate(null, now);
  noteServerDate('yesterday', now);
  expect(serverNow(now)).toBe(now + 300_000);
  noteServerDate('Thu, 01 Jan 2026 12:00:01 GMT', now);
  expect(serverNow(now)).toBe(now);
});
