import { expect, test } from 'vitest';
import type { Node, Zone } from '../../../api/types';
import { healthOf } from './health';

const london: Zone = { id: 'z', name: 'london', zone_name: 'london', default: true };

function node(role: Node['role'], change: Partial<Node> = {}): Node {
  return {
    id: `${role}-${Math.random()}`,
    name: `${role}-1`,
    role,
    zone: 'london',
    state: 'ready',
    problems: [],
    sessions: 2,
    streams: 1,
    cpu_used: 1.5,
    cpu_total: 4,
    memory_mb_used: 1024,
    memory_mb_total: 8192,
    ...change,
  } as Node;
}

test('a zone with two of each has no worries, and its capacity is that of its agents', () => {
  const health = healthOf(london, [node('agent'), node('agent'), node('proxy'), node('proxy'), node('agent', { zone: 'virginia' })]);
  expect(health.worries).toEqual([]);
  expect(health.down).toBe(false);
  expect(health.agents).toEqual({ ready: 2, all: 2 });
  expect(health.sessions).toBe(4);
  expect(health.cpu).toEqual({ used: 3, total: 8 });
});

test('a zone below two of a role is said, and one without any is down', () => {
  const health = healthOf(london, [node('agent'), node('proxy', { state: 'draining' })]);
  expect(health.worries).toEqual(['one agent can take work: with fewer than 2 agents none may fail', 'no proxy can take work']);
  expect(health.down).toBe(true);
});

test('where browsers go straight to the agents, no proxy is missed', () => {
  const health = healthOf({ ...london, proxy_connections: false }, [node('agent'), node('agent')]);
  expect(health.worries).toEqual([]);
  expect(health.down).toBe(false);
});

test('what may be promised counts, not what is there', () => {
  const capacity = { cpu: 8, memory_mb: 4096 } as NonNullable<Node['capacity']>;
  expect(healthOf(london, [node('agent', { capacity })]).cpu.total).toBe(8);
});
