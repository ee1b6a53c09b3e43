import { expect, test } from 'vitest';
import type { ImageCell } from '../../../api/types';
import { percent, shortDigest, size, standing, summary } from './standing';

const absent: ImageCell = {
  agent: 'agent-1',
  agent_id: 'a',
  reachable: true,
  state: 'absent',
  digest: null,
  disk_free_mb: null,
  disk_total_mb: null,
  done_bytes: null,
  image_id: null,
  reason: null,
  retry_at: null,
  since: null,
  size_bytes: null,
  total_bytes: null,
  tries: null,
};
const present: ImageCell = { ...absent, state: 'present' };

test('an image on its way says how much is there, once that is known', () => {
  expect(standing({ ...absent, state: 'pulling' })).toBe('on its way');
  expect(standing({ ...absent, state: 'pulling', done_bytes: 42, total_bytes: 100 })).toBe('on its way, 42 %');
  expect(percent({ ...absent, state: 'pulling', done_bytes: 5, total_bytes: 0 })).toBeNull();
  expect(percent({ ...absent, state: 'pulling', done_bytes: 120, total_bytes: 100 })).toBe(100);
});

test('a failure says how often', () => {
  expect(standing({ ...absent, state: 'failed', tries: 1 })).toBe('failed');
  expect(standing({ ...absent, state: 'failed', tries: 4 })).toBe('failed 4 times');
});

test('an agent that is not heard of counts as not having it', () => {
  expect(summary([present, present])).toBe('present on all 2');
  expect(summary([present, { ...present, reachable: false }, absent])).toBe('present on 1 of 3');
  expect(summary([])).toBe('no agent');
});

test('sizes and digests are short', () => {
  expect([null, 400, 5_400_000, 1_234_000_000].map(size)).toEqual(['—', '1 kB', '5 MB', '1.2 GB']);
  expect(shortDigest('sha256:0123456789abcdef')).toBe('0123456789ab');
});
