import { expect, test } from 'vitest';
import { sentence } from './text';

test('a phrase becomes a sentence, and a sentence stays one', () => {
  expect(sentence('ended by its user')).toBe('Ended by its user.');
  expect(sentence(' Try again. ')).toBe('Try again.');
  expect(sentence('Why?')).toBe('Why?');
  expect(sentence('')).toBe('');
});
