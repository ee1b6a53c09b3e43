import { expect, test } from 'vitest';
import type { Zone } from '../api/types';
import { selectable } from './zones';

const zones = ['london', 'virginia', 'singapore'].map((name): Zone => ({ id: `id-${name}`, name, zone_name: name, default: false }));

test('whoever may choose chooses among the zones that policy allows', () => {
  expect(selectable(zones, { choice: true, allowed: [] })).toEqual(['london', 'virginia', 'singapore']);
  expect(selectable(zones, { choice: true, allowed: ['singapore', 'london'] })).toEqual(['london', 'singapore']);
});

test('whoever may not choose has nothing to choose from', () => {
  expect(selectable(zones, { choice: false, allowed: [] })).toEqual([]);
});

test('a zone that is gone is no choice', () => {
  expect(selectable(zones, { choice: true, allowed: ['atlantis'] })).toEqual([]);
});
