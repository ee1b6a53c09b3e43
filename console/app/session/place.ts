/** Where a session runs, in words: why there, why elsewhere, and how far that is. */

import type { Session } from '../api/types';

export interface Place {
  /** `london`, with the distance where it is known. */
  where: string;
  /** Why there, as a sentence; null where the server does not say. */
  why: string | null;
  /** It runs elsewhere than it was meant to. */
  elsewhere: boolean;
}

type Placed = Pick<Session, 'zone' | 'choice'>;

export function placeOf({ zone, choice }: Placed): Place {
  // A server of the release before says nothing of a choice, in place of null.
  if (!choice) return { where: zone, why: null, elsewhere: false };
  const far = choice.distance_ms ?? null;
  const where = far === null ? zone : `${zone}, ${milliseconds(far)} away`;
  if (choice.zone === zone) return { where, why: `It runs there because ${choice.because}.`, elsewhere: false };
  const lack = choice.elsewhere_because ?? 'there was no place';
  const meant = choice.meant_distance_ms ?? null;
  const instead = far !== null && meant !== null ? ` Expect ${milliseconds(far)} there and back instead of ${milliseconds(meant)}.` : '';
  return {
    where,
    why: `It was meant for ${choice.zone}, because ${choice.because}. What ${choice.zone} said: ${lack}.${instead}`,
    elsewhere: true,
  };
}

/** Rounded as far as it means something to a person. */
export function milliseconds(ms: number): string {
  return ms < 1 ? 'under 1 ms' : `${Math.round(ms)} ms`;
}
