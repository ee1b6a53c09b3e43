import { expect, test } from 'vitest';
import { capacityForm, capacityPatch } from './capacity';

const capacity = {
  cpu: 12,
  memory_mb: 4096,
  gpus: 0,
  cpu_override: 6,
  cpu_overcommit: 2,
  memory_overcommit: 1,
  sessions: null,
  static: true,
  labels: { disk: 'fast' },
};
const before = capacityForm({ capacity });

test('a form shows what was set, and nothing where nothing was', () => {
  expect(before).toMatchObject({ cpu_override: 6, memory_mb_override: '', session_limit: '', cpu_overcommit: 2, labels: 'disk=fast' });
});

test('only what changed is sent; what is emptied is taken away', () => {
  expect(capacityPatch(before, before)).toEqual({});
  expect(capacityPatch({ ...before, cpu_override: '', cpu_overcommit: '', session_limit: 20, labels: 'disk=fast, rack=7' }, before)).toEqual({
    cpu_override: null,
    cpu_overcommit: 1,
    session_limit: 20,
    labels: { disk: 'fast', rack: '7' },
  });
});
