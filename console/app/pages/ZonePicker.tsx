import { NativeSelect } from '@mantine/core';
import { useZonePolicy } from '../api/people';
import { useZones } from '../api/queries';
import { type Distances, useDistances } from '../distance/useDistances';
import { milliseconds } from '../session/place';
import { selectable } from './zones';

interface Props {
  /** Empty: the server decides. */
  zone: string;
  onChange: (zone: string) => void;
}

/** Where the next launch goes. Nothing to see where there is only one zone, or where policy lets nobody choose. */
export function ZonePicker({ zone, onChange }: Props) {
  const zones = useZones();
  const policy = useZonePolicy();
  const distances = useDistances();
  if (!zones.data || policy === null) return null;
  const names = selectable(zones.data, policy);
  if (names.length < 2) return null;
  return (
    <NativeSelect
      label="Zone"
      description={automatic(distances)}
      value={names.includes(zone) ? zone : ''}
      onChange={(event) => onChange(event.currentTarget.value)}
      data={[{ value: '', label: 'Automatic' }, ...names.map((name) => ({ value: name, label: withDistance(name, distances) }))]}
    />
  );
}

function automatic({ nearest, ms }: Distances): string {
  if (nearest === null) return 'Automatic: Meridian decides';
  return `Nearest to you: ${withDistance(nearest, { nearest, ms })}`;
}

function withDistance(name: string, { ms }: Distances): string {
  const far = ms.get(name);
  return far === undefined ? name : `${name} · ${milliseconds(far)}`;
}
