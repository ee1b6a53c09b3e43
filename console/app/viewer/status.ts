/** What the viewer says of its stream while a desktop is shown: nothing when all is well, else what is the matter, where, and since when. */

import type { Session } from '../api/types';
import type { StreamState } from '../stream/connection';
import type { Trouble } from '../stream/trouble';

export interface Status {
  text: string;
  /** Since this moment of the page's clock; null where that says nothing. */
  since: number | null;
  /** The viewer is at it. */
  busy: boolean;
}

export interface Surroundings {
  session: Session;
  /** The browser says that it has a network. */
  online: boolean;
  /** The control plane answered when it was last asked. */
  reachable: boolean;
  signedIn: boolean;
}

export function statusOf(state: StreamState, around: Surroundings): Status | null {
  const { session } = around;
  switch (state.name) {
    case 'stopped':
      return null;
    case 'live':
      return quietly(around);
    case 'silent':
      return { text: 'No answer on this connection. Opening another', since: state.since, busy: true };
    case 'connecting':
    case 'reconnecting':
      if (!around.online) return { text: 'This device is offline. Your desktop keeps running', since: state.since, busy: true };
      if (session.state === 'unreachable') return { ...away(session), since: state.since };
      if (session.state === 'paused') return { text: 'Paused', since: null, busy: false };
      return { text: ['Reconnecting', where(state.trouble, session)].filter(Boolean).join('. '), since: state.since, busy: true };
  }
}

/** A desktop that works, beside something that does not. */
function quietly({ session, reachable, signedIn }: Surroundings): Status | null {
  if (session.state === 'unreachable') return away(session);
  if (session.state === 'paused') return { text: 'Paused', since: null, busy: false };
  if (!signedIn) return { text: 'You have been signed out. Your desktop goes on while this connection lasts', since: null, busy: false };
  if (!reachable) return { text: 'Meridian’s control plane does not answer. Your desktop goes on', since: null, busy: false };
  return null;
}

function away(session: Session): Status {
  return { text: `The host ${session.agent ?? 'of this session'} does not answer. Your session keeps its place there`, since: null, busy: true };
}

function where(trouble: Trouble | null, session: Session): string {
  switch (trouble?.hop) {
    case 'entry':
      return `No relay of ${session.zone} can be reached`;
    case 'host':
      return `The host ${session.agent ?? 'of this session'} does not answer`;
    case 'control':
      return 'Meridian’s control plane does not answer';
    case undefined:
      return '';
  }
}

/** How long ago, in the coarsest words that still tell it; nothing for what has only just begun. */
export function howLong(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 3) return '';
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
