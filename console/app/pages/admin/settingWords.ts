import type { SettingValue } from '../../api/types';

/** `idle_timeout_s` as a person reads it. */
export function settingName(name: string): string {
  const words = name.replace(/_s$/, ' (seconds)').replace(/_mb$/, ' (MB)').replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1).replace(/\bcpu\b/, 'CPU');
}

export function shownValue(value: SettingValue): string {
  if (value === null) return '—';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (Array.isArray(value)) return value.length === 0 ? 'any' : value.join(', ');
  return String(value);
}

/** A value with its unit told, where the setting has seconds. */
export function shownSetting(name: string, value: SettingValue): string {
  return name.endsWith('_s') && typeof value === 'number' && value > 0 ? `${value} (${span(value)})` : shownValue(value);
}

/** `1 h 30 min`; the two largest units that are not nothing. */
export function span(seconds: number): string {
  const units: [string, number][] = [
    ['d', 86_400],
    ['h', 3_600],
    ['min', 60],
    ['s', 1],
  ];
  let left = seconds;
  const parts: string[] = [];
  for (const [unit, length] of units) {
    const whole = Math.floor(left / length);
    left -= whole * length;
    if (whole > 0) parts.push(`${whole} ${unit}`);
  }
  return parts.slice(0, 2).join(' ') || '0 s';
}
