import { expect, test } from 'vitest';
import { isEmpty, whatIsLeft } from './drain';

test('sessions keep an agent from being empty, streams a proxy', () => {
  expect(whatIsLeft({ role: 'agent', sessions: 1, streams: 4 })).toBe('1 session');
  expect(whatIsLeft({ role: 'proxy', sessions: 0, streams: 3 })).toBe('3 streams');
  expect(isEmpty({ role: 'agent', sessions: 1, streams: 0 })).toBe(false);
  expect(isEmpty({ role: 'proxy', sessions: 0, streams: 0 })).toBe(true);
});
