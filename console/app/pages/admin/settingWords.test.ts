import { expect, test } from 'vitest';
import { refusalWords } from './refusalWords';
import { settingName, shownSetting, shownValue, span } from './settingWords';

test('a setting is named as a person reads it', () => {
  expect(settingName('idle_timeout_s')).toBe('Idle timeout (seconds)');
  expect(settingName('max_memory_mb')).toBe('Max memory (MB)');
  expect(settingName('max_cpu')).toBe('Max CPU');
});

test('a value is shown in words, and none as none', () => {
  expect([true, false, null, [], ['london', 'virginia'], 0].map((value) => shownValue(value))).toEqual([
    'yes',
    'no',
    '—',
    'any',
    'london, virginia',
    '0',
  ]);
});

test('a refusal names the setting that stood against it', () => {
  expect(refusalWords({ outcome: 'policy', setting: 'zone_choice' })).toBe('policy does not allow it (Zone choice)');
  expect(refusalWords({ outcome: 'capacity', setting: null })).toBe('no place was left');
  expect(refusalWords({ outcome: 'of_later', setting: null })).toBe('of later');
});

test('seconds are told as a person says them', () => {
  expect([45, 90, 3_600, 5_400, 90_000].map(span)).toEqual(['45 s', '1 min 30 s', '1 h', '1 h 30 min', '1 d 1 h']);
  expect(shownSetting('idle_timeout_s', 3_600)).toBe('3600 (1 h)');
  expect(shownSetting('idle_timeout_s', 0)).toBe('0');
  expect(shownSetting('session_limit', 10)).toBe('10');
});
