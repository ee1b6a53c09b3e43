import type { Zone } from '../api/types';

/** What policy says about the zone of a person's launches. */
export interface ZonePolicy {
  choice: boolean;
  /** Names; empty: any. */
  allowed: string[];
}

/** The zones that a person may choose from. */
export function selectable(zones: Zone[], policy: ZonePolicy): string[] {
  if (!policy.choice) return [];
  const names = zones.map((zone) => zone.zone_name);
  return policy.allowed.length === 0 ? names : names.filter((name) => policy.allowed.includes(name));
}
