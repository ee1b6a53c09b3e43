import { expect, test } from 'vitest';
import { bytesPerSecond, latency } from './rates';

test('figures stay short', () => {
  expect(latency(null)).toBe('– ms');
  expect(latency(23.4)).toBe('23 ms');
  expect([0, 340, 9_940, 10_400, 999_400, 2_340_000].map(bytesPerSecond)).toEqual([
    '0 kB/s',
    '0.3 kB/s',
    '9.9 kB/s',
    '10 kB/s',
    '999 kB/s',
    '2.3 MB/s',
  ]);
});
