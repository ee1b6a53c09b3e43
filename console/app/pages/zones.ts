import type { ZonePolicy } from '../api/people';
import type { Zone } from '../api/types';

/** The zones that a person may choose from. */
export function selectable(zones: Zone[], policy: ZonePolicy): string[] {
  if (!policy.choice) return [];
  const names = zones.map((zone) => zone.zone_name);
  return policy.allowed.length === 0 ? names : names.filter((name) => policy.allowed.includes(name));
}
