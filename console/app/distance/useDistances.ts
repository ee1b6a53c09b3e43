/**
 * Measures the zones' entries now and then while a person looks at the page, and tells the server. Never in a hidden tab, never
 * before the page has drawn itself, never all zones at once; what is not finished when the page is hidden is thrown away.
 */

import { useDocumentVisibility } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { reportDistances } from '../api/client';
import { useZones } from '../api/queries';
import type { Zone } from '../api/types';
import { type Ways, distance, measure } from './rounds';

const AGAIN_MS = 10 * 60_000;
/** Zones that are measured at the same time: more would measure each other. */
const AT_ONCE = 3;
/**
 * Of more zones the first in the server's order are measured, which need not be the near ones: the others have no distance, and are never taken
 * for the nearest. It keeps the page from being busy with itself.
 */
const MOST_ZONES = 64;
/** A page that is never idle measures all the same, after this long. */
const IDLE_WITHIN_MS = 5_000;

export interface Distances {
  /** The zone that the server takes for the nearest. */
  nearest: string | null;
  /** Milliseconds there and back, by the zone's name. */
  ms: Map<string, number>;
}

const unknown: Distances = { nearest: null, ms: new Map() };

/** What was measured last; nothing until then. One measurement serves every page of the tab. */
export function useDistances(): Distances {
  const zones = useZones().data ?? [];
  const measurable = zones.filter((zone) => zone.probe !== undefined).slice(0, MOST_ZONES);
  const visible = useDocumentVisibility() === 'visible';
  const query = useQuery({
    queryKey: ['distances', measurable.map((zone) => zone.probe)],
    queryFn: ({ signal }) => measureAll(measurable, signal),
    enabled: visible && measurable.length > 0,
    staleTime: AGAIN_MS,
    refetchInterval: AGAIN_MS,
    // Another network has other distances.
    refetchOnReconnect: 'always',
    retry: false,
  });
  return query.data ?? unknown;
}

async function measureAll(zones: Zone[], signal: AbortSignal): Promise<Distances> {
  const hidden = new AbortController();
  const noteHidden = () => {
    if (document.visibilityState === 'hidden') hidden.abort();
  };
  document.addEventListener('visibilitychange', noteHidden);
  try {
    const left = AbortSignal.any([signal, hidden.signal]);
    await idle();
    const rounds = new Map<string, number[]>();
    const waiting = [...zones];
    const next = async (): Promise<void> => {
      const zone = waiting.shift();
      if (zone === undefined) return;
      rounds.set(zone.zone_name, await measure(zone.probe ?? '', left, ways));
      await next();
    };
    await Promise.all(Array.from({ length: AT_ONCE }, next));
    left.throwIfAborted();
    const nearest = await reportDistances([...rounds].map(([zone, times]) => ({ zone, round_trips_ms: times })));
    return { nearest, ms: distances(rounds) };
  } finally {
    document.removeEventListener('visibilitychange', noteHidden);
  }
}

function distances(rounds: Map<string, number[]>): Map<string, number> {
  const ms = new Map<string, number>();
  for (const [zone, times] of rounds) {
    const far = distance(times);
    if (far !== null) ms.set(zone, far);
  }
  return ms;
}

const ways: Ways = {
  now: () => performance.now(),
  limit: (milliseconds) => AbortSignal.timeout(milliseconds),
  ask: async (address, signal) => {
    // Nothing of the person goes along: whoever answers is a relay.
    const answer = await fetch(address, { mode: 'cors', credentials: 'omit', cache: 'no-store', referrerPolicy: 'no-referrer', signal });
    if (!answer.ok) throw new TypeError(`answered ${answer.status}`);
  },
};

function idle(): Promise<void> {
  return new Promise((resolve) => {
    // Safari has no requestIdleCallback.
    if ('requestIdleCallback' in globalThis) requestIdleCallback(() => resolve(), { timeout: IDLE_WITHIN_MS });
    else setTimeout(resolve, IDLE_WITHIN_MS / 2);
  });
}
