/**
 * A zone's entries: which of those that a ticket names a path is opened through.
 *
 * They are tried one after another, because an entry that cannot be reached has not used the ticket up, and one that has would be
 * the only one to accept it.
 */

import { PROTOCOL_VERSION } from './frames';

const SUBPROTOCOL = `meridian.v${PROTOCOL_VERSION}`;
/** An entry that has not opened the WebSocket within this time is passed over while there is another to try. */
const PASS_OVER_AFTER_MS = 2_500;
/** The last one is waited for longer. */
const OPEN_WITHIN_MS = 8_000;

/** How often the way back is tried before a ticket is asked for: a relay that just died is being started again. */
const TRIES_BEFORE_TICKET = 2;

/** What `connect` answers: where to go, and what to offer there. */
export interface Ticket {
  url: string;
  protocols: string[];
  alternates: string[];
  /** What to offer there to come back to the stream, as often as needed and without another ticket; empty where it cannot. */
  resume_protocols: string[];
}

/**
 * The way back to a stream that was attached once. It is tried before a new ticket is asked for: nobody far away needs to answer, and
 * while the control plane is away it is the only way. When it does not lead there, a ticket is asked for in between.
 */
export class WayBack {
  private latest: Ticket | null = null;
  private attached = false;
  private tries = 0;

  /** A ticket was given. */
  remember(ticket: Ticket): void {
    this.latest = ticket;
  }

  /** A path was attached: from here on there is something to come back to. */
  arrived(): void {
    this.attached = true;
    this.tries = 0;
  }

  /** Whether there is something to come back to, and a way that needs no ticket. */
  get exists(): boolean {
    return this.attached && this.latest !== null && this.latest.resume_protocols.length > 0;
  }

  /** What to open the next path with, or null when a ticket is to be asked for. */
  next(): Ticket | null {
    if (!this.latest || !this.exists || this.tries >= TRIES_BEFORE_TICKET) {
      this.tries = 0;
      return null;
    }
    this.tries += 1;
    return { ...this.latest, protocols: this.latest.resume_protocols };
  }
}

export type OpenSocket = (url: string, protocols: string[]) => WebSocket;

/** An open WebSocket, and the entry that it goes through. */
export interface Opened {
  socket: WebSocket;
  url: string;
}

/** Opens a path through the first entry that answers; `suspect` names one that seems dead and is tried last. */
export async function openEntry(ticket: Ticket, suspect: string | null, openSocket: OpenSocket): Promise<Opened> {
  const urls = [ticket.url, ...ticket.alternates];
  const inOrder = [...urls.filter((url) => url !== suspect), ...urls.filter((url) => url === suspect)];
  for (const [index, url] of inOrder.entries()) {
    const isLast = index === inOrder.length - 1;
    const socket = await tryOpen(url, ticket.protocols, isLast ? OPEN_WITHIN_MS : PASS_OVER_AFTER_MS, openSocket);
    if (socket) return { socket, url };
  }
  throw new Error('No entry of the zone could be reached.');
}

function tryOpen(
  url: string,
  protocols: string[],
  withinMs: number,
  openSocket: OpenSocket,
): Promise<WebSocket | null> {
  return new Promise((resolve) => {
    const socket = openSocket(url, protocols);
    socket.binaryType = 'arraybuffer';
    const done = (result: WebSocket | null) => {
      clearTimeout(timeout);
      socket.onopen = socket.onclose = socket.onerror = null;
      if (!result) socket.close();
      resolve(result);
    };
    const timeout = setTimeout(() => done(null), withinMs);
    socket.onopen = () => done(socket.protocol === SUBPROTOCOL ? socket : null);
    socket.onclose = socket.onerror = () => done(null);
  });
}
