import { expect, test } from 'vitest';
import { labelsOf, listOf, textOfLabels } from './listText';

test('a line of names is a list, whatever stands between', () => {
  expect(listOf(' london,virginia , ,')).toEqual(['london', 'virginia']);
  expect(listOf('')).toEqual([]);
});

test('labels survive being text', () => {
  expect(labelsOf('disk=fast, rack=7=left')).toEqual({ disk: 'fast', rack: '7=left' });
  expect(textOfLabels({ disk: 'fast', rack: '7' })).toBe('disk=fast, rack=7');
  expect(labelsOf('')).toEqual({});
});

test('what is not a label is told from one', () => {
  expect(labelsOf('disk')).toBeNull();
  expect(labelsOf('=fast')).toBeNull();
});
