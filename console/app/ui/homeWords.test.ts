import { expect, test } from 'vitest';
import { homeSize, homeState, isResettable } from './homeWords';

test('a home that a session has, or had just now, is not reset', () => {
  expect((['free', 'in_use', 'put_away', 'away', 'held', 'lost', 'removing'] as const).filter(isResettable)).toEqual(['free', 'away', 'lost']);
});

test('sizes and states read as a person says them', () => {
  expect([homeSize(512), homeSize(1024), homeSize(1536)]).toEqual(['512 MB', '1 GB', '1.5 GB']);
  expect(homeState('away')).toBe('nobody who has it answers');
  expect(homeState('of_a_later_release')).toBe('of a later release');
});
