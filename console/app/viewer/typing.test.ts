import { expect, test } from 'vitest';
import { enter, keysymOf } from './keys';
import { typedDifference } from './typing';

test('what an on-screen keyboard did is typed as keys', () => {
  expect(typedDifference('__', '__a')).toEqual({ backspaces: 0, text: 'a' });
  expect(typedDifference('__ab', '__')).toEqual({ backspaces: 2, text: '' });
  expect(typedDifference('__teh', '__the ')).toEqual({ backspaces: 2, text: 'he ' });
  expect(typedDifference('__', '__')).toEqual({ backspaces: 0, text: '' });
});

test('a character outside the basic plane is one key', () => {
  expect(typedDifference('_', '_😀')).toEqual({ backspaces: 0, text: '😀' });
  expect(typedDifference('_😀', '_')).toEqual({ backspaces: 1, text: '' });
});

test('keysyms: Latin-1 is itself, the rest lies above 0x01000000, a new line is Enter', () => {
  expect(keysymOf('a')).toBe(0x61);
  expect(keysymOf('ü')).toBe(0xfc);
  expect(keysymOf('€')).toBe(0x0100_20ac);
  expect(keysymOf('\n')).toBe(enter.keysym);
});
