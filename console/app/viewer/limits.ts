/** What a viewer says before its session reaches a limit: that it will, when, and whether staying helps. */

import type { Session } from '../api/types';

/** Whoever reads before they act sits still for less. */
const IDLE_LEAD_MS = 30_000;
/** Time to save what is open. */
const EXPIRY_LEAD_MS = 5 * 60_000;

export interface Limit {
  what: 'expires' | 'idle';
  /** Milliseconds until then; never below 0. */
  left: number;
  /** The same as long as the limit is; how long there still is, is for the eye alone. */
  text: string;
}

/** The limit that a session reaches first, if it does so soon. `now` is the server's time. */
export function limitOf(session: Session, now: number): Limit | null {
  const expires = leftOf(session.expires_at, now);
  const idle = leftOf(session.idle_ends_at, now);
  if (idle !== null && idle <= IDLE_LEAD_MS && (expires === null || idle < expires)) {
    const follows = session.idle_action === 'end' ? `${session.name} ends soon` : 'You will be disconnected soon';
    return { what: 'idle', left: idle, text: `Are you still there? ${follows}` };
  }
  if (expires !== null && expires <= EXPIRY_LEAD_MS) {
    const text = `${session.name} will end, because it reaches its time limit. Save what you need outside of it`;
    return { what: 'expires', left: expires, text };
  }
  return null;
}

function leftOf(at: string | null | undefined, now: number): number | null {
  if (typeof at !== 'string') return null;
  const left = Date.parse(at) - now;
  return Number.isNaN(left) ? null : Math.max(0, left);
}

/** Whole minutes while there are several, then seconds. */
export function inWords(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  return seconds > 120 ? `${Math.ceil(seconds / 60)} minutes` : `${seconds} seconds`;
}
