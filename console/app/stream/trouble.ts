/** What keeps a stream from its desktop, in the terms that a page needs to say it: where, and in which words. */

/** `entry`: no relay of the zone could be reached. `host`: the workspace's side does not answer. `control`: no ticket is to be had. */
export type Hop = 'entry' | 'host' | 'control';

export interface Trouble {
  hop: Hop;
  message: string;
}

/** An error that passes; it is tried again. */
export class StreamTrouble extends Error {
  override name = 'StreamTrouble';
  constructor(
    readonly hop: Hop,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Why a stream will not come back by itself. */
export type StopReason = 'ended' | 'superseded' | 'revoked' | 'idle' | 'protocol';

/** Thrown by `askTicket` when asking again is pointless. */
export class NoTicket extends Error {
  override name = 'NoTicket';
  constructor(
    readonly reason: StopReason,
    message: string,
  ) {
    super(message);
  }
}

/** Thrown by `askTicket` when nobody is signed in: asking again is of use once somebody is. */
export class SignedOut extends Error {
  override name = 'SignedOut';
}

export function troubleOf(error: unknown): Trouble | null {
  if (error instanceof StreamTrouble) return { hop: error.hop, message: error.message };
  return error instanceof Error ? { hop: 'control', message: error.message } : null;
}
