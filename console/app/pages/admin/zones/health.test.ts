import { expect, test } from 'vitest';
import type { Zone, ZoneHealth } from '../../../api/types';
import { judge } from './health';

const london: Zone = { id: 'z', name: 'london', zone_name: 'london', default: true, probe: '' };

function health(change: Partial<ZoneHealth> = {}): ZoneHealth {
  const none = { count: 0, first: [] };
  return {
    zone: 'london',
    agents: { ready: 2, all: 2 },
    proxies: { ready: 2, all: 2 },
    sessions: 4,
    streams: 2,
    cpu_used: 3,
    cpu_total: 8,
    memory_mb_used: 2048,
    memory_mb_total: 16_384,
    unreachable: none,
    troubled: none,
    ...change,
  };
}

test('a zone with two of each has no worries', () => {
  expect(judge(london, health())).toEqual({ worries: [], down: false });
});

test('a zone below two of a role is said, and one without any is down', () => {
  const judged = judge(london, health({ agents: { ready: 1, all: 1 }, proxies: { ready: 0, all: 1 } }));
  expect(judged.worries).toEqual(['one agent can take work: with fewer than 2 agents none may fail', 'no proxy can take work']);
  expect(judged.down).toBe(true);
});

test('where browsers go straight to the agents, no proxy is missed', () => {
  const judged = judge({ ...london, proxy_connections: false }, health({ proxies: { ready: 0, all: 0 } }));
  expect(judged).toEqual({ worries: [], down: false });
});

test('whom to look at is named, as far as there is room', () => {
  const judged = judge(
    london,
    health({ unreachable: { count: 4, first: ['a', 'b', 'c'] }, troubled: { count: 1, first: ['d'] } }),
  );
  expect(judged.worries).toEqual([
    'a is unreachable',
    'b is unreachable',
    'c is unreachable',
    '1 more is unreachable',
    'd has problems',
  ]);
});
