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
